package psych_test

import (
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
