package websocket

import (
	"bytes"
	"errors"
	"testing"
)

// frameOf is a frame of a client, masked.
func frameOf(first byte, payload string) []byte {
	b := []byte{first, 0x80 | byte(len(payload)), 1, 2, 3, 4}
	for i := range len(payload) {
		b = append(b, payload[i]^byte(i&3+1))
	}
	return b
}

// drain decodes b, given in parts of n bytes, and returns what it carried and what answered it.
func drain(r *Reader, b []byte, n int) (out []byte, err error) {
	for len(b) > 0 {
		part := bytes.Clone(b[:min(n, len(b))])
		b = b[len(part):]
		for len(part) > 0 {
			n, rest, err := r.Decode(part)
			out = append(out, part[:n]...)
			if err != nil {
				return out, err
			}
			part = bytes.Clone(rest)
			var room [100]byte
			for r.Waiting() {
				k, err := r.Unpack(room[:])
				out = append(out, room[:k]...)
				if err != nil {
					return out, err
				}
				if len(out) > 1<<20 {
					return out, errors.New("enough")
				}
			}
		}
	}
	return out, nil
}

// FuzzReader: however the bytes are cut, they carry the same, and their end is the same.
func FuzzReader(f *testing.F) {
	f.Add(bytes.Join([][]byte{frameOf(0x81, "grüße"), frameOf(0x02, "a"), frameOf(0x89, "p"), frameOf(0x80, "b"), frameOf(0x88, "\x03\xe8")}, nil), 1, true)
	f.Add(frameOf(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), 3, true) // Hello, as RFC 7692 has it
	f.Add(frameOf(0x81, "\xce"), 7, false)
	f.Fuzz(func(t *testing.T, b []byte, n int, deflate bool) {
		if n <= 0 || n > len(b) {
			n = 1
		}
		whole, parts := Reader{Deflate: deflate, MaxPacked: 1 << 16}, Reader{Deflate: deflate, MaxPacked: 1 << 16}
		a, errA := drain(&whole, b, len(b)+1)
		p, errP := drain(&parts, b, n)
		if !bytes.Equal(a, p) && AsClose(errA) == nil {
			t.Errorf("%q at once, %q in parts of %d", a, p, n)
		}
		if x, y := AsClose(errA), AsClose(errP); (x == nil) != (y == nil) || x != nil && x.Code != y.Code {
			t.Errorf("ends with %v at once, with %v in parts of %d", errA, errP, n)
		}
		if !bytes.Equal(whole.Reply, parts.Reply) {
			t.Errorf("answered by %q at once, by %q in parts", whole.Reply, parts.Reply)
		}
	})
}

// FuzzFramer: the head of what a Framer makes says how long it is, and what it carries is there,
// packed or not.
func FuzzFramer(f *testing.F) {
	f.Add([]byte("hello"), []byte("world"), true)
	f.Add(bytes.Repeat([]byte("x"), 126), []byte{}, false)
	f.Add(bytes.Repeat([]byte("xyz"), 300), []byte{0xff}, true)
	f.Fuzz(func(t *testing.T, head, rest []byte, text bool) {
		fr := Framer{Text: text}
		b := append([]byte("before"), 0)
		start := len(b)
		b = fr.End(append(fr.Begin(b), head...), start, rest)
		h := HeadOf(b[start:])
		if h.Payload != len(head)+len(rest) || !h.Data || !bytes.Equal(b[start+h.Size:], head) || string(b[:start]) != "before\x00" {
			t.Fatalf("head %+v of %d and %d bytes", h, len(head), len(rest))
		}
		packed := AppendPacked(nil, h, b[start:], rest)
		masked := mask(packed)
		r := Reader{Deflate: true}
		out, err := drain(&r, masked, 1000)
		want := append(bytes.Clone(head), rest...)
		if err != nil || !bytes.Equal(out, want) && len(want) < 1<<20 {
			t.Errorf("%d bytes come back as %d, %v", len(want), len(out), err)
		}
	})
}

// mask makes a frame of a server one of a client's, with a mask that changes nothing.
func mask(b []byte) []byte {
	h := HeadOf(b)
	out := append(bytes.Clone(b[:h.Size]), 0, 0, 0, 0)
	out[1] |= maskBit
	return append(out, b[h.Size:]...)
}

// FuzzRequest: a head that is accepted asks for a WebSocket, and the answer names what was offered.
func FuzzRequest(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v12.stomp\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := HeadEnd(b)
		if end < 0 {
			return
		}
		r, err := ReadRequest(b[:end])
		if err != nil || !Wants(r) {
			return
		}
		a, refusal := Accept(r, []string{"v12.stomp", "stomp"})
		if refusal != nil {
			return
		}
		if r.Method != "GET" || a.Protocol != "" && !has(r.Header["Sec-Websocket-Protocol"], a.Protocol) {
			t.Errorf("accepted %q with %q", b, a.Protocol)
		}
		if bytes.Count(a.Response, []byte("\r\n\r\n")) != 1 || !bytes.HasSuffix(a.Response, []byte("\r\n\r\n")) {
			t.Errorf("the answer is %q", a.Response)
		}
	})
}
