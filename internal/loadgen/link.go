package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"stompserver/internal/client"
)

type eventKind uint8

const (
	nothing   eventKind = iota // line ends, or what is of no interest
	message                    // a delivery
	receipt                    // a confirmation asked for
	connected                  // the broker's welcome
	ping                       // an answer is due at once
	refusal                    // an ERROR
)

// An event is one frame of the broker's, as far as the generator cares. Its slices are
// views into the link's buffer and hold until the next call of next.
type event struct {
	kind        eventKind
	body        []byte // of a message at least the stamp, of a longer one no more
	size        int    // of the whole body
	ack         []byte // what an ACK must name, as it stands on the wire
	dest        int    // the subscription's number, for protocols whose ACK names it
	receipt     []byte
	redelivered bool
	text        string // of a refusal
}

// A scanner finds the frames of one connection.
type scanner interface {
	// scan looks at the frame at the head of b, which is not empty. It returns how long
	// that frame is, which may be longer than b once the part that ev needs is there, or
	// 0 if it cannot tell yet.
	scan(b []byte, ev *event) (length int, err error)
}

// A protocol is how a broker is spoken to.
type protocol interface {
	// hello yields what opens a connection, and bye what ends one.
	hello() []byte
	bye() []byte
	// subscribe appends what subscribes to dest as number n, and makes the broker send an
	// event of kind confirms once that took effect.
	subscribe(dst []byte, n int, dest string) []byte
	confirms() eventKind
	// probe appends what makes any broker send such an event for subscription n, should
	// it not do so by itself.
	probe(dst []byte, n int) []byte
	// send appends a whole message with a body of size bytes, and says where in the
	// result the body starts and where the eight digits of the receipt id do (0: none).
	send(dst []byte, dest string, size int) (frame []byte, body, receiptID int)
	// ack appends what settles ev.
	ack(dst []byte, ev *event) []byte
	// pong answers a ping; nil if there is nothing like it.
	pong() []byte
	scanner() scanner
}

// A link is one connection to the broker. It belongs to one goroutine.
type link struct {
	conn net.Conn
	scan scanner
	buf  []byte
	r, w int
	skip int // bytes of the current frame that are still to come, and thrown away
	late event
	keep []byte // what late's slices point into
}

const linkBuffer = 64 << 10

// dial connects, says hello and waits for the welcome.
func dial(ctx context.Context, c *Config, p protocol, buffer int) (*link, error) {
	conn, err := c.at.Dial(ctx, &net.Dialer{LocalAddr: c.localAddr()}, c.TLS)
	if err != nil {
		return nil, &client.DialError{Address: c.addr, Err: err}
	}
	l := &link{conn: conn, scan: p.scanner(), buf: make([]byte, buffer)}
	if dl, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(dl)
	} else {
		_ = conn.SetDeadline(time.Now().Add(c.Timeout))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err = conn.Write(p.hello()); err == nil {
		_, err = l.await(connected, p)
	}
	if err != nil {
		_ = conn.Close()
		var r *Refusal
		if errors.As(err, &r) {
			return nil, &LoginError{r.Text}
		}
		return nil, &client.DialError{Address: c.addr, Connected: true, Err: err}
	}
	_ = conn.SetDeadline(time.Time{})
	return l, nil
}

// await reads until an event of the kind comes.
func (l *link) await(kind eventKind, p protocol) (event, error) {
	for {
		var ev event
		ok, err := l.next(&ev)
		switch {
		case err != nil:
			return ev, err
		case !ok:
			if err := l.fill(); err != nil {
				return ev, err
			}
		case ev.kind == kind:
			return ev, nil
		case ev.kind == refusal:
			return ev, &Refusal{ev.text}
		case ev.kind == ping:
			if _, err := l.conn.Write(p.pong()); err != nil {
				return ev, err
			}
		}
	}
}

// next yields the next event that is wholly there; ok is false when fill must bring more.
func (l *link) next(ev *event) (ok bool, err error) {
	if l.skip > 0 {
		return false, nil
	}
	if l.late.kind != nothing {
		*ev, l.late = l.late, event{}
		return true, nil
	}
	for l.r < l.w {
		b := l.buf[l.r:l.w]
		*ev = event{}
		n, err := l.scan.scan(b, ev)
		if err != nil {
			return false, err
		}
		if n == 0 {
			break
		}
		if n > len(b) {
			l.skip = n - len(b)
			l.r, l.w = 0, 0
			l.keep = append(append(l.keep[:0], ev.body...), ev.ack...)
			l.late = *ev
			l.late.body = l.keep[:len(ev.body)]
			l.late.ack = l.keep[len(ev.body):]
			return false, nil
		}
		l.r += n
		if ev.kind != nothing {
			return true, nil
		}
	}
	return false, nil
}

// fill reads once.
func (l *link) fill() error {
	switch {
	case l.r == l.w:
		l.r, l.w = 0, 0
	case l.r > 0:
		l.w = copy(l.buf, l.buf[l.r:l.w])
		l.r = 0
	}
	if l.w == len(l.buf) {
		return fmt.Errorf("the broker sent a frame whose head is longer than %d bytes, or a long body without content-length", len(l.buf))
	}
	n, err := l.conn.Read(l.buf[l.w:])
	if n == 0 && err != nil {
		if errors.Is(err, io.EOF) {
			err = errClosed
		}
		return err
	}
	if l.skip >= n {
		l.skip -= n
		l.r, l.w = 0, 0
		return nil
	}
	l.r = l.skip
	l.skip = 0
	l.w += n
	return nil
}

var errClosed = errors.New("the broker closed the connection")

// A Refusal is an ERROR of the broker's.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return "the broker said: " + strings.TrimSpace(r.Text) }

// A LoginError is a refusal of the first frame.
type LoginError struct{ Text string }

func (e *LoginError) Error() string {
	return "the broker refused the connection: " + strings.TrimSpace(e.Text)
}
