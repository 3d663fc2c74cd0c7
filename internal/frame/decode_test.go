package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"stompserver/internal/frame"
)

// decodeAll gives in to a decoder in pieces of the sizes that next returns, and returns
// what it takes out, spelt in one line each, and the error that ended it.
func decodeAll(d *frame.Decoder, in []byte, next func(left int) int) (got []string, err error) {
	var f frame.Frame
	for {
		for {
			err := d.Decode(&f)
			if err == frame.ErrMore {
				break
			}
			if err != nil {
				return got, err
			}
			got = append(got, spell(&f))
			if f.Plain && needsEscapes(&f) {
				return got, fmt.Errorf("plain, but not: %s", spell(&f))
			}
		}
		if len(in) == 0 {
			return got, nil
		}
		want := next(len(in))
		space := d.Space()
		n := copy(space[:min(len(space), want)], in)
		d.Filled(n)
		in = in[n:]
	}
}

func spell(f *frame.Frame) string {
	var b strings.Builder
	if f.Command == frame.Unknown {
		fmt.Fprintf(&b, "?%s", f.Name)
	} else {
		b.WriteString(f.Command.String())
	}
	for _, h := range f.Header {
		fmt.Fprintf(&b, " %q=%q", h.Name, h.Value)
	}
	fmt.Fprintf(&b, " | %q", f.Body)
	return b.String()
}

// needsEscapes says whether a field of f could not be copied as it is.
func needsEscapes(f *frame.Frame) bool {
	for _, h := range f.Header {
		if bytes.ContainsAny(h.Name, ":\\\r\n") || bytes.ContainsAny(h.Value, ":\\\r\n") {
			return true
		}
	}
	return false
}

func all(left int) int { return left }
func one(int) int      { return 1 }

func decoder(v frame.Version, l frame.Limits) *frame.Decoder {
	d := new(frame.Decoder)
	d.Init(l)
	d.SetVersion(v)
	return d
}

