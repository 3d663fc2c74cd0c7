package transcript

import (
	"regexp"
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
// get. CONNECT is answered by CONNECTED and asks for 1.2.
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
	expect := func(n int, p *Peer, text string) {
		t.Helper()
		got, err := p.Read()
		if err != nil {
			t.Fatalf("line %d: want %q, got error: %v", n+1, text, err)
		}
		var lines []string
		for _, l := range strings.Split(text, "\n") {
			name, value, _ := strings.Cut(l, ":")
			if strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}") {
				key := strings.Trim(value, "{}")
				if _, ok := vars[key]; !ok {
					vars[key], _ = got.Get(name)
					l = name + ":*"
				}
			}
			lines = append(lines, fill(l))
		}
		if diff := Match(got, strings.Join(lines, "\n")); diff != "" {
			t.Fatalf("line %d: %s\n got %q %q %q\nwant %q", n+1, diff, got.Command, got.Header, got.Body, text)
		}
	}
	var out, want strings.Builder
	for n, line := range strings.Split(script, "\n") {
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
				_ = p.Conn.Close()
				delete(peers, who) // the next line of that name is another client
			}
		case '?':
			f, err := parseFrame(rest)
			if err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
			expect(n, p, f.want())
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
				p.Closed()
				delete(peers, who) // the next line of that name is another client
			case "nothing":
				p.Nothing()
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
