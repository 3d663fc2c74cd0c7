package session

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stompserver/internal/broker"
)

// A heartbeat watches the times of a session: login, traffic in and out. It needs one
// timer, and none once there is nothing to watch.
type heartbeat struct {
	s     *session
	read  atomic.Int64 // when a byte last came, since the server's start
	wrote atomic.Int64 // when bytes last went out
	sends atomic.Bool  // whether wrote is of interest

	mu       sync.Mutex
	timer    *time.Timer
	ended    bool
	loggedIn bool
	send     time.Duration // a byte is due after it; 0: never
	receive  time.Duration // without a byte for so long the client is given up; 0: never
	agreed   time.Duration // the interval the client promised
}

func (h *heartbeat) start(s *session) {
	h.s = s
	now := s.sinceStart(time.Now())
	h.read.Store(now)
	h.wrote.Store(now)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.arm(now)
}

// heard notes that bytes came, whatever they are (half a frame is a sign of life too), and
// returns how long none did.
func (h *heartbeat) heard(now time.Time) time.Duration {
	t := h.s.sinceStart(now)
	return time.Duration(t - h.read.Swap(t))
}

// sent notes that bytes went out.
func (h *heartbeat) sent() {
	if h.sends.Load() {
		h.wrote.Store(h.s.sinceStart(time.Now()))
	}
}

// end stops watching.
func (h *heartbeat) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	if h.timer != nil {
		h.timer.Stop()
	}
}

// agree settles the heart-beats of a client that can send one each cx and wants one each
// cy, and returns what CONNECTED says ("Heart-beating" in STOMP 1.1 and 1.2).
func (h *heartbeat) agree(cx, cy time.Duration) string {
	cfg := h.s.cfg
	var send, receive time.Duration
	if cy > 0 && cfg.Heartbeat.Send > 0 {
		send = max(cy, cfg.Heartbeat.Send)
	}
	if cx > 0 && cfg.Heartbeat.Receive > 0 {
		receive = max(cx, cfg.Heartbeat.Receive)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loggedIn = true
	h.agreed = receive
	if h.receive = h.s.srv.cfg.Load().Limits.IdleTimeout; receive > 0 {
		h.receive = time.Duration(float64(receive)*cfg.Heartbeat.Tolerance) + cfg.Heartbeat.Grace
	}
	// A quarter early, at most a second: a beat that is due to the millisecond is late.
	h.send = send - min(send/4, time.Second)
	h.sends.Store(h.send > 0)
	now := h.s.sinceStart(time.Now())
	h.wrote.Store(now)
	h.arm(now)
	return strconv.FormatInt(cfg.Heartbeat.Send.Milliseconds(), 10) + "," +
		strconv.FormatInt(cfg.Heartbeat.Receive.Milliseconds(), 10)
}

// idle changes how long a client may be silent that has agreed on no heart-beat.
func (h *heartbeat) idle(after time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || !h.loggedIn || h.agreed > 0 || h.receive == after {
		return
	}
	h.receive = after
	h.arm(h.s.sinceStart(time.Now()))
}

// arm sets the timer to what is due next. Called with mu held.
func (h *heartbeat) arm(now int64) {
	next := time.Duration(-1)
	due := func(since int64, after time.Duration) {
		if d := after - time.Duration(now-since); after > 0 && (next < 0 || d < next) {
			next = max(d, time.Millisecond)
		}
	}
	if !h.loggedIn {
		due(0, h.loginDue())
	}
	due(h.read.Load(), h.receive)
	due(h.wrote.Load(), h.send)
	switch {
	case next < 0:
		if h.timer != nil {
			h.timer.Stop()
			h.timer = nil
		}
	case h.timer == nil:
		h.timer = time.AfterFunc(next, h.tick) // stopped by end
	default:
		h.timer.Reset(next)
	}
}

// loginDue is the moment by which CONNECT must have been understood, 0 for none.
func (h *heartbeat) loginDue() time.Duration {
	if d := h.s.cfg.Limits.LoginTimeout; d > 0 {
		return time.Duration(h.s.began) + d
	}
	return 0
}

// tick looks what is due.
func (h *heartbeat) tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	now := h.s.sinceStart(time.Now())
	if h.s.paused.Load() {
		h.read.Store(now) // we do not read: silence is our own doing
	}
	silence := time.Duration(now - h.read.Load())
	switch due := h.loginDue(); {
	case !h.loggedIn && due > 0 && time.Duration(now) >= due:
		h.s.fail(errReached("limits.login_timeout", "No CONNECT came within limits.login_timeout, which is %v here.", h.s.cfg.Limits.LoginTimeout))
		return
	case h.loggedIn && h.receive > 0 && silence >= h.receive:
		if h.agreed > 0 {
			h.s.fail(errf(codeHeartbeatLost, "Heart-beat lost", "Nothing came for %v, though a heart-beat was agreed for each %v.", silence.Round(time.Millisecond), h.agreed))
		} else {
			h.s.fail(errReached("limits.idle_timeout", "Nothing came for %v: limits.idle_timeout is %v here. Heart-beats keep a connection open.", silence.Round(time.Millisecond), h.receive))
		}
		return
	}
	if h.send > 0 && time.Duration(now-h.wrote.Load()) >= h.send {
		h.wrote.Store(now)
		h.s.beatOnce()
	}
	h.arm(now)
}

// beatOnce writes the EOL that is a heart-beat, unless something is on its way anyway.
func (s *session) beatOnce() {
	s.out.mu.Lock()
	if s.out.size == 0 && !s.out.writing && !s.out.last && !s.out.closed {
		s.out.room(1)
		n := s.out.begin()
		s.out.chunk = append(s.out.chunk, '\n')
		s.out.end(n, nil)
	}
	s.out.mu.Unlock()
	var w broker.Wake
	s.Flush(&w, true)
	w.Run()
}

// parseHeartbeat reads "cx,cy", milliseconds each.
func parseHeartbeat(v string) (cx, cy time.Duration, ok bool) {
	a, b, found := strings.Cut(v, ",")
	x, err1 := strconv.ParseUint(strings.TrimSpace(a), 10, 31)
	y, err2 := strconv.ParseUint(strings.TrimSpace(b), 10, 31)
	if !found || err1 != nil || err2 != nil {
		return 0, 0, false
	}
	return time.Duration(x) * time.Millisecond, time.Duration(y) * time.Millisecond, true
}
