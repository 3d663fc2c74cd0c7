package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"stompserver/internal/auth"
	"stompserver/internal/broker"
	"stompserver/internal/frame"
)

// handle does what one frame asks. An error ends the session.
func (s *session) handle(f *frame.Frame) error {
	if s.cfg.Debug {
		s.debug("frame received", f)
	}
	s.unlike = false
	err := s.dispatch(f)
	if err == nil || err == errLeave {
		return err
	}
	e, known := asError(err)
	if !known {
		s.log().Error("command failed", "command", f.Command.String(), "err", err)
	}
	if e.Receipt == "" {
		if id, ok := f.Header.Get("receipt"); ok {
			e.Receipt = string(id)
		}
	}
	if s.cfg.SoftErrors && s.bears(f, e) {
		s.tellSoftly(f, e)
		return nil
	}
	return e
}

func (s *session) dispatch(f *frame.Frame) error {
	if f.Command == frame.Send && s.state == connected {
		return s.send(f)
	}
	switch f.Command {
	case frame.Connect, frame.Stomp:
		return s.connect(f)
	case frame.Unknown, frame.Connected, frame.Message, frame.Receipt, frame.Error:
		return errf(codeMalformed, "Illegal command", "There is no client command %s. Known are CONNECT, STOMP, SEND, SUBSCRIBE, UNSUBSCRIBE, BEGIN, COMMIT, ABORT, ACK, NACK and DISCONNECT.", cut(f.Name))
	}
	if s.state != connected {
		return errf(codeLoginRequired, "Not connected", "%s came before CONNECT. The first frame must be CONNECT or STOMP.", f.Command)
	}
	switch f.Command {
	case frame.Subscribe:
		return s.subscribe(f)
	case frame.Unsubscribe:
		return s.unsubscribe(f)
	case frame.Begin:
		return s.begin(f)
	case frame.Commit:
		return s.commit(f)
	case frame.Abort:
		return s.abort(f)
	case frame.Ack:
		return s.ack(f)
	case frame.Nack:
		return s.nack(f)
	default:
		return s.disconnect(f)
	}
}

// harmless are the headers of CONNECT whose values are in the log. Those of others are not: clients
// that spell passcode in another way send one nevertheless.
var harmless = []string{
	"accept-version", "host", "login", "heart-beat", "client-id", "receipt", "request-id", "version", "server", "session", "content-length", "content-type",
}

// secret reports whether the value of a header may be a passcode.
func secret(c frame.Command, name string) bool {
	if c == frame.Connect || c == frame.Stomp {
		return !slices.Contains(harmless, name)
	}
	return strings.EqualFold(name, "passcode") || strings.EqualFold(name, "password") || strings.EqualFold(name, "authorization")
}

// debug logs a frame without its body and without a passcode.
func (s *session) debug(what string, f *frame.Frame) {
	attrs := make([]any, 0, 2*len(f.Header)+4)
	attrs = append(attrs, "command", f.Command.String(), "body_bytes", len(f.Body))
	for _, h := range f.Header {
		v := string(h.Value)
		if secret(f.Command, string(h.Name)) {
			v = "***"
		}
		attrs = append(attrs, slog.String("h."+string(h.Name), v))
	}
	s.log().Debug(what, attrs...)
}

// receipt confirms f at once, if it asks for that.
func (s *session) receipt(f *frame.Frame) {
	if id, ok := f.Header.Get("receipt"); ok {
		s.confirm(s.expect(id))
	}
}

// opSize is what an operation counts for on top of its messages' bytes.
const opSize = 64

// op prepares an operation that sends f's receipt when it is done, and holds n bytes of
// messages until then.
func (s *session) op(f *frame.Frame, n int) *broker.Op {
	op := broker.NewOp(s)
	op.Bytes, op.Patient, op.News = n+opSize, true, &s.news
	s.uncommitted.Add(int64(op.Bytes))
	if id, ok := f.Header.Get("receipt"); ok {
		op.Token = s.expect(id)
		s.attends.to(s.c, op)
	} else if f.Command != frame.Commit { // of which nothing shows before it is durable
		op.Relax()
	}
	return op
}

// unused takes an operation back that came to nothing.
func (s *session) unused(op *broker.Op) {
	s.unsent, _ = op.Token.(*receipt)
	op.Token = nil
	op.Finish(nil)
}

