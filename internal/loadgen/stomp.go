package loadgen

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// stompProtocol speaks STOMP 1.0 to 1.2 with prebuilt frames.
type stompProtocol struct {
	cfg     *Config
	headers string // of every SEND, ready for the wire
	acks    bool
}

func (p *stompProtocol) hello() []byte {
	c := p.cfg
	var b strings.Builder
	b.WriteString("CONNECT\n")
	if c.Version != "1.0" {
		fmt.Fprintf(&b, "accept-version:%s\nhost:%s\nheart-beat:0,0\n", c.Version, c.vhost)
	}
	if c.Login != "" || c.Passcode != "" {
		fmt.Fprintf(&b, "login:%s\npasscode:%s\n", c.Login, c.Passcode)
	}
	b.WriteString("\n\x00")
	return []byte(b.String())
}

func (p *stompProtocol) bye() []byte         { return []byte("DISCONNECT\nreceipt:bye\n\n\x00") }
func (p *stompProtocol) confirms() eventKind { return receipt }
func (p *stompProtocol) pong() []byte        { return nil }

func (p *stompProtocol) subscribe(dst []byte, n int, dest string) []byte {
	dst = fmt.Appendf(dst, "SUBSCRIBE\nid:%d\ndestination:%s\nack:%s\nreceipt:sub-%d\n", n, dest, p.cfg.Ack, n)
	if p.cfg.Prefetch > 0 {
		dst = fmt.Appendf(dst, "prefetch-count:%d\nactivemq.prefetchSize:%d\n", p.cfg.Prefetch, p.cfg.Prefetch)
	}
	return append(dst, "\n\x00"...)
}

// probe makes use of an empty transaction: go-stomp's server gives no receipt for
// SUBSCRIBE, but for this, and all brokers take the frames of a connection in turn.
func (p *stompProtocol) probe(dst []byte, n int) []byte {
	return fmt.Appendf(dst, "BEGIN\ntransaction:sub-%d\nreceipt:sub-%d\n\n\x00ABORT\ntransaction:sub-%d\n\n\x00", n, n, n)
}

func (p *stompProtocol) send(dst []byte, dest string, size int) (frame []byte, body, receiptID int) {
	dst = fmt.Appendf(dst, "SEND\ndestination:%s\ncontent-length:%d\n%s", dest, size, p.headers)
	if p.cfg.Receipts {
		dst = append(dst, "receipt:"...)
		receiptID = len(dst)
		dst = append(dst, "00000000\n"...)
	}
	dst = append(dst, '\n')
	body = len(dst)
	for range size {
		dst = append(dst, 'x')
	}
	return append(dst, 0), body, receiptID
}

func (p *stompProtocol) ack(dst []byte, ev *event) []byte {
	dst = append(dst, "ACK\n"...)
	if p.cfg.Version == "1.2" {
		dst = append(dst, "id:"...)
		dst = append(dst, ev.ack...)
	} else {
		dst = append(dst, "message-id:"...)
		dst = append(dst, ev.ack...)
		if p.cfg.Version == "1.1" {
			dst = append(dst, "\nsubscription:"...)
			dst = strconv.AppendInt(dst, int64(ev.dest), 10)
		}
	}
	return append(dst, "\n\n\x00"...)
}

func (p *stompProtocol) scanner() scanner {
	s := &stompScanner{}
	if p.acks {
		s.ackName = []byte("\nmessage-id:")
		if p.cfg.Version == "1.2" {
			s.ackName = []byte("\nack:")
		}
		s.subscription = p.cfg.Version == "1.1"
	}
	return s
}

// stompScanner finds frames by their content-length. It looks only for the headers it
// needs, and first where they stood in the frame before.
type stompScanner struct {
	ackName      []byte // nil: acks are of no interest
	subscription bool
	lengthAt     int
	ackAt        int
}

