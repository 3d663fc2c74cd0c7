// Package transport finds out what a connection speaks before STOMP begins, and peels it off:
// the header of a proxy, TLS, the request for a WebSocket.
package transport

import "bytes"

// A Kind is what the first bytes of a connection show.
type Kind int

// The kinds.
const (
	More    Kind = iota // it takes more bytes to tell
	Stomp               // or anything unknown: STOMP says what is wrong with it
	TLS                 // a handshake record (RFC 8446, section 5.1)
	HTTP                // a request
	ProxyV1             // the header of a proxy, version 1
	ProxyV2             // version 2
)

var (
	verbs = [][]byte{
		[]byte("GET "), []byte("HEAD "), []byte("POST "), []byte("PUT "), []byte("DELETE "),
		[]byte("OPTIONS "), []byte("PATCH "), []byte("CONNECT "),
	}
	proxyV1 = []byte("PROXY ")
	proxyV2 = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// Sniff tells what begins with b. A header of a proxy is looked for only if proxy is set: the
// one of version 2 begins with the ends of lines that STOMP allows before a frame.
func Sniff(b []byte, proxy bool) Kind {
	if len(b) == 0 {
		return More
	}
	if b[0] == 0x16 {
		return TLS
	}
	more := false
	begins := func(sign []byte) bool {
		if len(b) < len(sign) {
			more = more || bytes.HasPrefix(sign, b)
			return false
		}
		return bytes.HasPrefix(b, sign)
	}
	if begins(proxyV1) {
		return ProxyV1
	}
	if proxy && begins(proxyV2) {
		return ProxyV2
	}
	for _, v := range verbs {
		if begins(v) {
			return HTTP
		}
	}
	if more {
		return More
	}
	return Stomp
}
