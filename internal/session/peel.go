package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"stompserver/internal/transport"
	"stompserver/internal/websocket"
)

const (
	// opening is the room for the first bytes of a client; more is made for a longer head.
	opening = 512

	// maxHead bounds the head of a request and the header of a proxy.
	maxHead = 16 << 10
)

// protocols are the sub-protocols of WebSocket, the best first.
var protocols = []string{"v12.stomp", "v11.stomp", "v10.stomp", "stomp"}

// tlsAlert is a fatal handshake_failure, which a TLS client shows as such.
var tlsAlert = []byte{0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28}

// peel finds out what the client speaks and peels off what STOMP is wrapped in. It returns what
// came of the STOMP itself. Called by the reader, once, before anything else; the time for it is
// limits.login_timeout.
func (s *session) peel() (early []byte, err error) {
	proxied := s.port.trusts(s.sock.RemoteAddr())
	b := make([]byte, 0, opening)
	for {
		switch kind := transport.Sniff(b, proxied); kind {
		case transport.More:
			if b, err = s.readMore(b); err != nil {
				return nil, err
			}
		case transport.ProxyV1, transport.ProxyV2:
			if !proxied {
				s.log().Warn("connection refused", "reason", "a PROXY header of an address that is not trusted", "hint", "trusted_proxies")
				return nil, errf(codeNotAllowed, "Not trusted", "A PROXY header came from an address that is not among trusted_proxies.")
			}
			if b, err = s.openProxy(b, kind); err != nil {
				return nil, err
			}
			proxied = false
		case transport.TLS:
			if s.secure || s.port.TLS == nil {
				return nil, s.sendAway(tlsAlert, "TLS")
			}
			if err := s.openTLS(b); err != nil {
				return nil, err
			}
			proxied, b = false, b[:0:0]
		case transport.HTTP:
			return s.openWeb(b)
		default:
			if s.secure && !s.port.speaks(Secure) {
				return nil, errf(codeNotAllowed, "WebSocket only", "This port speaks STOMP within WebSocket only.")
			}
			if !s.secure && !s.port.speaks(Plain) {
				if s.port.speaks(Secure) {
					return nil, errf(codeTLSRequired, "TLS required", "This port speaks STOMP within TLS only.")
				}
				return nil, errf(codeNotAllowed, "WebSocket only", "This port speaks STOMP within WebSocket only.")
			}
			return b, nil
		}
	}
}

// readMore reads once, behind what b holds.
func (s *session) readMore(b []byte) ([]byte, error) {
	if len(b) == cap(b) {
		b = append(b, make([]byte, max(len(b), opening))...)[:len(b)]
	}
	n, err := s.c.read(func() []byte { return b[len(b):cap(b)] }, func() {})
	if n > 0 {
		return b[:len(b)+n], nil
	}
	if err != nil {
		return b, s.cause(err)
	}
	return b, nil
}

// openProxy takes the header of a proxy off, and the address of the client out of it.
func (s *session) openProxy(b []byte, kind transport.Kind) (rest []byte, err error) {
	for {
		source, size, err := transport.ReadProxy(b, kind, maxHead)
		switch {
		case err != nil:
			return nil, errf(codeMalformed, "Malformed PROXY header", "The proxy's header cannot be read.")
		case size > 0:
			if source != nil {
				s.addr = source
			}
			return b[size:], nil
		}
		if b, err = s.readMore(b); err != nil {
			return nil, err
		}
	}
}

// openTLS makes the handshake that begins with b.
func (s *session) openTLS(b []byte) error {
	h := &transport.Handshake{Conn: &transport.Replay{Conn: s.sock, Early: b}, Turns: s.srv.turns}
	c := tls.Server(h, s.port.TLS)
	_ = s.sock.SetWriteDeadline(time.Now().Add(s.cfg.Limits.authTime()))
	ctx, cancel := context.WithCancel(s.srv.ctx)
	defer cancel()
	err := h.Begin(ctx)
	if err == nil {
		err = c.HandshakeContext(ctx)
		h.End()
	}
	if err != nil {
		if f := s.failure.Load(); f == nil {
			s.log().Info("TLS handshake failed", "err", err)
		}
		return errHandshake
	}
	if c.ConnectionState().NegotiatedProtocol == transport.ACMEProto { // an authority has seen what it wanted
		return errHandshake
	}
	_ = s.sock.SetWriteDeadline(time.Time{})
	s.c, s.secure = newConn(c), true
	s.place(TLS, 0)
	if s.port.LoginBy != "" {
		if certs := c.ConnectionState().PeerCertificates; len(certs) > 0 {
			s.certified = transport.Name(certs[0], s.port.LoginBy)
		}
	}
	return nil
}

