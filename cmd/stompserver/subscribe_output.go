package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"stompserver/internal/client"
)

// messagePrinter prints messages to standard output.
type messagePrinter struct {
	g       *globals
	screen  bool // a terminal, which must not be given control characters
	raw     bool
	headers bool
}

func newMessagePrinter(g *globals) *messagePrinter {
	return &messagePrinter{g: g, screen: isTerminal(g.Stdout)}
}

// A messageJSON is a message as --json prints it, with the names of the API.
type messageJSON struct {
	ID          string            `json:"id"`
	Destination string            `json:"destination"`
	Received    string            `json:"received"`
	Size        int               `json:"size"`
	ContentType string            `json:"content_type"`
	Headers     map[string]string `json:"headers"`
	Body        string            `json:"body"`
	Encoding    string            `json:"encoding"` // of body: utf-8 or base64
}

// facts are headers that have a place of their own.
var facts = map[string]bool{"destination": true, "content-length": true, "content-type": true, "subscription": true, "ack": true, "message-id": true}

func (p *messagePrinter) print(_ context.Context, m *client.Message, n int, at time.Time) error {
	var b []byte
	switch {
	case p.g.JSON:
		text, err := json.Marshal(toJSON(m, at))
		if err != nil {
			return err
		}
		b = append(text, '\n')
	case p.raw:
		b = m.Body
	default:
		if p.headers {
			b = append(p.clean(headLine(m, n, at)), '\n')
		}
		b = append(b, p.clean(m.Body)...)
		if len(b) == 0 || b[len(b)-1] != '\n' {
			b = append(b, '\n')
		}
	}
	_, err := p.g.Stdout.Write(b)
	return err
}

// headLine is "#1 /queue/orders 12:03:44.120 8 B application/json  message-id:q1-1 …".
func headLine(m *client.Message, n int, at time.Time) []byte {
	b := fmt.Appendf(nil, "#%d %s %s %d B", n, m.Destination(), at.Format("15:04:05.000"), len(m.Body))
	if t := m.Header.Value("content-type"); t != "" {
		b = append(b, " "+t...)
	}
	if id := m.ID(); id != "" {
		b = append(b, "  message-id:"+id...)
	}
	for _, h := range m.Header {
		if name := string(h.Name); !facts[name] && (name != "redelivered" || string(h.Value) != "false") {
			b = fmt.Appendf(b, "  %s:%s", h.Name, h.Value)
		}
	}
	return b
}

func toJSON(m *client.Message, at time.Time) messageJSON {
	j := messageJSON{
		ID: m.ID(), Destination: m.Destination(), Received: at.Format("2006-01-02T15:04:05.000Z07:00"),
		Size: len(m.Body), ContentType: m.Header.Value("content-type"), Headers: map[string]string{},
		Body: string(m.Body), Encoding: "utf-8",
	}
	for _, h := range m.Header {
		if name := string(h.Name); !facts[name] {
			if _, ok := j.Headers[name]; !ok { // the first of equal names counts
				j.Headers[name] = string(h.Value)
			}
		}
	}
	if !utf8.Valid(m.Body) {
		j.Body, j.Encoding = base64.StdEncoding.EncodeToString(m.Body), "base64"
	}
	return j
}

// clean makes b harmless for a terminal: a message must not be able to rename the window
// or to overwrite what was printed.
func (p *messagePrinter) clean(b []byte) []byte {
	if !p.screen {
		return b
	}
	var out []byte
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, b[0])
		case r == '\n' || r == '\t' || !unicode.IsControl(r):
			out = append(out, b[:n]...)
		default:
			out = fmt.Appendf(out, `\x%02x`, r)
		}
		b = b[n:]
	}
	return out
}

// A dumper writes each message to two files, NNNNNN.headers and NNNNNN.body, and prints
// the name of the latter.
type dumper struct {
	g    *globals
	dir  string
	next int
}

func newDumper(g *globals, dir string) (*dumper, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, ioError("--dump", err)
	}
	return &dumper{g: g, dir: dir, next: 1}, nil
}

func (d *dumper) print(_ context.Context, m *client.Message, _ int, _ time.Time) error {
	var head bytes.Buffer
	for _, h := range m.Header {
		// On disk as on the wire of 1.2, so that each is one line.
		value := strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`).Replace(string(h.Value))
		fmt.Fprintf(&head, "%s:%s\n", h.Name, value)
	}
	// Files of an earlier run are kept.
	for ; ; d.next++ {
		name := filepath.Join(d.dir, fmt.Sprintf("%06d", d.next))
		err := writeNew(name+".body", m.Body)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(name+".headers", head.Bytes(), 0o666)
		}
		d.next++
		if err != nil {
			return err
		}
		switch {
		case d.g.Quiet:
		default:
			_, err = fmt.Fprintln(d.g.Stdout, name+".body")
		}
		return err
	}
}

// writeNew writes a file that must not exist.
func writeNew(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// A runner runs a command for each message. It finds the body on its standard input, and
// the headers in variables: STOMP_HEADER_DESTINATION, STOMP_HEADER_MESSAGE_ID, …
// The prefix is not STOMP_ alone: a header called host would be STOMP_HOST, which says
// where a stompserver in that command connects to.
type runner struct {
	g       *globals
	command string
}

func (r *runner) print(ctx context.Context, m *client.Message, _ int, _ time.Time) error {
	shell := []string{"sh", "-c"}
	if os.PathSeparator == '\\' {
		shell = []string{"cmd", "/c"}
	}
	cmd := exec.CommandContext(ctx, shell[0], shell[1], r.command)
	cmd.Stdin = bytes.NewReader(m.Body)
	cmd.Stdout, cmd.Stderr = r.g.Stdout, r.g.Stderr
	cmd.Env = append(os.Environ(), headerEnv(m)...)
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: the command ended with %v", errRefuse, exit)
	}
	return err
}

// headerEnv spells headers as variables. Only names of letters, digits, - . and _ can be
// told apart there; values end at a NUL.
func headerEnv(m *client.Message) []string {
	var env []string
	seen := map[string]bool{}
	for _, h := range m.Header {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == '-' || r == '.' || r == '_':
				return '_'
			case r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)):
				return unicode.ToUpper(r)
			}
			return -1
		}, string(h.Name))
		value, _, _ := strings.Cut(string(h.Value), "\x00")
		if name != "" && !seen[name] {
			seen[name] = true
			env = append(env, "STOMP_HEADER_"+name+"="+value)
		}
	}
	return env
}