// connect answers CONNECT and STOMP ("Connecting", "Protocol Negotiation"). A second one on
// the same connection checks the login anew and changes nothing else.
func (s *session) connect(f *frame.Frame) error {
	version, named, err := negotiate(f)
	if err != nil {
		return err
	}
	if version == frame.V10 { // which trims, and only now we know that it is
		for i := range f.Header {
			f.Header[i].Value = bytes.TrimSpace(f.Header[i].Value)
		}
	}
	if s.state == starting {
		s.version = version
		s.client = f.Header.Value("client-id")
	}
	if err := s.chooseHost(f); err != nil {
		return err
	}
	if err := s.login(f); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	if s.user.Name != "" && s.cfg.Auth != nil {
		if err := s.admitUser(s.user.Name); err != nil {
			return err
		}
	} else if s.pace == nil && s.lim.paced() {
		s.pace = new(pace)
	}
	var cx, cy time.Duration
	if v, has := f.Header.Get("heart-beat"); has {
		var ok bool
		if cx, cy, ok = parseHeartbeat(string(v)); !ok {
			return errHeader(f.Command, "heart-beat", v, "two whole numbers of milliseconds with a comma between")
		}
	}
	reply := &frame.Frame{Command: frame.Connected, Header: make(frame.Header, 0, 6)}
	reply.Header.Add("version", s.version.String())
	if beats := s.beat.agree(cx, cy); named || cx > 0 || cy > 0 {
		reply.Header.Add("heart-beat", beats)
	} else { // who speaks 1.0 knows of none
		reply.Header.Add("heart-beat", "0,0")
	}
	reply.Header.Add("session", "session-"+rand.Text())
	reply.Header.Add("server", s.cfg.ServerHeader)
	if id, ok := f.Header.Get("receipt"); ok {
		reply.Header.Add("receipt-id", string(id))
		reply.Header.Add("response-id", string(id))
	} else if id, ok := f.Header.Get("request-id"); ok {
		reply.Header.Add("response-id", string(id))
	}
	s.out.mu.Lock()
	s.out.frame(reply, s.version)
	s.owe()
	s.out.mu.Unlock()
	if s.state == starting {
		s.state = connected
		s.dec.SetVersion(s.version)
		s.dec.SetLimits(s.lim.frameLimits(true))
		s.trace("connection opened", "user", s.user.Name, "vhost", s.lodging.host, "version", s.version.String())
		s.told = true
		s.place(s.transport, int(s.version)+1)
		s.srv.census.opened[s.transport][s.placed].Add(1)
		s.tellEvent("connect", "Connection")
	}
	return nil
}

// negotiate picks the highest version that both sides know. Without accept-version the
// client speaks 1.0; named says that it has named versions.
func negotiate(f *frame.Frame) (v frame.Version, named bool, err error) {
	accept, ok := f.Header.Get("accept-version")
	if !ok {
		return frame.V10, false, nil
	}
	best := -1
	for p := range bytes.SplitSeq(accept, []byte{','}) {
		for v := frame.V10; v <= frame.V12; v++ {
			if string(bytes.TrimSpace(p)) == v.String() {
				best = max(best, int(v))
			}
		}
	}
	if best < 0 {
		e := errf(codeVersionMismatch, "Supported protocol versions are 1.0 1.1 1.2", "The client accepts the versions %s, of which the server knows none.", cut(accept))
		e.Versions = true
		return 0, true, e
	}
	return frame.Version(best), true, nil
}