// errHandshake ends a session without a word: the client could not read it.
var errHandshake = errors.New("session: no TLS")

// openWeb answers a request that begins with b.
func (s *session) openWeb(b []byte) (early []byte, err error) {
	end := websocket.HeadEnd(b)
	for end < 0 {
		if len(b) > maxHead {
			return nil, s.sendAway(answer(http.StatusRequestHeaderFieldsTooLarge, "The head of the request is too long.", nil), "HTTP")
		}
		if b, err = s.readMore(b); err != nil {
			return nil, err
		}
		end = websocket.HeadEnd(b)
	}
	r, err := websocket.ReadRequest(b[:end])
	if err != nil {
		return nil, s.sendAway(answer(http.StatusBadRequest, "The request cannot be understood.", nil), "HTTP")
	}
	if s.turnedAway != nil {
		return nil, s.sendAway(s.refusal(), "HTTP")
	}
	how, want := Web, Plain
	if s.secure {
		how, want = WebOver, Secure
	}
	switch {
	case !s.secure && !s.port.speaks(Web|Plain):
		return nil, s.sendAway(answer(http.StatusBadRequest, "This port wants TLS.", nil), "HTTP without TLS")
	case !websocket.Wants(r):
		words := "STOMP and STOMP within WebSocket"
		switch {
		case !s.port.speaks(how):
			words = "STOMP"
		case !s.port.speaks(want):
			words = "STOMP within WebSocket"
		}
		hint := "This port speaks " + words + ", not HTTP. " + s.port.Hint
		return nil, s.sendAway(answer(http.StatusBadRequest, strings.TrimSpace(hint), nil), "HTTP")
	case !s.port.speaks(how):
		return nil, s.sendAway(answer(http.StatusForbidden, "This port speaks "+map[Speech]string{Plain: "STOMP", Secure: "STOMP within TLS"}[want]+", and no WebSocket.", nil), "WebSocket")
	}
	if why := s.port.Origins.Refuse(r); why != "" {
		s.log().Warn("WebSocket refused", "origin", short(r.Header.Get("Origin")), "host", short(r.Host), "reason", why, "hint", "websocket.origins")
		return nil, s.sendAway(answer(http.StatusForbidden, why, nil), "WebSocket")
	}
	agreed, refusal := websocket.Accept(r, protocols)
	if refusal != nil {
		return nil, s.sendAway(answer(refusal.Status, refusal.Reason, refusal.Header), "WebSocket")
	}
	_ = s.sock.SetWriteDeadline(time.Now().Add(s.cfg.Limits.authTime()))
	if _, err := s.c.net().Write(agreed.Response); err != nil {
		return nil, err
	}
	_ = s.sock.SetWriteDeadline(time.Time{})
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		s.carried = strings.TrimSpace(token)
	} else if s.port.BasicAuth {
		s.carriedBy, s.carried, _ = r.BasicAuth()
	}
	s.upgrade(agreed.Deflate, b[end:])
	return nil, nil
}

// short is what a log needs of a header.
func short(s string) string { return s[:min(len(s), 80)] }

// answer is one of HTTP, after which the connection ends.
func answer(status int, text string, header http.Header) []byte {
	var h strings.Builder
	_ = header.Write(&h)
	text += "\n"
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		status, http.StatusText(status), h.String(), len(text), text)
}

// sendAway answers a foreign client; its connection is closed like that of one who left.
func (s *session) sendAway(reply []byte, what string) error {
	s.log().Info("not a STOMP client", "speaks", what)
	s.raw(reply)
	return errLeave
}

// raw adds bytes that are no frame of STOMP.
func (s *session) raw(b []byte) {
	s.out.mu.Lock()
	s.out.room(len(b))
	s.out.chunk = append(s.out.chunk, b...)
	s.out.size += len(b)
	s.out.mu.Unlock()
}
