package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/message"
)

// state is where a session stands.
type state uint8

const (
	starting  state = iota // before CONNECT
	connected              // CONNECT was answered
	leaving                // DISCONNECT or an ERROR: nothing the client says counts any more
)

// flushWait is how long a client that leaves may take to read what is left for it, and
// lingerWait how long its own end of the connection is then waited for.
const (
	flushWait  = 5 * time.Second
	lingerWait = time.Second
)

// A session is one client. Its reader goroutine owns the fields without a note.
type session struct {
	srv   *Server
	cfg   *Config // as it was when the client came
	b     *broker.Broker
	c     conn
	id    uint64 // of the connection, for the log
	began int64  // when it came, since the server's start
	user  *auth.Identity
	told  bool // that it connected

	dec     frame.Decoder
	state   state
	version frame.Version
	now     message.Moment // when the bytes being worked on came
	held    int            // bytes of unfinished frames counted as memory
	paused  atomic.Bool
	waited  bool  // for memory, at least once
	owing   bool  // so much is owed to the client that it is to read first
	bursts  uint8 // how often bytes came, roughly; it stops at firstBursts
	opened  uint8 // how much there is of opening
	opening [8]byte

	to     route
	unlike bool              // the frame being handled wants another queue than there is
	client string            // the client-id of CONNECT
	temps  map[string]string // the names of temporary destinations, and what stands behind them
	subs   subTable
	txs    map[string]*broker.Transaction
	txSize int
	budget broker.Budget
	wake   broker.Wake

	uncommitted atomic.Int64
	waiting     atomic.Pointer[chan struct{}] // signalled when something ends that the reader may wait for

	beat heartbeat
	out  outbox

	in      []byte        // where the last read went
	spaceFn func() []byte // space and rest, bound once
	restFn  func()

	attends attention

	failure atomic.Pointer[Error]
	dropped atomic.Uint64 // deliveries missed because the client is slow
}

func newSession(srv *Server, c net.Conn, id uint64) *session {
	s := &session{srv: srv, cfg: srv.cfg.Load(), b: srv.b, c: newConn(c), id: id}
	s.began = s.sinceStart(time.Now())
	s.spaceFn, s.restFn = s.space, s.rest
	s.dec.Init(s.cfg.Limits.frameLimits(false))
	s.budget.Limit = int64(s.cfg.Limits.Outbox)
	s.out.b = s.b
	return s
}

func (s *session) log() *slog.Logger {
	return s.cfg.Log.With("id", s.id, "addr", s.c.net().RemoteAddr().String())
}

// trace logs what is of interest to those who look for a fault, and costs others nothing.
func (s *session) trace(what string, args ...any) {
	if s.cfg.Log.Enabled(context.Background(), slog.LevelDebug) {
		s.log().Debug(what, args...)
	}
}

// start begins the conversation: the reader goes on from here.
func (s *session) start() { s.beat.start(s) }

// run is the reader: it speaks STOMP until the client leaves or fails, and then reports
// true. It reports false when another goroutine is to go on in its place: one that has been
// at work has a stack that does not shrink, four times that of one which only waits.
func (s *session) run() bool {
	err := s.read()
	if err == errAgain {
		return false
	}
	s.state = leaving
	s.beat.end()
	s.release()
	s.finish(err)
	return true
}

// errAgain is returned by read to have it called again, on another goroutine.
var errAgain = errors.New("session: to go on elsewhere")

const (
	// A client is taken for one that mostly waits in its first bursts, and when it was
	// silent for a while.
	firstBursts = 4
	longSilence = time.Second
)

// read works on what comes in until there is a reason to end: errLeave for DISCONNECT, an
// *Error for the client or the error of the connection.
func (s *session) read() error {
	if s.bursts > 0 {
		if err := s.c.wait(); err != nil {
			return s.cause(err)
		}
	}
	for {
		n, err := s.c.read(s.spaceFn, s.restFn)
		if n > 0 {
			now := time.Now()
			silence := s.beat.heard(now)
			if ms := now.UnixMilli(); ms != s.now.Milliseconds() {
				s.now = message.At(ms)
			}
			s.dec.Filled(n)
			if int(s.opened) < len(s.opening) {
				s.opened += uint8(copy(s.opening[s.opened:], s.in[:n]))
				if reply, what := foreign(s.opening[:s.opened]); reply != nil {
					return s.sendAway(reply, what)
				}
			}
			if err := s.work(); err != nil {
				return err
			}
			if s.bursts < firstBursts || silence > longSilence {
				s.bursts = min(s.bursts+1, firstBursts)
				if s.c.waits() {
					s.rest()
					return errAgain
				}
			}
		}
		if err != nil {
			return s.cause(err)
		}
	}
}

// cause is why reading ended with err.
func (s *session) cause(err error) error {
	if f := s.failure.Load(); f != nil {
		return f
	}
	return err
}

func (s *session) space() []byte {
	s.in = s.dec.Space()
	return s.in
}

// rest is called before the reader waits for bytes.
func (s *session) rest() {
	s.dec.Idle()
	s.in = nil
	s.count()
}

// crowd is how many bytes an unfinished frame may hold, however full the memory is.
const crowd = 64 << 10

func (s *session) crowded() bool { return s.b.MemoryCrowded(s.held) }

