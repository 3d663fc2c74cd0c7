package session

import (
	"bytes"
)

// tlsAlert is a fatal handshake_failure, which a TLS client shows as such.
var tlsAlert = []byte{0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x28}

const httpHint = "This port speaks STOMP, not HTTP. Connect a STOMP client to it.\n"

var httpReply = []byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Content-Length: 64\r\nConnection: close\r\n\r\n" + httpHint)

var httpVerbs = [][]byte{
	[]byte("GET "), []byte("HEAD "), []byte("POST "), []byte("PUT "), []byte("DELETE "),
	[]byte("OPTIONS "), []byte("PATCH "), []byte("CONNECT "),
}

// foreign tells by the first bytes whether a client speaks something else than STOMP, and
// what to answer in its own tongue.
func foreign(b []byte) (reply []byte, what string) {
	if b[0] == 0x16 {
		return tlsAlert, "TLS"
	}
	for _, verb := range httpVerbs {
		if bytes.HasPrefix(b, verb) {
			return httpReply, "HTTP"
		}
	}
	return nil, ""
}

// sendAway answers a foreign client; its connection is closed like that of one who left.
func (s *session) sendAway(reply []byte, what string) error {
	s.log().Info("not a STOMP client", "speaks", what)
	s.out.mu.Lock()
	s.out.room(len(reply))
	s.out.chunk = append(s.out.chunk, reply...)
	s.out.size += len(reply)
	s.out.mu.Unlock()
	return errLeave
}
