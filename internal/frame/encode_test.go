package frame_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"stompserver/internal/frame"
)

func build(c frame.Command, body string, fields ...string) *frame.Frame {
	f := &frame.Frame{Command: c, Body: []byte(body)}
	for i := 0; i < len(fields); i += 2 {
		f.Header.Add(fields[i], fields[i+1])
	}
	return f
}

func TestAppend(t *testing.T) {
	odd := "a:b\\c\r\nd\x00e"
	unknown := build(frame.Unknown, "", "a", "b")
	unknown.Name = []byte("HELLO")
	for _, test := range []struct {
		name string
		v    frame.Version
		f    *frame.Frame
		want string
	}{
		// STOMP 1.2, "STOMP Frames" and "Header content-length".
		{"no header, no body", frame.V12, build(frame.Disconnect, ""), "DISCONNECT\n\n\x00\n"},
		{"a body gets its length", frame.V12, build(frame.Send, "x\x00y", "destination", "/queue/a"), "SEND\ndestination:/queue/a\ncontent-length:3\n\nx\x00y\x00\n"},
		{"a length given stays", frame.V12, build(frame.Send, "xy", "content-length", "2", "a", ""), "SEND\ncontent-length:2\na:\n\nxy\x00\n"},
		{"unknown commands by name", frame.V12, unknown, "HELLO\na:b\n\n\x00\n"},
		// "Value Encoding".
		{"escapes of 1.2", frame.V12, build(frame.Message, "", odd, odd), "MESSAGE\na\\cb\\\\c\\r\\nde:a\\cb\\\\c\\r\\nde\n\n\x00\n"},
		{"escapes of 1.1", frame.V11, build(frame.Message, "", odd, odd), "MESSAGE\na\\cb\\\\c\\nde:a\\cb\\\\c\\nde\n\n\x00\n"},
		{"1.0 has none", frame.V10, build(frame.Message, "", "k", odd), "MESSAGE\nk:a:b\\cde\n\n\x00\n"},
		{"CONNECT has none", frame.V12, build(frame.Connect, "", "passcode", odd), "CONNECT\npasscode:a:b\\cde\n\n\x00\n"},
		{"STOMP has none", frame.V12, build(frame.Stomp, "", "passcode", odd), "STOMP\npasscode:a:b\\cde\n\n\x00\n"},
		{"CONNECTED has none", frame.V12, build(frame.Connected, "", "session", odd), "CONNECTED\nsession:a:b\\cde\n\n\x00\n"},
		{"a name of 1.0 forges no other", frame.V10, build(frame.Message, "", "message-id:1", "x"), "MESSAGE\nmessage-id\\c1:x\n\n\x00\n"},
	} {
		if got := string(frame.Append([]byte("before"), test.v, test.f)); got != "before"+test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}

// TestAppendEscapedEverywhere has a byte that needs an escape at each place of a value, and
// values of each length, for it looks at eight bytes at a time.
func TestAppendEscapedEverywhere(t *testing.T) {
	for n := range 40 {
		plain := strings.Repeat("x", n)
		if got := string(frame.AppendEscaped(nil, []byte(plain), frame.V12)); got != plain {
			t.Errorf("got %q, want %q", got, plain)
		}
		for at := range n {
			for in, want := range map[string]string{":": `\c`, "\\": `\\`, "\n": `\n`, "\r": `\r`, "\x00": "", "\xba": "\xba", "\x10": "\x10", "\t": "\t"} {
				head, tail := plain[:at], plain[at+1:]
				if got := string(frame.AppendEscaped(nil, []byte(head+in+tail), frame.V12)); got != head+want+tail {
					t.Errorf("got %q, want %q", got, head+want+tail)
				}
			}
		}
	}
}

func TestUnescape(t *testing.T) {
	for _, test := range []struct {
		v        frame.Version
		in, want string
		err      error
	}{
		{frame.V12, `a\c\n\r\\b`, "a:\n\r\\b", nil},
		{frame.V11, `a\c\n\\b`, "a:\n\\b", nil},
		{frame.V11, `a\r`, "", frame.ErrEscape},
		{frame.V12, `a\t`, "", frame.ErrEscape},
		{frame.V12, `a\`, "", frame.ErrEscape},
		{frame.V10, `a\c\q\`, `a\c\q\`, nil},
		{frame.V12, "", "", nil},
	} {
		got, err := frame.Unescape(bytes.Clone([]byte(test.in)), test.v)
		if !errors.Is(err, test.err) || err == nil && string(got) != test.want {
			t.Errorf("%v, %q: got %q, %v", test.v, test.in, got, err)
		}
	}
}
