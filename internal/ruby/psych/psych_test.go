package psych_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"stompserver/internal/ruby/psych"
)

func frame(body string, headers ...string) *psych.Frame {
	f := &psych.Frame{Command: "MESSAGE", Body: body}
	for i := 0; i+1 < len(headers); i += 2 {
		f.Headers = append(f.Headers, [2]string{headers[i], headers[i+1]})
	}
	return f
}

// TestParse reads what Ruby wrote.
func TestParse(t *testing.T) {
	const head = "--- !ruby/object:StompServer::StompFrame\ncommand: MESSAGE\n"
	for _, tt := range []struct {
		name, text string
		want       *psych.Frame
	}{
		{"plain", head + "headers:\n  destination: \"/queue/test\"\n  x-n: '3'\n  message-id: vm-1795418363-502833-3\nbody: message 3\n",
			frame("message 3", "destination", "/queue/test", "x-n", "3", "message-id", "vm-1795418363-502833-3")},
		{"binary", head + "headers:\n  content-length: '9'\nbody: !binary |-\n  YmluAGFyef8B\n", frame("bin\x00ary\xff\x01", "content-length", "9")},
		{"empty", head + "headers:\n  receipt: re\nbody: ''\n", frame("", "receipt", "re")},
		{"no body", head + "headers:\n  a: b\nbody: \n", frame("", "a", "b")},
		{"blocks", head + "headers:\n  a: b\nbody: |\n  one\n  two\n", frame("one\ntwo\n", "a", "b")},
		{"block without the last line end", head + "headers:\n  a: b\nbody: |-\n  one\n\n  two\n", frame("one\n\ntwo", "a", "b")},
		{"block with more of them", head + "headers:\n  a: b\nbody: |+\n  one\n\n", frame("one\n\n", "a", "b")},
		{"quoted names, words of YAML", head + "headers:\n  \"n\": 'true'\n  'null': '~'\nbody: 'no'\n", frame("no", "n", "true", "null", "~")},
		{"no headers", head + "headers: {}\nbody: x\n", frame("x")},
		{"Ruby 1.8", "--- !ruby/object:StompServer::StompFrame \nbody: !binary |\n  YmluAGFyef8B\n\ncommand: MESSAGE\nheaders: \n  a: !str b\n  n: \"1\"\n", frame("bin\x00ary\xff\x01", "a", "b", "n", "1")},
		{"Ruby 1.8, folded", "--- !ruby/object:StompServer::StompFrame \nbody: >-\n  one\n  two\n\ncommand: MESSAGE\nheaders: \n  a: b\n", frame("one two", "a", "b")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := psych.Parse([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, text := range []string{
		"", "a", "--- {}\n", "command: x\n", "--- !ruby/object:StompServer::StompFrame\ncommand: MESSAGE\n",
		"--- !ruby/object:X\nheaders: a\n", "--- !ruby/object:X\nheaders:\n  a: [b]\n",
		"--- !ruby/object:X\nheaders: {}\nbody: !binary '***'\n", "--- !ruby/object:X\nheaders: {}\n--- x\n",
		"--- !ruby/object:X\nheaders:\n  a: 'b\n",
	} {
		if f, err := psych.Parse([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, f)
		}
	}
}

// frames are hard to spell.
var frames = []*psych.Frame{
	frame("message", "destination", "/queue/a", "n", "1", "y", "yes", "null", "~", "0x1", "1e3"),
	frame("\x00\xff", "bin\xff", "\xe9"),
	frame("a\nb\n\n", "q", `"\`+"'", "lead", " x ", "colon", "a: b", "hash", "a #b", "tab", "a\tb", "cr", "a\r\nb"),
	frame("grüß \u2028\u2029\ufeff\u0085\u00a0😀", "", "", "#", "- a", "!x", "&a *b", "%", "@`"),
	frame("", strings.Repeat("long", 600), strings.Repeat("x", 5000)),
	frame("\x01\x1f\x7f"),
	frame(""),
}

func TestRoundTrip(t *testing.T) {
	for _, f := range frames {
		text := psych.Append(nil, f)
		got, err := psych.Parse(text)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		if diff := cmp.Diff(f, got); diff != "" {
			t.Errorf("%s\n-want +got\n%s", text, diff)
		}
	}
	twice := psych.Append(nil, frame("", "a", "1", "a", "2"))
	if got, err := psych.Parse(twice); err != nil || len(got.Headers) != 1 || got.Headers[0][1] != "1" {
		t.Errorf("a header that is there twice: %+v, %v", got, err)
	}
}

// TestRuby has Ruby read what is written here, and reads what Ruby writes.
func TestRuby(t *testing.T) {
	path, err := exec.LookPath("ruby")
	if err != nil {
		t.Skip("ruby is not installed")
	}
	var out []string
	for _, f := range frames {
		out = append(out, string(psych.Append(nil, f)))
	}
	in, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "testdata/frames.rb")
	cmd.Stdin = strings.NewReader(string(in))
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var back []struct {
		Command string
		Headers [][2][]byte
		Body    []byte
		YAML    string
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i, f := range frames {
		ruby := &psych.Frame{Command: back[i].Command, Body: string(back[i].Body)}
		for _, h := range back[i].Headers {
			ruby.Headers = append(ruby.Headers, [2]string{string(h[0]), string(h[1])})
		}
		if diff := cmp.Diff(f, ruby); diff != "" {
			t.Errorf("Ruby reads of\n%s\n-want +got\n%s", out[i], diff)
		}
		again, err := psych.Parse([]byte(back[i].YAML))
		if err != nil {
			t.Errorf("%v: of Ruby's\n%s", err, back[i].YAML)
			continue
		}
		if diff := cmp.Diff(f, again); diff != "" {
			t.Errorf("of Ruby's\n%s\n-want +got\n%s", back[i].YAML, diff)
		}
	}
}

// TestPlain has a byte that may need an escape in every place of what is looked at eight bytes at a time.
func TestPlain(t *testing.T) {
	for c := range rune(0x100) {
		for _, special := range []string{string(c), string([]byte{byte(c)})} {
			for at := range 18 {
				body := strings.Repeat("~", at) + special + strings.Repeat(" ", 17-at)
				want := psych.Frame{Command: "MESSAGE", Body: body}
				doc := psych.Document(&want)
				if plain := strings.Contains(string(doc), "\nbody: \""+body+"\"\n"); plain != (c >= ' ' && c < 0x7f && c != '"' && c != '\\' || c >= 0xa0 && len(special) == 2) {
					t.Errorf("%q is written as\n%s", body, doc)
				}
				got, err := psych.General(doc)
				if err != nil {
					t.Fatalf("%q: %v", body, err)
				}
				if got.Body != body {
					t.Errorf("%q is written as\n%s", body, doc)
				}
			}
		}
	}
}

// FuzzParse: whatever is read can be written, and read again.
func FuzzParse(f *testing.F) {
	for _, fr := range frames {
		f.Add(psych.Append(nil, fr))
	}
	f.Add([]byte("--- !ruby/object:StompServer::StompFrame \nbody: !binary |\n  YmluAGFyef8B\n\ncommand: MESSAGE\nheaders: \n  a: !str b\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fr, err := psych.Parse(text)
		if err != nil {
			return
		}
		again, err := psych.Parse(psych.Append(nil, fr))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		want := *fr
		want.Headers = nil
		for _, h := range fr.Headers {
			if !seen[h[0]] {
				want.Headers = append(want.Headers, h)
			}
			seen[h[0]] = true
		}
		if diff := cmp.Diff(&want, again); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

// TestQuick: what is written here takes the short cut, but for keys that are very long.
// quick takes the short cut, or does not.
func quick(text string) (*psych.Frame, bool) {
	f, body, ok := psych.Quick(text, 0)
	if !ok {
		return nil, false
	}
	f.Body = string(body)
	return f, true
}

func TestQuick(t *testing.T) {
	for _, f := range frames {
		text := string(psych.Append(nil, f))
		got, ok := quick(text)
		if want := !strings.Contains(text, "\n  ? "); ok != want {
			t.Errorf("%.200s\ntakes the short cut: %v, want %v", text, ok, want)
		} else if ok {
			if diff := cmp.Diff(f, got); diff != "" {
				t.Errorf("%s\n-want +got\n%s", text, diff)
			}
		}
	}
	const ruby = "--- !ruby/object:StompServer::StompFrame\ncommand: MESSAGE\nheaders:\n  a: b\nbody: c\n"
	if f, ok := quick(ruby); ok {
		t.Errorf("what Ruby writes takes the short cut: %+v", f)
	}
}

// FuzzQuick: what the short cut reads is what YAML says.
func FuzzQuick(f *testing.F) {
	for _, fr := range frames {
		f.Add(string(psych.Append(nil, fr)))
	}
	f.Add("--- !ruby/object:StompServer::StompFrame\ncommand: \"\\x0a\"\nheaders:\n  \"<<\": \"\\u0085\"\n  \"<<\": !binary \" YQ==\"\nbody: \"\\\\\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := quick(text)
		parsed, err := psych.Parse([]byte(text))
		owned, body, ownedErr := psych.ParseOwned([]byte(text), 2)
		if (err == nil) != (ownedErr == nil) {
			t.Fatalf("%v, and owned %v", err, ownedErr)
		}
		if err == nil {
			owned.Body = string(body)
			if diff := cmp.Diff(parsed, owned); diff != "" {
				t.Fatalf("owned\n-want +got\n%s", diff)
			}
		}
		if !ok {
			return
		}
		want, err := psych.General([]byte(text))
		if err != nil {
			t.Fatalf("%+v by the short cut, and %v", got, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
	})
}

// FuzzAppend: what is written is read back as it was, either way.
// TestParseBody: a body has the room that is asked for.
func TestParseBody(t *testing.T) {
	for _, body := range []string{"", "plain", "\"escaped\"\n\u2028", "\x00\xff", "\xffbinary"} {
		for name, text := range map[string][]byte{
			"ours":   psych.Append(nil, frame(body, "a", "b")),
			"Ruby's": []byte("--- !ruby/object:StompServer::StompFrame\nheaders:\n  a: b\nbody: !binary |\n  " + base64.StdEncoding.EncodeToString([]byte(body)) + "\n"),
		} {
			for as, parse := range map[string]func([]byte, int) (*psych.Frame, []byte, error){"kept": psych.ParseBody, "owned": psych.ParseOwned} {
				for _, room := range []int{2, 7} {
					f, got, err := parse(bytes.Clone(text), room)
					if err != nil || string(got) != body || f.Body != "" || len(f.Headers) != 1 {
						t.Errorf("%s, %s, %q: %q, %+v, %v", name, as, body, got, f, err)
					}
					if cap(got) < len(got)+room {
						t.Errorf("%s, %s, %q: %d bytes have a capacity of %d", name, as, body, len(got), cap(got))
					}
				}
			}
		}
	}
}

func FuzzAppend(f *testing.F) {
	f.Add("MESSAGE", "name", "value", "body")
	f.Add("\x00", "a: b", "\xff", "\u2028\n\"")
	f.Add("", "", "", strings.Repeat("\"1234ä😀\u2028", 10_000))
	f.Add("", "", "", strings.Repeat("\xff\n\"", 50_000))
	f.Fuzz(func(t *testing.T, command, name, value, body string) {
		want := &psych.Frame{Command: command, Headers: [][2]string{{"destination", "/queue/a"}}, Body: body}
		if name != "destination" {
			want.Headers = append(want.Headers, [2]string{name, value})
		}
		text := psych.Append(nil, want)
		if n := psych.Size(want); n != len(text) {
			t.Fatalf("Size is %d, and it has %d", n, len(text))
		}
		var pieces []byte
		psych.Pieces(want, func(piece []byte) bool {
			pieces = append(pieces, piece...)
			return true
		})
		if !bytes.Equal(pieces, text) {
			t.Fatalf("in pieces: %s, want %s", pieces, text)
		}
		general, err := psych.General(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		got, err := psych.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		owned, in, err := psych.ParseOwned(bytes.Clone(text), 2)
		if err != nil || cap(in) < len(in)+2 {
			t.Fatalf("owned: %v, %d bytes have a capacity of %d", err, len(in), cap(in))
		}
		owned.Body = string(in)
		for _, g := range []*psych.Frame{general, got, owned} {
			if diff := cmp.Diff(want, g); diff != "" {
				t.Fatalf("%s\n-want +got\n%s", text, diff)
			}
		}
	})
}

func benchFrame() *psych.Frame {
	return frame(strings.Repeat("0123456789abcdef", 64), "destination", "/queue/a", "content-length", "1024", "timestamp", "1795418363502", "content-type", "text/plain", "message-id", "vm-1795418363-502833-3")
}

func BenchmarkAppend(b *testing.B) {
	f := benchFrame()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = psych.Append(buf[:0], f)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkParse(b *testing.B) {
	doc := psych.Append(nil, benchFrame())
	for name, parse := range map[string]func([]byte) (*psych.Frame, error){"quick": psych.Parse, "general": psych.General} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				if _, err := parse(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
