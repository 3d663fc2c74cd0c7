package loadgen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// natsProtocol speaks core NATS, as far as PUB, SUB and MSG. It is written here rather
// than taken from NATS' client so that both brokers are driven by the very same loop: a
// comparison must not measure two clients.
type natsProtocol struct{ cfg *Config }

func (p *natsProtocol) hello() []byte {
	opt := map[string]any{"verbose": false, "pedantic": false, "lang": "go", "version": "1", "name": "stompserver bench", "headers": false}
	if p.cfg.Login != "" {
		opt["user"], opt["pass"] = p.cfg.Login, p.cfg.Passcode
	}
	text, _ := json.Marshal(opt) // a map of strings and booleans cannot fail
	return []byte("CONNECT " + string(text) + "\r\nPING\r\n")
}

func (p *natsProtocol) bye() []byte         { return nil }
func (p *natsProtocol) confirms() eventKind { return connected }
func (p *natsProtocol) pong() []byte        { return []byte("PONG\r\n") }

// subject spells a STOMP destination as NATS likes it: /queue/a/b is queue.a.b.
func subject(dest string) string {
	return strings.ReplaceAll(strings.Trim(dest, "/"), "/", ".")
}

func (p *natsProtocol) subscribe(dst []byte, n int, dest string) []byte {
	dst = append(dst, "SUB "+subject(dest)...)
	if !p.cfg.Topic {
		dst = append(dst, " bench"...) // the queue group
	}
	return fmt.Appendf(dst, " %d\r\nPING\r\n", n)
}

func (p *natsProtocol) probe(dst []byte, _ int) []byte { return dst }

func (p *natsProtocol) send(dst []byte, dest string, size int) (frame []byte, body, receiptID int) {
	dst = fmt.Appendf(dst, "PUB %s %d\r\n", subject(dest), size)
	body = len(dst)
	for range size {
		dst = append(dst, 'x')
	}
	return append(dst, "\r\n"...), body, 0
}

func (p *natsProtocol) ack(dst []byte, _ *event) []byte { return dst }
func (p *natsProtocol) scanner() scanner                { return natsScanner{} }

type natsScanner struct{}

func (natsScanner) scan(b []byte, ev *event) (int, error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(b, []byte("MSG ")) {
		line := string(bytes.TrimRight(b[:end], "\r"))
		switch word, rest, _ := strings.Cut(line, " "); word {
		case "PONG": // answers the PING behind CONNECT and SUB
			ev.kind = connected
		case "PING":
			ev.kind = ping
		case "-ERR":
			ev.kind, ev.text = refusal, strings.Trim(rest, "'")
		case "INFO", "+OK":
		default:
			return 0, fmt.Errorf("the server sent %q, which is no line of NATS'", line)
		}
		return end + 1, nil
	}
	line := b[:end]
	if line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	size, err := parseLength(line[bytes.LastIndexByte(line, ' ')+1:])
	if err != nil {
		return 0, err
	}
	body := end + 1
	if len(b) < body+min(size, stampLen) {
		return 0, nil
	}
	ev.kind, ev.size = message, size
	ev.body = b[body:min(len(b), body+min(size, stampLen))]
	return body + size + 2, nil
}
