package frame

import (
	"bytes"
	"fmt"
)

// quick takes the frame that b begins with if it is there as a whole and ordinary: lines
// that end in LF, no escapes, nothing past a limit. That is nearly every frame; all others,
// and all mistakes, are left to the general way, which it changes nothing for.
func (d *Decoder) quick(f *Frame, b []byte) bool {
	head := bytes.Index(b, emptyLine)
	if head < 0 || d.room == nil || d.version == V10 {
		return false
	}
	block, body := b[:head+1], b[head+2:]
	if head >= d.lim.HeaderLine || head >= d.lim.Frame || bytes.IndexByte(block, '\\') >= 0 ||
		bytes.IndexByte(block, '\r') >= 0 || bytes.IndexByte(block, 0) >= 0 {
		return false
	}
	i := bytes.IndexByte(block, '\n')
	if i > d.lim.Command {
		return false
	}
	name := block[:i]
	block = block[i+1:]
	h := d.room.header[:0]
	plain, length := true, -1
	for len(block) > 0 {
		i := bytes.IndexByte(block, '\n')
		c := bytes.IndexByte(block[:i], ':')
		if c <= 0 {
			return false
		}
		fd := Field{Name: block[:c:c], Value: block[c+1 : i : i]}
		block = block[i+1:]
		if len(fd.Name) == len("content-length") && length < 0 && string(fd.Name) == "content-length" {
			if length = digits(fd.Value); length < 0 {
				return false
			}
		} else if bytes.IndexByte(fd.Value, ':') >= 0 {
			plain = false
		}
		h = append(h, fd)
	}
	d.room.header = h
	if len(h) > d.lim.Headers {
		return false
	}
	if length < 0 {
		if length = bytes.IndexByte(body, 0); length < 0 {
			return false
		}
	}
	if length >= len(body) || body[length] != 0 || length > d.lim.Body || head+2+length > d.lim.Frame {
		return false
	}
	cmd := parseCommand(name)
	if cmd == Connect || cmd == Stomp || cmd == Connected {
		return false
	}
	*f = Frame{Command: cmd, Name: name, Header: h, Body: body[:length:length], Plain: plain}
	d.r += head + 2 + length + 1
	return true
}

var emptyLine = []byte("\n\n")

// unescape undoes the escapes of all fields in place.
func (d *Decoder) unescape(h Header) error {
	for i := range h {
		name, err := Unescape(h[i].Name, d.version)
		if err == nil {
			h[i].Name = name
			h[i].Value, err = Unescape(h[i].Value, d.version)
		}
		if err != nil {
			return &SyntaxError{fmt.Sprintf("The header %q has an escape that STOMP %v does not know", short(h[i].Name), d.version)}
		}
	}
	return nil
}

// trimBlanks is bytes.Trim for blanks and tabs, quick if there is none.
func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// digits reads a number of at most nine digits, or returns -1.
func digits(b []byte) int {
	if len(b) == 0 || len(b) > 9 {
		return -1
	}
	n := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}