// count keeps the broker's account of the memory that unfinished frames hold.
func (s *session) count() {
	if h := s.dec.Held(); h != s.held {
		s.b.Partial(h - s.held)
		s.held = h
	}
}

var errLeave = errors.New("session: client disconnected")

// frames are what readers decode into: a client that is silent has none.
var frames = sync.Pool{New: func() any { return new(frame.Frame) }}

// work handles the whole frames that are there, then flushes everyone they concern.
func (s *session) work() error {
	s.out.mu.Lock()
	s.out.burst = true
	s.out.mu.Unlock()
	f := frames.Get().(*frame.Frame)
	var err error
	for {
		err = s.dec.Decode(f)
		if err == frame.ErrMore {
			err = nil
			break
		}
		if err != nil {
			err = decodeError(err)
			break
		}
		if err = s.handle(f); err != nil {
			break
		}
		if s.uncommitted.Load() > int64(s.cfg.Limits.Uncommitted) {
			if err = s.await(s.committed); err != nil {
				break
			}
		}
		if s.owing {
			if err = s.await(s.readUp); err != nil {
				break
			}
			s.owing = false
		}
	}
	*f = frame.Frame{}
	frames.Put(f)
	if s.dec.Held() > 0 && s.dec.Buffered() == 0 {
		s.dec.Idle() // the room of a large frame that is done
	}
	s.count()
	if err == nil && s.held > crowd && s.crowded() {
		err = s.awaitMemory(s.crowded)
	}
	s.flush()
	if f := s.failure.Load(); f != nil && err == nil {
		err = f
	}
	return err
}

// flush ends a burst: what this client is owed goes out, then what it brought others, and
// then what it waits for is seen to.
func (s *session) flush() {
	s.flushAll()
	if s.attends.due {
		s.attend()
	}
}

func (s *session) flushAll() {
	s.out.mu.Lock()
	s.out.burst = false
	mine := s.out.size > 0 && !s.out.flagged
	if mine {
		s.out.flagged = true
	}
	s.out.mu.Unlock()
	if mine {
		s.wake.Add(s)
	}
	s.wake.Run()
}

// pause flushes before the reader waits for something else than bytes; what follows it is
// a burst again.
func (s *session) pause(wait func() error) error {
	s.flush()
	s.paused.Store(true)
	err := wait()
	s.paused.Store(false)
	s.beat.heard(time.Now())
	s.out.mu.Lock()
	s.out.burst = true
	s.out.mu.Unlock()
	return err
}

// await waits for something that others bring about, and that they nudge the reader for.
// The client's socket is not read meanwhile.
func (s *session) await(ready func() bool) error {
	return s.pause(func() error {
		ch := make(chan struct{}, 1)
		s.waiting.Store(&ch)
		defer s.waiting.Store(nil)
		for !ready() {
			if f := s.failure.Load(); f != nil {
				return f
			}
			select {
			case <-ch:
			case <-s.srv.quit:
				return errShuttingDown()
			}
		}
		return nil
	})
}

// nudge has a reader that waits look again. Called from any goroutine, after the change.
func (s *session) nudge() {
	if ch := s.waiting.Load(); ch != nil {
		select {
		case *ch <- struct{}{}:
		default:
		}
	}
}

// committed reports whether the store confirmed enough of what this client sent for it to
// send more.
func (s *session) committed() bool {
	return s.uncommitted.Load() <= int64(s.cfg.Limits.Uncommitted)/2
}

// processed reports whether everything the client sent was processed.
func (s *session) processed() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.receipts.head == nil && s.uncommitted.Load() == 0
}

// written reports whether nothing waits to be written, or nothing can be.
func (s *session) written() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.closed || s.out.size == 0 && !s.out.writing
}

// readUp reports whether the client has read enough of what it is owed, or left.
func (s *session) readUp() bool {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	return s.out.closed || s.out.owed() <= s.cfg.Limits.Outbox
}

// Done implements broker.Owner.
func (s *session) Done(op *broker.Op, err error) {
	defer s.nudge()
	s.uncommitted.Add(-int64(op.Bytes))
	r, _ := op.Token.(*receipt)
	if r != nil && r.refusable {
		var full *broker.FullError
		if errors.As(err, &full) {
			err = nil
			op.Tell("status", "rejected")
			op.Tell("reason", full.Reason)
			op.Tell("queue", full.Queue)
		}
	}
	if err != nil {
		e, known := asError(err)
		if !known {
			s.log().Error("operation failed", "err", err)
		}
		if r != nil {
			e.Receipt = string(r.id)
		}
		s.fail(e)
		return
	}
	if r != nil {
		for told := op.Told(); len(told) > 1; told = told[2:] {
			r.more = append(frame.AppendEscaped(r.more, []byte(told[0]), s.version), ':')
			r.more = append(frame.AppendEscaped(r.more, []byte(told[1]), s.version), '\n')
		}
		s.confirm(r)
	}
}

// fail ends the session from any goroutine; the first reason counts.
func (s *session) fail(e *Error) {
	if s.failure.CompareAndSwap(nil, e) {
		_ = s.c.net().SetReadDeadline(time.Unix(1, 0)) // the reader takes it from here
		s.nudge()
	}
}
