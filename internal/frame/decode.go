package frame

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// ErrMore is returned by Decode when the bytes given so far hold no whole frame.
var ErrMore = errors.New("frame: more bytes needed")

type phase uint8

const (
	atStart   phase = iota // between frames
	inCommand              // in the first line
	inHeader
	inBody
)

// A Decoder takes frames out of bytes that its user reads into Space. The zero value is
// ready, with the default limits, for version 1.0. It is not safe for concurrent use.
type Decoder struct {
	lim     Limits
	room    *room
	buf     []byte // buf[r:w] is unread; in the room, or memory of its own
	r, w    int
	version Version
	phase   phase
	err     error

	// How far the frame that begins at r was looked at. Offsets count from r, so that
	// the bytes may move.
	cmd    Command
	line   int // where the line under way begins
	scan   int // up to where it was searched for its end
	lines  int // header lines before it
	head   int // where the header begins
	length int // content-length, -1 if there is none

	big     []byte // a large body that is not there yet
	trusted int    // the size of the largest that came whole
}

// Init prepares d for a new connection.
func (d *Decoder) Init(l Limits) { *d = Decoder{lim: l.withDefaults()} }

// SetLimits changes the limits from the next frame on.
func (d *Decoder) SetLimits(l Limits) { d.lim = l.withDefaults() }

// SetVersion changes the version, which CONNECT settles.
func (d *Decoder) SetVersion(v Version) { d.version = v }

// Decode takes the next frame. It returns ErrMore if there is no whole one, a *LimitError
// or a *SyntaxError if there never will be: from then on it returns that error. Heart-beats
// and the EOLs that may follow a frame are passed over.
func (d *Decoder) Decode(f *Frame) error {
	if d.err != nil {
		return d.err
	}
	err := d.decode(f)
	if err != nil && err != ErrMore {
		d.err = err
	}
	return err
}

func (d *Decoder) decode(f *Frame) error {
	b := d.buf[d.r:d.w]
	if d.phase == atStart {
		for len(b) > 0 && b[0] <= '\r' && (b[0] == '\n' || b[0] == '\r' && len(b) > 1 && b[1] == '\n' || b[0] == 0) {
			b = b[1:]
		}
		d.r = d.w - len(b)
		if len(b) == 0 || len(b) == 1 && b[0] == '\r' {
			return ErrMore
		}
		if done, err := d.quick(f); done || err != nil {
			return err
		}
		d.phase, d.line, d.scan, d.lines, d.length, d.big = inCommand, 0, 0, 0, -1, nil
	}
	if d.phase == inCommand {
		end, err := d.lineEnd(b, d.lim.Command, "limits.command")
		if err != nil {
			return err
		}
		d.cmd = parseCommand(trimEOL(b[:end]))
		d.head, d.phase = d.line, inHeader
	}
	for d.phase == inHeader {
		start := d.line
		end, err := d.lineEnd(b, d.lim.HeaderLine, "limits.header")
		if err != nil {
			return err
		}
		line := trimEOL(b[start:end])
		if len(line) == 0 {
			if d.length >= 0 && d.length > d.lim.Frame-d.line {
				return &LimitError{"limits.frame_before_login", d.lim.Frame}
			}
			d.phase = inBody
			break
		}
		if d.lines++; d.lines > d.lim.Headers {
			return &LimitError{"limits.headers", d.lim.Headers}
		}
		if d.length < 0 && (line[0] == 'c' || line[0] == ' ' || line[0] == '\t') {
			if err := d.contentLength(line); err != nil {
				return err
			}
		}
	}
	return d.finish(f, b)
}

// lineEnd finds where the line that begins at d.line ends, and moves on behind it. Of
// several mistakes the first byte that makes one counts, so that it does not matter in
// which pieces the bytes come.
func (d *Decoder) lineEnd(b []byte, limit int, name string) (int, error) {
	i := bytes.IndexByte(b[d.scan:], '\n')
	end := d.scan + i
	if i < 0 {
		end = len(b)
	}
	nul := bytes.IndexByte(b[d.scan:end], 0)
	over := limit // the first byte of the line that is too much
	if over < end-d.line && b[d.line+over] == '\r' {
		over++ // unless that is the CR of its end
	}
	switch {
	case over < end-d.line && (nul < 0 || over <= d.scan-d.line+nul) && over <= d.lim.Frame-d.line:
		return 0, &LimitError{name, limit}
	case end > d.lim.Frame && (nul < 0 || d.lim.Frame <= d.scan+nul):
		return 0, &LimitError{"limits.frame_before_login", d.lim.Frame}
	case nul >= 0:
		return 0, errCutShort
	case i < 0:
		d.scan = end
		return 0, ErrMore
	}
	d.line, d.scan = end+1, end+1
	return end, nil
}

var errCutShort = &SyntaxError{"A NUL stands before the empty line that ends the header"}

