package session

import (
	"crypto/tls"
	"net"
	"net/netip"
	"slices"

	"stompserver/internal/origin"
)

// A Speech is a way for clients to speak STOMP; they are bits of a set.
type Speech uint8

// The ways.
const (
	Plain     Speech = 1 << iota // STOMP
	Secure                       // STOMP within TLS
	Web                          // STOMP within WebSocket
	WebOver                      // STOMP within WebSocket within TLS
	AnySpeech Speech = 0
)

// A Port is what the clients of a listener may speak: what that is is told by their first bytes.
// It is not changed once it serves.
type Port struct {
	Speaks  Speech       // 0: all
	TLS     *tls.Config  // nil: there is no TLS
	Origins origin.Guard // of WebSockets

	// Trusted are the networks whose PROXY header is believed. What is not believed is refused.
	Trusted []netip.Prefix

	// LoginBy says what of its certificate is the login of a client without one: cn, dn, san,
	// or nothing if it is empty.
	LoginBy string

	// BasicAuth has the login and passcode of the request for a WebSocket (RFC 7617) stand in for
	// those of a CONNECT that has none.
	BasicAuth bool

	// Hint is what a program of HTTP is told that asks for no WebSocket: where there is HTTP.
	Hint string
}

func (p *Port) speaks(how Speech) bool { return p.Speaks == AnySpeech || p.Speaks&how != 0 }

// trusts reports whether the header of a proxy is believed.
func (p *Port) trusts(proxy net.Addr) bool {
	if len(p.Trusted) == 0 {
		return false
	}
	if proxy.Network() == "unix" {
		return false
	}
	at, err := netip.ParseAddrPort(proxy.String())
	if err != nil {
		return false
	}
	ip := at.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.Trusted, func(n netip.Prefix) bool { return n.Contains(ip) })
}
