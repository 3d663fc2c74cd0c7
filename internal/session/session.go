package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
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
	lim   *Limits // as they are, of what the client sends
	b     *broker.Broker
	sock  net.Conn // as it was accepted: anybody may close it or set its deadlines
	c     conn     // what STOMP runs over: sock, or what lies above it
	web   *webConn // c, if it is a WebSocket
	port  *Port    // nil once it is known what the client speaks
	addr  net.Addr // of the client, if that is not whom sock is connected with
	id    uint64   // of the connection, for the log
	began int64    // when it came, since the server's start
	user  *auth.Identity
	told  bool // that it connected

	access access

	tally     *tally
	sends     [kinds]uint32 // messages that were sent and are not in it
	transport Transport     // others read it with out.mu held
	placed    uint8         // its version in the census

	from       netip.Addr // the address that it is counted for, if any
	counted    string     // the user
	pace       *pace      // nil: it may send as fast as it can
	handled    int        // frames since it was last asked
	slowed     bool       // it was held back for it
	secure     bool       // within TLS
	turnedAway *Error     // why it is not let in; nil: it is
	carried    string     // the token, or passcode, that the request for the WebSocket had
	carriedBy  string     // the login that it had beside a passcode
	certified  string     // the login that its certificate gives a client without one

	dec     frame.Decoder
	state   state
	version frame.Version
	now     message.Moment // when the bytes being worked on came
	held    int            // bytes of unfinished frames counted as memory
	paused  atomic.Bool
	waited  bool  // for memory, at least once
	blocked int64 // when it was told last that it waits for room, since the server's start
	owing   bool  // so much is owed to the client that it is to read first
	bursts  uint8 // how often bytes came, roughly; it stops at firstBursts

	to        route
	unsent    *receipt          // of a frame that failed: an ERROR takes its turn, if the connection stays
	unlike    bool              // the frame being handled wants another queue than there is
	client    string            // the client-id of CONNECT
	temps     map[string]string // the names of temporary destinations, and what stands behind them
	exclusive []string          // queues that it may have for itself
	subs      subTable
	herds     []*herd
	exprs     int // bytes of the expressions in the patterns of all subscriptions
	txs       map[string]*broker.Transaction
	txSize    int
	budget    broker.Budget
	news      broker.News
	wake      broker.Wake

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

	lodging lodging
}

func newSession(srv *Server, c net.Conn, p *Port, id uint64) *session {
	s := &session{srv: srv, cfg: srv.cfg.Load(), b: srv.b, sock: c, c: newConn(c), port: p, id: id}
	s.lim = &s.cfg.Limits
	s.began = s.sinceStart(time.Now())
	s.spaceFn, s.restFn = s.space, s.rest
	s.dec.Init(s.cfg.Limits.frameLimits(false))
	s.budget.Limit = int64(s.cfg.Limits.Outbox)
	s.out.b, s.out.s = s.b, s
	s.out.bare, s.out.apart = s.cfg.NoTrailingLF, s.cfg.NoTrailingLF
	s.tally = &srv.tallies[id%tallies]
	if p == nil {
		s.transport = HTTP
	}
	srv.census.open[s.transport][0].Add(1)
	return s
}

func (s *session) log() *slog.Logger {
	return s.cfg.Log.With("id", s.id, "addr", s.peer().String())
}

// peer is the address of the client.
func (s *session) peer() net.Addr {
	if s.addr != nil {
		return s.addr
	}
	return s.sock.RemoteAddr()
}

// trace logs what is of interest to those who look for a fault, and costs others nothing.
func (s *session) trace(what string, args ...any) {
	if s.cfg.Log.Enabled(context.Background(), slog.LevelDebug) {
		s.log().Debug(what, args...)
	}
}

// start begins the conversation: the reader goes on from here.
func (s *session) start() { s.beat.start(s) }

// crowd is how many bytes an unfinished frame may hold, however full the memory is.
const crowd = 64 << 10

func (s *session) crowded() bool { return s.b.MemoryCrowded(s.held) }

var errLeave = errors.New("session: client disconnected")

// frames are what readers decode into: a client that is silent has none.
var frames = sync.Pool{New: func() any { return new(frame.Frame) }}

// work handles the whole frames that are there, then flushes everyone they concern. They came with
// n bytes.
func (s *session) work(n int) error {
	begun, of := s.handled, frame.Send // a run of frames of one command, which most bursts are
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
		if f.Command != of {
			add(&s.tally.received[of], uint32(s.handled-begun))
			begun, of = s.handled, f.Command
		}
		s.handled++
		if err = s.handle(f); err != nil {
			break
		}
		if s.uncommitted.Load() > int64(s.lim.Uncommitted) {
			s.srv.LimitReached("uncommitted")
			if err = s.await(s.committed); err != nil {
				break
			}
		}
		if s.owing {
			s.srv.LimitReached("outbox")
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
	add(&s.tally.received[of], uint32(s.handled-begun))
	s.tallied(n)
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
				return s.srv.errShuttingDown()
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
	return s.uncommitted.Load() <= int64(s.lim.Uncommitted)/2
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
	s.uncommitted.Add(-int64(op.Bytes))
	r, _ := op.Token.(*receipt)
	switch {
	case err != nil && !refused(op, r, err):
		s.broken(r, err)
	case r != nil:
		for told := op.Told(); len(told) > 1; told = told[2:] {
			r.more = append(frame.AppendEscaped(append(r.more, '\n'), []byte(told[0]), s.version), ':')
			r.more = frame.AppendEscaped(r.more, []byte(told[1]), s.version)
		}
		s.confirm(r)
	}
	s.nudge()
}

// refused reports whether err is a refusal that the receipt r tells of.
func refused(op *broker.Op, r *receipt, err error) bool {
	var full *broker.FullError
	if r == nil || !r.refusable || !errors.As(err, &full) {
		return false
	}
	op.Tell("status", "rejected")
	op.Tell("reason", full.Reason)
	op.Tell("queue", full.Queue)
	return true
}

// broken ends the session because an operation failed, whose receipt is r if it has one.
func (s *session) broken(r *receipt, err error) {
	e, known := asError(err)
	if !known {
		s.log().Error("operation failed", "err", err)
	}
	if r != nil {
		e.Receipt = string(r.id)
	}
	if s.cfg.SoftErrors && e.bearable() {
		s.answerSoftly(r, e)
		return
	}
	s.fail(e)
}

// fail ends the session from any goroutine; the first reason counts.
func (s *session) fail(e *Error) {
	if s.failure.CompareAndSwap(nil, e) {
		_ = s.sock.SetReadDeadline(time.Unix(1, 0)) // the reader takes it from here
		s.nudge()
	}
}