var samples = []struct {
	name string
	v    frame.Version
	in   string
	want []string
	err  string // part of the error's text
}{
	// STOMP 1.2, "STOMP Frames".
	{name: "a frame", v: frame.V12, in: "SEND\ndestination:/queue/a\n\nhello\x00", want: []string{`SEND "destination"="/queue/a" | "hello"`}},
	{name: "CRLF lines", v: frame.V12, in: "SEND\r\ndestination:/queue/a\r\n\r\nhello\x00\r\n", want: []string{`SEND "destination"="/queue/a" | "hello"`}},
	{name: "CRLF lines in 1.0 and 1.1, as real clients send", v: frame.V10, in: "SEND\r\ndestination:/queue/a\r\n\r\nhello\x00", want: []string{`SEND "destination"="/queue/a" | "hello"`}},
	{name: "no header, no body", v: frame.V12, in: "DISCONNECT\n\n\x00", want: []string{`DISCONNECT | ""`}},
	{name: "EOLs before, between and behind", v: frame.V12, in: "\n\r\n\nACK\n\n\x00\n\n\r\nNACK\n\n\x00\n\r\n", want: []string{`ACK | ""`, `NACK | ""`}},
	{name: "NUL before and between", v: frame.V12, in: "\n\x00ACK\n\n\x00\x00\n\x00\r\nNACK\n\n\x00", want: []string{`ACK | ""`, `NACK | ""`}},
	{name: "several in one", v: frame.V12, in: "ACK\nid:1\n\n\x00ACK\nid:2\n\n\x00\nACK\nid:3\n\n\x00", want: []string{`ACK "id"="1" | ""`, `ACK "id"="2" | ""`, `ACK "id"="3" | ""`}},
	{name: "any case, as the Ruby server took it", v: frame.V10, in: "send\ndestination:/queue/a\n\nx\x00Subscribe\n\n\x00", want: []string{`SEND "destination"="/queue/a" | "x"`, `SUBSCRIBE | ""`}},
	{name: "unknown command", v: frame.V12, in: "HELLO\na:b\n\nc\x00", want: []string{`?HELLO "a"="b" | "c"`}},
	{name: "empty value", v: frame.V12, in: "SEND\na:\n\n\x00", want: []string{`SEND "a"="" | ""`}},
	{name: "empty body by length", v: frame.V12, in: "SEND\ncontent-length:0\n\n\x00", want: []string{`SEND "content-length"="0" | ""`}},
	// "Body".
	{name: "a tab before the name in 1.0", v: frame.V10, in: "SEND\n\tcontent-length : 3\n\na\x00b\x00", want: []string{`SEND "content-length"="3" | "a\x00b"`}},
	{name: "a blank before the name in CONNECT", v: frame.V12, in: "CONNECT\n content-length:3\n\na\x00b\x00", want: []string{`CONNECT "content-length"="3" | "a\x00b"`}},
	{name: "a blank before the name in 1.2 is part of it", v: frame.V12, in: "SEND\n content-length:3\n\na\x00", want: []string{`SEND " content-length"="3" | "a"`}},
	{name: "NULs in a body with content-length", v: frame.V12, in: "SEND\ncontent-length:5\n\na\x00b\x00c\x00", want: []string{`SEND "content-length"="5" | "a\x00b\x00c"`}},
	{name: "content-length with blanks", v: frame.V11, in: "SEND\ncontent-length: 1 \n\na\x00", want: []string{`SEND "content-length"=" 1 " | "a"`}},
	{name: "content-length too small", v: frame.V12, in: "SEND\ncontent-length:1\n\nab\x00", err: "content-length says 1"},
	{name: "content-length not a number", v: frame.V12, in: "SEND\ncontent-length:-1\n\nab\x00", err: "not a number"},
	{name: "content-length beyond numbers", v: frame.V12, in: "SEND\ncontent-length:99999999999999999999999\n\nab\x00", err: "limits.body"},
	// "Repeated Header Entries".
	{name: "repeated headers are kept in order", v: frame.V12, in: "SEND\nfoo:World\nfoo:Hello\n\n\x00", want: []string{`SEND "foo"="World" "foo"="Hello" | ""`}},
	{name: "the first content-length counts", v: frame.V12, in: "SEND\ncontent-length:2\ncontent-length:9\n\nab\x00", want: []string{`SEND "content-length"="2" "content-length"="9" | "ab"`}},
	// "Value Encoding".
	{name: "escapes of 1.2", v: frame.V12, in: "SEND\na\\cb:\\r\\n\\c\\\\x\n\n\x00", want: []string{`SEND "a:b"="\r\n:\\x" | ""`}},
	{name: "escapes of 1.1", v: frame.V11, in: "SEND\na\\cb:\\n\\c\\\\x\n\n\x00", want: []string{`SEND "a:b"="\n:\\x" | ""`}},
	{name: "1.0 leaves backslash alone", v: frame.V10, in: "SEND\na:\\n\\q\n\n\x00", want: []string{`SEND "a"="\\n\\q" | ""`}},
	{name: "undefined escape in 1.2", v: frame.V12, in: "SEND\na:\\t\n\n\x00", err: "escape"},
	{name: "undefined escape in 1.1", v: frame.V11, in: "SEND\na:\\r\n\n\x00", err: "escape"},
	{name: "undefined escape in a name", v: frame.V12, in: "SEND\na\\q:\n\n\x00", err: "escape"},
	{name: "half an escape", v: frame.V12, in: "SEND\na:b\\\n\n\x00", err: "escape"},
	{name: "no escapes in CONNECT", v: frame.V12, in: "CONNECT\npasscode:a\\qb\n\n\x00", want: []string{`CONNECT "passcode"="a\\qb" | ""`}},
	{name: "no escapes in STOMP", v: frame.V12, in: "STOMP\npasscode:a\\nb\n\n\x00", want: []string{`STOMP "passcode"="a\\nb" | ""`}},
	{name: "no escapes in CONNECTED", v: frame.V12, in: "CONNECTED\nsession:a\\b\n\n\x00", want: []string{`CONNECTED "session"="a\\b" | ""`}},
	{name: "a raw colon in a value", v: frame.V12, in: "SEND\nurl:http://a:80\n\n\x00", want: []string{`SEND "url"="http://a:80" | ""`}},
	// Trimming: only 1.0.
	{name: "1.0 trims", v: frame.V10, in: "SEND\n dest : x y \n\n\x00", want: []string{`SEND "dest"="x y" | ""`}},
	{name: "1.2 does not trim", v: frame.V12, in: "SEND\n dest : x \n\n\x00", want: []string{`SEND " dest "=" x " | ""`}},
	{name: "a passcode keeps its blanks", v: frame.V10, in: "CONNECT\npasscode: x \n\n\x00", want: []string{`CONNECT "passcode"=" x " | ""`}},
	{name: "1.0 drops a line without colon", v: frame.V10, in: "SEND\nnonsense\n:x\na:b\n\n\x00", want: []string{`SEND "a"="b" | ""`}},
	{name: "1.2 refuses a line without colon", v: frame.V12, in: "SEND\nnonsense\n\n\x00", err: "no colon"},
	{name: "1.1 refuses a line without name", v: frame.V11, in: "SEND\n:x\n\n\x00", err: "no colon"},
	{name: "a CR inside a value in 1.2", v: frame.V12, in: "SEND\na:x\ry\n\n\x00", err: "carriage return"},
	{name: "a CR inside a value in 1.1", v: frame.V11, in: "SEND\na:x\ry\n\n\x00", want: []string{`SEND "a"="x\ry" | ""`}},
	{name: "two CRs at the end in 1.2", v: frame.V12, in: "SEND\na:x\r\r\n\n\x00", err: "carriage return"},
	{name: "two CRs at the end in 1.1", v: frame.V11, in: "SEND\na:x\r\r\n\n\x00", want: []string{`SEND "a"="x\r" | ""`}},
	{name: "bytes that are only nearly special", v: frame.V12, in: "SEND\n\x10\x01;\x02:\x10;]9[\t\xba\xff\x80\x8a\n\n\x00", want: []string{`SEND "\x10\x01;\x02"="\x10;]9[\t\xba\xff\x80\x8a" | ""`}},
	{name: "a NUL in the header", v: frame.V12, in: "SEND\na:x\x00y\n\n\x00", err: "NUL"},
	{name: "a frame cut short", v: frame.V12, in: "SEND\na:x\x00", err: "NUL"},
	{name: "a NUL in the command", v: frame.V12, in: "SE\x00ND\n\n\x00", err: "NUL"},
	{name: "one good, one bad", v: frame.V12, in: "ACK\n\n\x00SEND\nx\n\n\x00", want: []string{`ACK | ""`}, err: "no colon"},
}

