package websocket

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// The cases of the Autobahn test suite, by its chapters, as far as they are about what a server reads.

// ending is what ends the stream b, however it is cut: 0 if nothing does.
func ending(t *testing.T, b []byte) (out string, code int) {
	t.Helper()
	for i, n := range []int{len(b) + 1, 1, 3} {
		r := Reader{Deflate: false, MaxPacked: 1 << 20}
		got, err := drain(&r, b, n)
		c := 0
		if e := AsClose(err); e != nil {
			c = e.Code
		} else if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			out, code = string(got), c
		} else if c != code || code == 0 && string(got) != out {
			t.Errorf("%q in parts of %d: %q, %d; at once %q, %d", b, n, got, c, out, code)
		}
	}
	return out, code
}

func stream(frames ...[]byte) []byte { return bytes.Join(frames, nil) }

func TestReservedBitsAndOpcodes(t *testing.T) { // 3 and 4
	for op := range byte(16) {
		for rsv := range byte(8) {
			b := stream(frameOf(0x81, "first"), frameOf(0x80|rsv<<4|op, ""), frameOf(0x81, "x"))
			out, code := ending(t, b)
			want := CloseProtocol
			if rsv == 0 && (op == opText || op == opBinary || op == opPing || op == opPong) {
				want = 0
			} else if rsv == 0 && op == opClose {
				want = CloseNoStatus
			}
			if code != want || !strings.HasPrefix(out, "first") {
				t.Errorf("opcode %d, reserved bits %d: %q, %d, want %d", op, rsv, out, code, want)
			}
		}
	}
}

func TestFragments(t *testing.T) { // 2 and 5
	text, cont, last, ping := byte(0x01), byte(0x00), byte(0x80), byte(0x89)
	for _, test := range []struct {
		name   string
		frames [][]byte
		out    string
		code   int
	}{
		{"two parts", [][]byte{frameOf(text, "a"), frameOf(last, "b")}, "ab", 0},
		{"empty parts", [][]byte{frameOf(text, ""), frameOf(cont, ""), frameOf(last, "")}, "", 0},
		{"an empty part in between", [][]byte{frameOf(text, "a"), frameOf(cont, ""), frameOf(last, "b")}, "ab", 0},
		{"a ping between parts", [][]byte{frameOf(text, "a"), frameOf(ping, "p"), frameOf(last, "b")}, "ab", 0},
		{"a pong between parts", [][]byte{frameOf(text, "a"), frameOf(0x8a, "p"), frameOf(last, "b")}, "ab", 0},
		{"many parts with pings", [][]byte{frameOf(text, "a"), frameOf(cont, "b"), frameOf(ping, "1"), frameOf(cont, "c"), frameOf(cont, "d"), frameOf(ping, "2"), frameOf(last, "e")}, "abcde", 0},
		{"a ping in parts", [][]byte{frameOf(0x09, "p"), frameOf(last, "q")}, "", CloseProtocol},
		{"a pong in parts", [][]byte{frameOf(0x0a, "p"), frameOf(last, "q")}, "", CloseProtocol},
		{"a close in parts", [][]byte{frameOf(0x08, ""), frameOf(last, "")}, "", CloseProtocol},
		{"a continuation first", [][]byte{frameOf(last, "a")}, "", CloseProtocol},
		{"a continuation first that goes on", [][]byte{frameOf(cont, "a"), frameOf(last, "b")}, "", CloseProtocol},
		{"a continuation after the end", [][]byte{frameOf(text, "a"), frameOf(last, "b"), frameOf(last, "c")}, "ab", CloseProtocol},
		{"a message within a message", [][]byte{frameOf(text, "a"), frameOf(0x81, "b")}, "a", CloseProtocol},
		{"a message in parts within a message", [][]byte{frameOf(text, "a"), frameOf(0x02, "b")}, "a", CloseProtocol},
		{"a ping of 125 bytes", [][]byte{frameOf(ping, strings.Repeat("p", 125)), frameOf(0x81, "x")}, "x", 0},
		{"a ping of 126 bytes", [][]byte{{0x89, 0xfe, 0, 126, 0, 0, 0, 0}}, "", CloseProtocol},
		{"a ping with bytes that are no text", [][]byte{frameOf(ping, "\x00\xff\xfe"), frameOf(0x81, "x")}, "x", 0},
		{"ten pings", [][]byte{bytes.Repeat(frameOf(ping, "p"), 10), frameOf(0x81, "x")}, "x", 0},
		{"data behind a close", [][]byte{frameOf(0x88, "\x03\xe8"), frameOf(0x81, "x")}, "", CloseNormal},
		{"a ping behind a close", [][]byte{frameOf(0x88, "\x03\xe8"), frameOf(ping, "x")}, "", CloseNormal},
		{"a close between parts", [][]byte{frameOf(text, "a"), frameOf(0x88, "\x03\xe8"), frameOf(last, "b")}, "a", CloseNormal},
	} {
		out, code := ending(t, stream(test.frames...))
		if out != test.out && test.code == 0 || code != test.code {
			t.Errorf("%s: %q, %d, want %q, %d", test.name, out, code, test.out, test.code)
		}
	}
}