var (
	commandMessage = []byte("MESSAGE")
	headEnd        = []byte("\n\n")
	headEndCR      = []byte("\n\r\n")
	contentLength  = []byte("\ncontent-length:")
	redelivered    = []byte("\nredelivered:true\n")
	receiptIDName  = []byte("\nreceipt-id:")
	subscription   = []byte("\nsubscription:")
)

func (s *stompScanner) scan(b []byte, ev *event) (int, error) {
	if b[0] == '\n' || b[0] == '\r' {
		n := 1
		for n < len(b) && (b[n] == '\n' || b[n] == '\r') {
			n++
		}
		return n, nil
	}
	end := bytes.Index(b, headEnd)
	body := end + len(headEnd)
	if lf := bytes.IndexByte(b, '\n'); lf > 0 && b[lf-1] == '\r' {
		if end = bytes.Index(b, headEndCR); end > 0 {
			body = end + len(headEndCR)
		}
	}
	if end < 0 {
		return 0, nil
	}
	head := b[:end+1]
	var size, length int
	if v, ok := s.header(head, contentLength, &s.lengthAt); ok {
		n, err := parseLength(v)
		if err != nil {
			return 0, err
		}
		size = n
		length = body + size + 1
	} else {
		n := bytes.IndexByte(b[body:], 0)
		if n < 0 {
			return 0, nil
		}
		size = n
		length = body + size + 1
	}
	if bytes.HasPrefix(b, commandMessage) {
		need := body + min(size, stampLen)
		if len(b) < need {
			return 0, nil
		}
		ev.kind, ev.size = message, size
		ev.body = b[body:min(len(b), body+size)]
		if len(ev.body) > stampLen {
			ev.body = ev.body[:stampLen]
		}
		if s.ackName != nil {
			ev.ack, _ = s.header(head, s.ackName, &s.ackAt)
			if s.subscription {
				v, _ := s.header(head, subscription, new(int))
				ev.dest, _ = strconv.Atoi(string(v))
			}
			ev.redelivered = bytes.Contains(head, redelivered)
		}
		return length, nil
	}
	if length > len(b) {
		return 0, nil // these are short, and wanted whole
	}
	switch name, _, _ := strings.Cut(string(b[:end]), "\n"); strings.TrimRight(name, "\r") {
	case "CONNECTED":
		ev.kind = connected
	case "RECEIPT":
		ev.kind = receipt
		ev.receipt, _ = s.header(head, receiptIDName, new(int))
	case "ERROR":
		ev.kind = refusal
		ev.text = errorText(head, b[body:body+size])
	default:
		return 0, fmt.Errorf("the broker sent %q, which is no frame of STOMP's", name)
	}
	return length, nil
}

// header returns the value of the field whose name, with the line end before it and the
// colon behind, is name. at is where it stood the last time.
func (s *stompScanner) header(head, name []byte, at *int) ([]byte, bool) {
	i := *at
	if i+len(name) > len(head) || !bytes.Equal(head[i:i+len(name)], name) {
		if i = bytes.Index(head, name); i < 0 {
			return nil, false
		}
		*at = i
	}
	v := head[i+len(name):]
	v = v[:bytes.IndexByte(v, '\n')]
	if n := len(v); n > 0 && v[n-1] == '\r' {
		v = v[:n-1]
	}
	return v, true
}

func parseLength(v []byte) (int, error) {
	n := 0
	for _, c := range bytes.TrimSpace(v) {
		if c < '0' || c > '9' || n > 1<<30/10 {
			return 0, fmt.Errorf("the broker sent a content-length of %q", v)
		}
		n = n*10 + int(c-'0')
	}
	return n, nil
}

// errorText makes one line of an ERROR's message header and body.
func errorText(head, body []byte) string {
	var text string
	for line := range strings.SplitSeq(string(head), "\n") {
		if v, ok := strings.CutPrefix(line, "message:"); ok {
			text = strings.TrimSpace(v)
		}
	}
	if s := strings.Join(strings.Fields(string(body)), " "); s != "" && s != text {
		if len(s) > 200 {
			s = s[:200] + "…"
		}
		text += " (" + s + ")"
	}
	return text
}