func trimEOL(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		return line[:n-1]
	}
	return line
}

// contentLength looks whether line is the first content-length.
func (d *Decoder) contentLength(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte{':'})
	if d.lenient() {
		name = trimBlanks(name)
	}
	if !ok || string(name) != "content-length" {
		return nil
	}
	value = trimBlanks(value)
	n := 0
	for _, c := range value {
		if c < '0' || c > '9' {
			n = -1
			break
		}
		if n = n*10 + int(c-'0'); n > math.MaxInt/16 {
			n = math.MaxInt / 16
		}
	}
	if n < 0 || len(value) == 0 {
		return &SyntaxError{fmt.Sprintf("The header content-length is %q, which is not a number of bytes", short(value))}
	}
	if n > d.lim.Body {
		return &LimitError{"limits.body", d.lim.Body}
	}
	d.length = n
	return nil
}

// finish takes the frame if its body is there.
func (d *Decoder) finish(f *Frame, b []byte) error {
	var body []byte
	owned := false
	end := 0 // of the frame
	switch {
	case d.big != nil:
		if len(d.big) <= d.length {
			return ErrMore
		}
		if d.big[d.length] != 0 {
			return d.errNoNUL()
		}
		body, owned, end = d.big[:d.length], true, d.line
		d.trusted = max(d.trusted, cap(d.big))
	case d.length >= 0:
		if have := len(b) - d.line; have <= d.length {
			// One that the room cannot hold behind its header counts as large, too.
			if (d.length >= bigBody || d.line+d.length >= roomSize) && len(b) >= bigStart {
				d.beginBig(b[d.line:])
			}
			return ErrMore
		}
		end = d.line + d.length
		if b[end] != 0 {
			return d.errNoNUL()
		}
		body = b[d.line:end:end]
		end++
	default:
		i := bytes.IndexByte(b[d.scan:], 0)
		if i < 0 {
			i, end = -1, len(b)
		} else {
			end = d.scan + i
		}
		if end-d.line > d.lim.Body && d.lim.Body <= d.lim.Frame-d.line {
			return &LimitError{"limits.body", d.lim.Body}
		}
		if end > d.lim.Frame {
			return &LimitError{"limits.frame_before_login", d.lim.Frame}
		}
		if i < 0 {
			d.scan = end
			return ErrMore
		}
		body = b[d.line:end:end]
		end++
	}
	f.Command, f.Body, f.Owned = d.cmd, body, owned
	if err := d.fields(f, b[:d.line]); err != nil {
		return err
	}
	d.r += end
	d.phase, d.big = atStart, nil
	return nil
}

func (d *Decoder) errNoNUL() error {
	return &SyntaxError{fmt.Sprintf("content-length says %d, but no NUL follows that many bytes of body", d.length)}
}

// connecting reports whether the frame has no escapes in any version. Of its blanks only
// those around names are trimmed, since a passcode may begin or end with one.
func (d *Decoder) connecting() bool {
	return d.cmd == Connect || d.cmd == Stomp || d.cmd == Connected
}

// lenient reports whether the names of the frame are trimmed, and lines that are no header
// passed over, as the Ruby server did.
func (d *Decoder) lenient() bool { return d.version == V10 || d.connecting() }

// fields splits the header lines of b, which ends behind the empty line.
func (d *Decoder) fields(f *Frame, b []byte) error {
	h := Header(nil)
	if d.room != nil {
		h = d.room.header[:0]
	}
	f.Name = trimEOL(b[:d.head-1])
	b = b[d.head:]
	escapes := bytes.IndexByte(b, '\\') >= 0
	f.Plain = !escapes
	for {
		i := bytes.IndexByte(b, '\n')
		line := trimEOL(b[:i])
		if len(line) == 0 {
			break
		}
		b = b[i+1:]
		c := bytes.IndexByte(line, ':')
		if c <= 0 {
			if d.lenient() {
				continue
			}
			return &SyntaxError{fmt.Sprintf("The header line %q has no colon behind a name", short(line))}
		}
		name, value := line[:c:c], line[c+1:len(line):len(line)]
		if d.lenient() {
			name = trimBlanks(name)
			if !d.connecting() {
				value = bytes.Trim(value, " \t\r")
			}
			if len(name) == 0 {
				continue
			}
		}
		if bytes.IndexByte(value, ':') >= 0 {
			f.Plain = false
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			if d.version == V12 && !d.connecting() {
				return &SyntaxError{fmt.Sprintf("The header %q holds a carriage return inside its line", short(name))}
			}
			f.Plain = false
		}
		h = append(h, Field{Name: name, Value: value})
	}
	f.Header = h
	if d.room != nil {
		d.room.header = h
	}
	if escapes && d.version > V10 && !d.connecting() {
		return d.unescape(h)
	}
	return nil
}
