package session

import (
	"errors"
	"time"

	"stompserver/internal/message"
)

// run is the reader: it speaks STOMP until the client leaves or fails, and then reports
// true. It reports false when another goroutine is to go on in its place: one that has been
// at work has a stack that does not shrink, four times that of one which only waits.
func (s *session) run() bool {
	var err error
	if s.port != nil {
		err = s.first()
	} else {
		err = s.read()
	}
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

// first opens the conversation. What is left of the stack is given up with the goroutine.
func (s *session) first() error {
	// Behind a proxy the client's address is known once that has said it.
	proxied := s.port.trusts(s.sock.RemoteAddr())
	var err error
	if !proxied {
		err = s.admitAddress()
		var e *Error
		if errors.As(err, &e) {
			return s.tooMany(e)
		}
	}
	var early []byte
	if err == nil {
		early, err = s.peel()
	}
	if err == nil && proxied {
		err = s.admitAddress()
	}
	s.port = nil
	for err == nil && len(early) > 0 {
		n := copy(s.space(), early)
		early = early[n:]
		_, err = s.took(n)
	}
	if err != nil {
		return err
	}
	s.rest()
	return errAgain
}

// read works on what comes in until there is a reason to end: errLeave for DISCONNECT, an
// *Error for the client or the error of the connection.
func (s *session) read() error {
	if s.bursts > 0 {
		for err := s.c.wait(); err != nil; err = s.c.wait() {
			if err = s.answer(err); err != nil {
				return s.cause(err)
			}
		}
	}
	for {
		n, err := s.c.read(s.spaceFn, s.restFn)
		if n > 0 {
			silence, err := s.took(n)
			if err != nil {
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
			if err = s.answer(err); err != nil {
				return s.cause(err)
			}
			continue
		}
		if n == 0 {
			if err := s.nothing(); err != nil {
				return err
			}
		}
	}
}

// took works on n bytes that were read into what space returned, and says how long none came.
func (s *session) took(n int) (silence time.Duration, err error) {
	now := time.Now()
	silence = s.beat.heard(now)
	if ms := now.UnixMilli(); ms != s.now.Milliseconds() {
		s.now = message.At(ms)
	}
	if s.changed() {
		s.adopt()
	}
	s.dec.Filled(n)
	err = s.work(n)
	if s.pace != nil && err == nil {
		err = s.keepPace(n)
	}
	return silence, err
}

// nothing is called when bytes came that carried none of STOMP's.
func (s *session) nothing() error {
	s.beat.heard(time.Now())
	s.count()
	var err error
	if s.owing {
		s.srv.LimitReached("outbox")
		err = s.await(s.readUp)
		s.owing = false
	}
	if err == nil && s.held > crowd && s.crowded() {
		err = s.awaitMemory(s.crowded)
	}
	s.flush()
	return err
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

// count keeps the broker's account of the memory that unfinished frames hold.
func (s *session) count() {
	h := s.dec.Held()
	if s.web != nil {
		h += s.web.r.Held()
	}
	if h != s.held {
		s.b.Partial(h - s.held)
		s.held = h
	}
}