func TestTexts(t *testing.T) { // 6
	texts := []string{
		"", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\x00", "\u0080", "\u07ff", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\U0001fffe", "\U0010fffe",
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", "\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf", "\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xfb\xbf\xbf\xbf\xbf",
		"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80\xbf\x80\xbf", "\xc0 \xc1 \xc2 ", "\xe0 \xe1 ", "\xf0 \xf1 ", "\xf8 ", "\xfc ", "\xc0", "\xe0\x80", "\xf0\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf",
		"\xfe", "\xff", "\xfe\xfe\xff\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc0\x80", "\xe0\x80\x80",
		"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf",
		"a\xce", "\xce\xba\xe1\xbd", "\xf0\x90\x80",
	}
	for _, text := range texts {
		want := 0
		if !utf8.ValidString(text) {
			want = CloseInvalid
		}
		whole := frameOf(0x81, text)
		var bytewise [][]byte // each byte is a frame
		for i := range len(text) {
			first := byte(0)
			if i == 0 {
				first = 1
			}
			bytewise = append(bytewise, frameOf(first, text[i:i+1]))
		}
		if len(bytewise) > 0 {
			bytewise = append(bytewise, frameOf(0x80, ""))
		}
		for kind, b := range map[string][]byte{"in one": whole, "byte by byte": stream(bytewise...)} {
			if out, code := ending(t, b); code != want || want == 0 && out != text {
				t.Errorf("%q %s: %q, %d, want %d", text, kind, out, code, want)
			}
		}
	}
	// What cannot become a text is found before the message ends.
	for _, text := range []string{"\xf4\x90", "\xed\xa0", "\xce\xba\x80", "\xff"} {
		if _, code := ending(t, frameOf(0x01, text)); code != CloseInvalid {
			t.Errorf("%q at the beginning of a message: %d", text, code)
		}
	}
}

func TestCloses(t *testing.T) { // 7
	for code := range 5100 {
		valid := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
		_, got := ending(t, frameOf(0x88, string([]byte{byte(code >> 8), byte(code)})+"why"))
		want := code
		if !valid {
			want = CloseProtocol
		}
		if got != want && code != 1012 && code != 1013 && code != 1014 { // which were registered later
			t.Errorf("close %d: %d, want %d", code, got, want)
		}
	}
	for payload, want := range map[string]int{
		"": CloseNoStatus, "\x03": CloseProtocol, "\x03\xe8": 1000, "\x03\xe8" + strings.Repeat("x", 123): 1000,
		"\x03\xe8\xce\xba\xe1\xbd\xb9": 1000, "\x03\xe8\xce\xba\xe1": CloseInvalid, "\x03\xe8\xed\xa0\x80": CloseInvalid, "\xff\xff": CloseProtocol,
	} {
		if _, got := ending(t, frameOf(0x88, payload)); got != want {
			t.Errorf("close with %q: %d, want %d", payload, got, want)
		}
	}
	if _, got := ending(t, append([]byte{0x88, 0xfe, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...)); got != CloseProtocol {
		t.Errorf("a close of 126 bytes: %d", got)
	}
}

func TestCompressedSizes(t *testing.T) { // 12 and 13
	for _, n := range []int{1, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072} {
		for _, part := range []int{0, 1, 256, 4096} {
			text := strings.Repeat("Lorem ipsum dolor sit amet, κόσμε. ", n/30+1)[:n]
			text = strings.ToValidUTF8(text, "")
			packed := AppendPacked(nil, HeadOf(framed(text)), framed(text))
			h := HeadOf(packed)
			zipped := packed[0]&rsv1Bit != 0
			body := string(packed[h.Size : h.Size+h.Payload])
			var b []byte
			first := byte(opText)
			if zipped {
				first |= rsv1Bit
			}
			step := part
			if step == 0 || step > 125 {
				step = 125 // what frameOf has room for
			}
			for len(body) > step {
				b = append(b, frameOf(first, body[:step])...)
				body, first = body[step:], 0
			}
			b = append(b, frameOf(first|finBit, body)...)
			r := Reader{Deflate: true, MaxPacked: 1 << 20}
			out, err := drain(&r, b, max(part, 1))
			if err != nil || string(out) != text {
				t.Errorf("%d bytes in parts of %d: %d bytes, %v", n, part, len(out), err)
			}
		}
	}
}

// framed is a text as the server frames it.
func framed(text string) []byte {
	f := Framer{Text: true}
	b := f.Begin(nil)
	b = append(b, text...)
	return f.End(b, 0, nil)
}
