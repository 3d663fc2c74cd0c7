package message

import "bytes"

// ActiveMQ turns messages of STOMP into those of JMS, and back. Here all are of STOMP; its clients are told what
// they look for.

// transforms are the headers of a SEND that are about that.
type transforms struct {
	named   bool
	failed  bool // it wants what cannot be made of it
	told    bool // that is said already
	textual bool
}

var (
	jmsPrefix    = []byte("jms-")
	contentLine  = []byte("\ncontent-length:")
	notOfJMS     = []byte("All messages are of STOMP here; it is as it was sent.")
	errorOfJMS   = []byte("transformation-error")
	wantsNothing = [][]byte{[]byte("jms-text"), []byte("jms-byte")} // which they are anyway
)

func (t *transforms) field(name, value []byte) {
	t.named = true
	switch {
	case len(name) == len(errorOfJMS):
		t.told = true
	case string(name) == "amq-msg-type":
		t.textual = string(bytes.TrimSpace(value)) == "text"
	case bytes.HasPrefix(value, jmsPrefix):
		t.failed = true
		for _, v := range wantsNothing {
			if bytes.Equal(value, v) {
				t.failed = false
			}
		}
	}
}

// apply says in the header that a transformation failed, and leaves the length of a text out: clients of ActiveMQ
// take a body for bytes by its content-length. It stays where the body could not be told from what follows.
func (t *transforms) apply(b *builder, body []byte) {
	if t.failed && !t.told {
		b.field(errorOfJMS, notOfJMS)
	}
	if t.textual && bytes.IndexByte(body, 0) < 0 {
		b.unsize()
	}
}

// unsize takes the length of the body out of the header.
func (b *builder) unsize() {
	at := bytes.Index(b.buf, contentLine) // behind the destination, which holds no line
	end := at + 1 + bytes.IndexByte(b.buf[at+1:], '\n')
	b.buf = append(b.buf[:at], b.buf[end:]...)
}

// unsized reports whether the header does not tell the length of the body.
func (m *Message) unsized() bool {
	end := bytes.IndexByte(m.head, '\n')
	return end < 0 || !bytes.HasPrefix(m.head[end:], contentLine)
}
