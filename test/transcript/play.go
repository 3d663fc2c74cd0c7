package transcript

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Play plays a script with a server at addr. Lines "A> ..." are sent by client A, made with
// its first line; a frame ends with "^@". Lines "A< ..." are command and headers of a frame
// that A must get, as Peer.Expect has them, "A= ..." its body, and "A<" alone its end. "A!
// closed" is the end of its stream, "A! nothing" that no frame is on its way to it, and "A!
// leave" that it cuts its connection. {x} in an expected value keeps it under that name, {x}
// in a line that is sent puts it in; {now} is the time in milliseconds since 1970, {now+5}
// five later.
//
// Three forms of a line say a whole frame: words are header fields, name:value or
// name:"value with blanks", the first of them without a colon is the destination, and the
// body follows after " = ". "A: SEND /queue/a priority:9 = hello" sends it and waits for its
// RECEIPT, "A~ ..." does not ask for one, "A? MESSAGE redelivered:true = hello" is what A must
// get. CONNECT is answered by CONNECTED and asks for 1.2. Lines "A& ..." that follow each other
// are frames that A must get in any order: what two subscriptions bring has none.
//
// A line "!! word" calls do with the word. If it returns an address all clients are made anew
// then, there.
func Play(t *testing.T, addr, script string, do func(word string) (addr string)) {
	peers := map[string]*Peer{}
	vars := map[string]string{}
	receipts := 0
	fill := func(l string) string {
		for k, v := range vars {
			l = strings.ReplaceAll(l, "{"+k+"}", v)
		}
		return fillTime(l)
	}
	// match compares a frame with what is expected. The values to be kept count once all is as it must be.
	match := func(got Reply, text string) (diff string) {
		kept := map[string]string{}
		var lines []string
		for _, l := range strings.Split(text, "\n") {
			name, value, _ := strings.Cut(l, ":")
			if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
				key := strings.Trim(value, "{}")
				v, ok := vars[key]
				if !ok {
					v, ok = kept[key]
				}
				if !ok {
					v, _ = got.Get(name)
					kept[key] = v
				}
				l = name + ":" + v
			}
			lines = append(lines, fill(l))
		}
		if diff = Match(got, strings.Join(lines, "\n")); diff == "" {
			maps.Copy(vars, kept)
		}
		return diff
	}
	expect := func(n int, p *Peer, text string) {
		t.Helper()
		got, err := p.Read()
		if err != nil {
			t.Fatalf("line %d: want %q, got error: %v", n+1, text, err)
		}
		if diff := match(got, text); diff != "" {
			t.Fatalf("line %d: %s\n got %q %q %q\nwant %q", n+1, diff, got.Command, got.Header, got.Body, text)
		}
	}
	// expectAll expects frames in any order: each is the first of those that it can be.
	expectAll := func(n int, p *Peer, texts []string) {
		t.Helper()
		for len(texts) > 0 {
			got, err := p.Read()
			if err != nil {
				t.Fatalf("line %d: want %q, got error: %v", n+1, texts, err)
			}
			i := slices.IndexFunc(texts, func(text string) bool { return match(got, text) == "" })
			if i < 0 {
				t.Fatalf("line %d: none of those\n got %q %q %q\nwant %q", n+1, got.Command, got.Header, got.Body, texts)
			}
			texts = slices.Delete(texts, i, i+1)
		}
	}
	var anyOrder []string // of the lines A& that go on
	var out, want strings.Builder
	all := strings.Split(script, "\n")
	for n, line := range all {
		if line == "" || line[0] == '#' {
			continue
		}
		if len(line) < 2 {
			t.Fatalf("line %d: %q", n+1, line)
		}
		if word, ok := strings.CutPrefix(line, "!! "); ok {
			if do == nil {
				t.Fatalf("line %d: %q is not possible here", n+1, line)
			}
			if at := do(word); at != "" {
				addr = at
				clear(peers)
			}
			continue
		}
		who, op := line[:1], line[1]
		rest := strings.TrimPrefix(line[2:], " ")
		p := peers[who]
		if p == nil {
			p = Dial(t, addr)
			peers[who] = p
		}
		switch op {
		case ':', '~':
			f, err := parseFrame(fill(rest))
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			if f.command == "CONNECT" && op == ':' {
				p.Connect("1.2", f.lines...)
				continue
			}
			id := ""
			if op == ':' {
				receipts++
				id = "script-" + strconv.Itoa(receipts)
				f.lines = append(f.lines, "receipt:"+id)
			}
			p.Send(f.wire())
			if id != "" {
				if err := p.awaitReceipt(id); err != nil {
					t.Fatalf("line %d: %v", n+1, err)
				}
			}
			if f.command == "DISCONNECT" {
				if id != "" { // it has left, for others too, once the stream has ended
					if f, err := p.next(); err != io.EOF {
						t.Fatalf("line %d: want the end of the stream, got %v, %v", n+1, f, err)
					}
				}
				_ = p.Conn.Close()
				delete(peers, who) // the next line of that name is another client
			}
		case '?':
			f, err := parseFrame(rest)
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			expect(n, p, f.want())
		case '&':
			f, err := parseFrame(rest)
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			anyOrder = append(anyOrder, f.want())
			if n+1 == len(all) || !strings.HasPrefix(all[n+1], who+"&") {
				expectAll(n, p, anyOrder)
				anyOrder = nil
			}
		case '>':
			out.WriteString(fill(rest))
			if !strings.Contains(rest, "^@") {
				out.WriteString("\n")
				continue
			}
			p.Send(out.String())
			out.Reset()
		case '=':
			want.WriteString("\n" + rest)
		case '<':
			if rest != "" || !strings.HasSuffix(line, "<") {
				want.WriteString(rest + "\n")
				continue
			}
			text := want.String()
			want.Reset()
			expect(n, p, text)
		case '!':
			switch rest {
			case "closed":
				if f, err := p.Read(); err != io.EOF {
					t.Fatalf("line %d: want the end of the stream, got %v, %v", n+1, f, err)
				}
				_ = p.Conn.Close()
				delete(peers, who) // the next line of that name is another client
			case "nothing":
				p.Send(nothing)
				expect(n, p, "RECEIPT\nreceipt-id:nothing\n")
			case "leave":
				_ = p.Conn.Close()
				delete(peers, who)
			default:
				t.Fatalf("line %d: %q", n+1, line)
			}
		default:
			t.Fatalf("line %d: %q", n+1, line)
		}
	}
}

var times = regexp.MustCompile(`\{now([+-][0-9]+)?\}`)

// fillTime puts the time in.
func fillTime(l string) string {
	return times.ReplaceAllStringFunc(l, func(s string) string {
		n, _ := strconv.ParseInt(strings.TrimPrefix(times.FindStringSubmatch(s)[1], "+"), 10, 64)
		return strconv.FormatInt(time.Now().UnixMilli()+n, 10)
	})
}