// login checks who it is. A passcode is taken as it came, and if that is refused with the
// escapes undone that CONNECT should not have but some clients write.
func (s *session) login(f *frame.Frame) error {
	login, hasLogin := f.Header.Get("login")
	passcode, hasPasscode := f.Header.Get("passcode")
	if len(login) == 0 && len(passcode) == 0 && s.carried != "" { // of the request for the WebSocket
		passcode, hasPasscode = []byte(s.carried), true
		login, hasLogin = []byte(s.carriedBy), hasLogin || s.carriedBy != ""
	}
	hasLogin = hasLogin || auth.IsToken(string(passcode))
	switch {
	case s.cfg.Auth == nil:
		s.user = &auth.Identity{Name: string(login)}
		return nil
	case !hasLogin && s.certified != "":
		s.srv.census.logins.add(loginSucceeded)
		return s.admitAs(&auth.Identity{Name: s.certified}, false)
	case len(login) == 0 && len(passcode) == 0 && anonymous(s.srv.cfg.Load().Rights):
		return s.admitAs(&auth.Identity{}, true)
	}
	refused := errf(codeLoginFailed, "Bad CONNECT", "The login or the passcode is wrong.")
	if !hasLogin || !hasPasscode {
		s.log().Info("login failed", "user", string(login), "reason", "no login or no passcode")
		s.srv.census.logins.add(loginRefused)
		refused.Detail = "This server wants a login: CONNECT needs the headers \"login\" and \"passcode\"."
		return refused
	}
	ctx, cancel := context.WithTimeout(s.srv.ctx, s.cfg.Limits.authTime())
	defer cancel()
	address := s.address()
	if err := s.holdBack(s.srv.backoff.Before(address, time.Now()), nil); err != nil {
		return err
	}
	user, err := s.cfg.Auth.Authenticate(ctx, string(login), string(passcode))
	if errors.Is(err, auth.ErrDenied) && (bytes.IndexByte(passcode, '\\') >= 0 || bytes.IndexByte(login, '\\') >= 0) {
		l, err1 := frame.Unescape(bytes.Clone(login), frame.V12)
		p, err2 := frame.Unescape(bytes.Clone(passcode), frame.V12)
		if err1 == nil && err2 == nil {
			user, err = s.cfg.Auth.Authenticate(ctx, string(l), string(p))
		}
	}
	if err != nil {
		if s.srv.ctx.Err() != nil {
			return s.srv.errShuttingDown()
		}
		if !errors.Is(err, auth.ErrDenied) {
			s.log().Error("login could not be checked", "user", string(login), "err", err)
			s.srv.census.logins.add(loginFailed)
			return errf(codeLoginUnavailable, "Login cannot be checked", "Nobody can tell at the moment whether the login is right. Try again in a moment.")
		}
		s.log().Info("login failed", "user", string(login))
		s.srv.census.logins.add(loginRefused)
		if err := s.holdBack(s.srv.backoff.Failed(address, string(login), time.Now()), nil); err != nil {
			return err
		}
		return refused
	}
	s.srv.backoff.Succeeded(address)
	s.srv.census.logins.add(loginSucceeded)
	return s.admitAs(user, false)
}

// awaitMemory holds a client back while the broker's memory is full; its socket is not read
// meanwhile. If that lasts too long the client is told.
func (s *session) awaitMemory(full func() bool) error {
	s.srv.LimitReached("memory")
	if !s.waited {
		s.waited = true // once is enough for the log
		s.log().Warn("memory limit reached, sender waits", "limit", s.b.MemoryLimit())
		s.tellEvent("blocked", "")
		s.wake.Run()
	}
	return s.pause(func() error {
		if s.b.AwaitMemory(full, s.missed, s.lim.MemoryWait, s.srv.quit) {
			return nil
		}
		if s.missed() {
			return io.EOF
		}
		return errf(codeLimit, "Limit reached", "The messages held by the server fill limits.memory, which is %d bytes here, and too little was consumed for %v. This frame was not taken.", s.b.MemoryLimit(), s.lim.MemoryWait)
	})
}

// missed reports whether the client has left and others could have what it holds: what it
// sent before may wait.
func (s *session) missed() bool {
	return s.subs.outstanding() && s.c.gone()
}

// disconnect answers DISCONNECT: its receipt comes when all before it was processed, and what
// the client did not settle is back in the queues.
func (s *session) disconnect(f *frame.Frame) error {
	if id, ok := f.Header.Get("receipt"); ok {
		id := bytes.Clone(id)
		if err := s.await(s.processed); err != nil {
			return err
		}
		s.release()
		_ = s.c.net().SetWriteDeadline(time.Now().Add(flushWait))
		if err := s.await(s.written); err != nil {
			return err
		}
		if s.out.lost() {
			return errLeave
		}
		s.subs.close(&s.wake)
		s.dropTemporary()
		s.confirm(s.expect(id))
	}
	return errLeave
}
