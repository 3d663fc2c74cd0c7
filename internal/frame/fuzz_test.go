package frame_test

import (
	"fmt"
	"strings"
	"testing"

	"stompserver/internal/frame"
)

// FuzzSplit checks that how the bytes are cut changes nothing, and that memory stays below
// the limits whatever they are.
func FuzzSplit(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s.in), uint8(s.v), uint32(3))
	}
	l := frame.Limits{Command: 20, HeaderLine: 60, Headers: 5, Body: 200}
	// What the limits let be: 827 bytes, in memory of a power of two.
	const most = 1024
	f.Fuzz(func(t *testing.T, in []byte, v uint8, seed uint32) {
		version := frame.Version(v % 3)
		l := l
		if v >= 128 {
			l.Frame = 150 // as before a login
		}
		want, wantErr := decodeAll(decoder(version, l), in, all)
		d := decoder(version, l)
		scale := seed%6 + 1 // pieces of up to 2 to 64 bytes
		got, err := decodeAll(d, in, func(int) int {
			d.Idle()
			if d.Held() > most {
				t.Fatalf("holds %d", d.Held())
			}
			seed = seed*1664525 + 1013904223
			return int(seed>>8)%(1<<scale) + 1
		})
		if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("in pieces:\n got %q, %v\nwant %q, %v", got, err, want, wantErr)
		}
	})
}

// FuzzRoundTrip checks decode(encode(x)) == x.
func FuzzRoundTrip(f *testing.F) {
	f.Add("destination", "/queue/a", "body", uint8(2))
	f.Add("a:b", "\\\n\r:", "\x00\x00", uint8(1))
	f.Fuzz(func(t *testing.T, name, value, body string, v uint8) {
		version := frame.Version(v % 3)
		if strings.ContainsRune(name+value, 0) || name == "" || name == "content-length" {
			return
		}
		in := &frame.Frame{Command: frame.Send, Body: []byte(body)}
		in.Header.Add(name, value)
		switch version {
		case frame.V11:
			name, value = strings.ReplaceAll(name, "\r", ""), strings.ReplaceAll(value, "\r", "")
		case frame.V10: // trims, and has no way to say a colon in a name or an end of line
			if strings.ContainsAny(name+value, "\r\n") || strings.Contains(name, ":") {
				return
			}
			name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		}
		if name == "" || name == "content-length" {
			return
		}
		got, err := decodeAll(decoder(version, frame.Limits{}), frame.Append(nil, version, in), all)
		want := &frame.Frame{Command: frame.Send, Body: []byte(body)}
		want.Header.Add(name, value)
		if body != "" {
			want.Header.Add("content-length", fmt.Sprint(len(body)))
		}
		if err != nil || len(got) != 1 || got[0] != spell(want) {
			t.Fatalf("%v:\n got %q, %v\nwant %q", version, got, err, spell(want))
		}
	})
}
