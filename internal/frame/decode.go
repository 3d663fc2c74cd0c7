package frame

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"sync"
)

// Limits bound what a client may send. 0 is the default.
type Limits struct {
	Command    int // bytes of the command line; default 64
	HeaderLine int // bytes of one header line; default 64 KiB
	Headers    int // header lines of a frame; default 1000
	Body       int // bytes of a body; default 64 MiB
	Frame      int // bytes of a whole frame, as before a login; default no bound
}

func (l Limits) withDefaults() Limits {
	set := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	set(&l.Command, 64)
	set(&l.HeaderLine, 64<<10)
	set(&l.Headers, 1000)
	set(&l.Body, 64<<20)
	set(&l.Frame, math.MaxInt)
	return l
}

// ErrMore is returned by Decode when the bytes given so far hold no whole frame.
var ErrMore = errors.New("frame: more bytes needed")

// A LimitError says which limit a frame goes past, by its name in the configuration.
type LimitError struct {
	Limit string
	Max   int
}

func (e *LimitError) Error() string { return fmt.Sprintf("frame: past %s (%d)", e.Limit, e.Max) }

// A SyntaxError says what is wrong with a frame, in words for who sent it.
type SyntaxError struct{ Reason string }

func (e *SyntaxError) Error() string { return "frame: " + e.Reason }

const (
	// roomSize is how much is read at a time; one room is shared by all that are idle.
	roomSize = 64 << 10

	// keepFrom is the size from which an unfinished frame keeps its room while it waits.
	keepFrom = roomSize / 2

	// bigBody is the size from which a body that is not there yet gets memory of its own,
	// which its receiver may keep.
	bigBody = 64 << 10
)

// A room is what a decoder works in while bytes come.
type room struct {
	buf    [roomSize]byte
	header Header
}

var rooms = sync.Pool{New: func() any { return new(room) }}

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

	// A large body that is not there yet. Its memory grows as its bytes come, so that a
	// promise alone costs nothing; up to the size that this client has kept its word for
	// it is made at once.
	big     []byte
	trusted int
}

// Init prepares d for a new connection.
func (d *Decoder) Init(l Limits) { *d = Decoder{lim: l.withDefaults()} }

// SetLimits changes the limits from the next frame on.
func (d *Decoder) SetLimits(l Limits) { d.lim = l.withDefaults() }

// SetVersion changes the version, which CONNECT settles.
func (d *Decoder) SetVersion(v Version) { d.version = v }

// Buffered is the number of bytes that were given and not decoded yet.
func (d *Decoder) Buffered() int { return d.w - d.r + len(d.big) }

// Held is how many bytes of memory unfinished frames hold beyond the shared read buffer.
func (d *Decoder) Held() int {
	n := cap(d.big)
	if d.room == nil || len(d.buf) != roomSize {
		n += len(d.buf)
	}
	return n
}

// Space returns where the next bytes are to be read into. It is never empty, and has no
// more room than the frame under way may still need or is shared with others.
func (d *Decoder) Space() []byte {
	if d.big != nil {
		if len(d.big) == cap(d.big) {
			grown := make([]byte, len(d.big), min(4*cap(d.big), d.length+len(tail)))
			copy(grown, d.big)
			d.big = grown
		}
		return d.big[len(d.big):min(cap(d.big), d.length+1)]
	}
	if d.room == nil {
		d.room = rooms.Get().(*room)
	}
	n := d.w - d.r
	switch {
	case len(d.buf) < roomSize:
		copy(d.room.buf[:], d.buf[d.r:d.w])
		d.buf, d.r, d.w = d.room.buf[:], 0, n
	case n == 0:
		d.r, d.w = 0, 0
	case len(d.buf)-d.w < len(d.buf)/8:
		to := d.buf
		if n > len(d.buf)-len(d.buf)/8 {
			to = make([]byte, 2*len(d.buf))
		}
		copy(to, d.buf[d.r:d.w])
		d.buf, d.r, d.w = to, 0, n
	}
	return d.buf[d.w:]
}

// Filled says that n bytes were read into what Space returned.
func (d *Decoder) Filled(n int) {
	if d.big != nil {
		d.big = d.big[:len(d.big)+n]
		return
	}
	d.w += n
}

// Idle gives memory back; it is called before waiting for bytes. Views end with it.
func (d *Decoder) Idle() {
	n := d.w - d.r
	switch {
	case n == 0:
		d.buf, d.r, d.w = nil, 0, 0
	case n < keepFrom:
		if len(d.buf) < roomSize && d.room == nil {
			return
		}
		size := 512
		for size < n {
			size *= 2
		}
		small := make([]byte, size)
		copy(small, d.buf[d.r:d.w])
		d.buf, d.r, d.w = small, 0, n
	default:
		return
	}
	if d.room != nil {
		if cap(d.room.header) > 64 {
			d.room.header = nil
		}
		clear(d.room.header[:cap(d.room.header)])
		rooms.Put(d.room)
		d.room = nil
	}
}

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
		for len(b) > 0 && (b[0] == '\n' || b[0] == '\r' && len(b) > 1 && b[1] == '\n') {
			b = b[1:]
		}
		d.r = d.w - len(b)
		if len(b) == 0 || len(b) == 1 && b[0] == '\r' {
			return ErrMore
		}
		if d.quick(f, b) {
			return nil
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
		if d.length < 0 && (line[0] == 'c' || line[0] == ' ') {
			if err := d.contentLength(line); err != nil {
				return err
			}
		}
	}
	return d.finish(f, b)
}

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
	if d.trims() {
		name = bytes.Trim(name, " \t")
	}
	if !ok || string(name) != "content-length" {
		return nil
	}
	value = bytes.Trim(value, " \t")
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

func short(b []byte) []byte { return b[:min(len(b), 80)] }

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
			if d.length >= bigBody {
				d.big = append(make([]byte, 0, min(max(4*have, bigBody, d.trusted), d.length+len(tail))), b[d.line:]...)
				d.w = d.r + d.line
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

// trims reports whether names and values of the frame are trimmed, as 1.0 wants.
func (d *Decoder) trims() bool { return d.version == V10 && !d.connecting() }

// connecting reports whether the frame has no escapes in any version. Nothing is trimmed
// in it either but its names, since a passcode may begin or end with a blank.
func (d *Decoder) connecting() bool {
	return d.cmd == Connect || d.cmd == Stomp || d.cmd == Connected
}

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
	escapes = escapes && d.version > V10 && !d.connecting()
	lenient := d.version == V10 || d.connecting()
	for {
		i := bytes.IndexByte(b, '\n')
		line := trimEOL(b[:i])
		if len(line) == 0 {
			break
		}
		b = b[i+1:]
		c := bytes.IndexByte(line, ':')
		if c <= 0 {
			if lenient {
				continue // the Ruby server passed over such a line
			}
			return &SyntaxError{fmt.Sprintf("The header line %q has no colon behind a name", short(line))}
		}
		name, value := line[:c], line[c+1:]
		if lenient {
			name = bytes.Trim(name, " \t")
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
		if escapes {
			var err error
			if name, err = Unescape(name, d.version); err == nil {
				value, err = Unescape(value, d.version)
			}
			if err != nil {
				return &SyntaxError{fmt.Sprintf("The header %q has an escape that STOMP %v does not know", short(name), d.version)}
			}
		}
		h = append(h, Field{Name: name, Value: value})
	}
	f.Header = h
	if d.room != nil {
		d.room.header = h
	}
	return nil
}