func TestDecode(t *testing.T) {
	for _, s := range samples {
		for _, cut := range []struct {
			name string
			next func(int) int
		}{{"whole", all}, {"byte by byte", one}} {
			got, err := decodeAll(decoder(s.v, frame.Limits{}), []byte(s.in), cut.next)
			if fmt.Sprint(got) != fmt.Sprint(s.want) {
				t.Errorf("%s, %s:\n got %q\nwant %q", s.name, cut.name, got, s.want)
			}
			if s.err == "" && err != nil || s.err != "" && (err == nil || !strings.Contains(err.Error(), s.err)) {
				t.Errorf("%s, %s: error %v, want %q", s.name, cut.name, err, s.err)
			}
		}
		for i := 1; i < len(s.in); i++ {
			at := []int{i, len(s.in) - i}
			got, err := decodeAll(decoder(s.v, frame.Limits{}), []byte(s.in), func(int) int { n := at[0]; at = at[1:]; return n })
			if fmt.Sprint(got) != fmt.Sprint(s.want) || (err == nil) != (s.err == "") {
				t.Errorf("%s, cut at %d:\n got %q, %v\nwant %q", s.name, i, got, err, s.want)
			}
		}
	}
}

func TestErrorsLast(t *testing.T) {
	d := decoder(frame.V12, frame.Limits{})
	_, err := decodeAll(d, []byte("SEND\nx\n\n\x00"), all)
	_, again := decodeAll(d, []byte("ACK\n\n\x00"), all)
	if err == nil || again != err {
		t.Errorf("got %v, then %v", err, again)
	}
}

func TestLimits(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, test := range []struct {
		name  string
		l     frame.Limits
		in    string
		limit string
		max   int
	}{
		{"command", frame.Limits{Command: 10}, "SEEEEEEEEEND\n", "limits.command", 10},
		{"command without end", frame.Limits{}, long, "limits.command", 64},
		{"header line", frame.Limits{HeaderLine: 100}, "SEND\na:" + long, "limits.header", 100},
		{"headers", frame.Limits{Headers: 3}, "SEND\na:1\nb:2\nc:3\nd:4\n\n\x00", "limits.headers", 3},
		{"announced body", frame.Limits{Body: 100}, "SEND\ncontent-length:101\n", "limits.body", 100},
		{"body without end", frame.Limits{Body: 100}, "SEND\n\n" + long, "limits.body", 100},
		{"frame before login, header", frame.Limits{Frame: 100}, "SEND\na:" + long, "limits.frame_before_login", 100},
		{"frame before login, body", frame.Limits{Frame: 100}, "SEND\n\n" + long, "limits.frame_before_login", 100},
		{"frame before login, announced body", frame.Limits{Frame: 100}, "SEND\ncontent-length:90\n\n", "limits.frame_before_login", 100},
	} {
		for _, next := range []func(int) int{all, one} {
			_, err := decodeAll(decoder(frame.V12, test.l), []byte(test.in), next)
			var le *frame.LimitError
			if !errors.As(err, &le) || le.Limit != test.limit || le.Max != test.max {
				t.Errorf("%s: got %v", test.name, err)
			}
		}
	}
	ok := "SEND\na:" + strings.Repeat("x", 98) + "\r\ncontent-length:100\n\n" + strings.Repeat("y", 100) + "\x00"
	for _, next := range []func(int) int{all, one} {
		if got, err := decodeAll(decoder(frame.V12, frame.Limits{Command: 4, HeaderLine: 100, Headers: 2, Body: 100}), []byte(ok), next); err != nil || len(got) != 1 {
			t.Errorf("just within the limits: %v, %v", got, err)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]bool{
		"SEND\na:b\n\n\x00": true, "SEND\r\na:b\r\n\r\n\x00": true, "SEND\na:b\\n\n\n\x00": false,
		"SEND\na:b:c\n\n\x00": false, "SEND\na\\cb:c\n\n\x00": false,
	} {
		d := decoder(frame.V12, frame.Limits{})
		d.Filled(copy(d.Space(), in))
		var f frame.Frame
		if err := d.Decode(&f); err != nil || f.Plain != want {
			t.Errorf("%q: got %v, %v", in, f.Plain, err)
		}
	}
}
