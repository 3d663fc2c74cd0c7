package syscalls

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A Call is one system call, as strace writes it down: -f -yy, with strings in its usual form.
type Call struct {
	Thread int
	Name   string
	Args   []string // as they are written
	Result int64    // -1: see Errno
	Errno  string   // EIO
	Path   string   // of what the result, a file descriptor, is open to

	Injected bool // strace made it fail

	// The lines of the trace in which it begins and ends, which order calls of several threads.
	// One that had not ended has the End Never.
	Begin, End int
}

// Never is the End of a call that was under way at the end of the trace.
const Never = int(^uint(0) >> 1)

// Parse reads a trace. Signals and the like are passed over.
func Parse(r io.Reader) ([]Call, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	type head struct {
		text  string
		begin int
	}
	open := make(map[int]head) // by thread
	var calls []Call
	for line := 1; ; line++ {
		text, err := in.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		end := err == io.EOF
		text = strings.TrimSuffix(text, "\n")
		number, rest, _ := strings.Cut(text, " ")
		thread, e := strconv.Atoi(number)
		rest = strings.TrimLeft(rest, " ")
		switch {
		case text == "" && end:
		case e != nil:
			return nil, fmt.Errorf("line %d does not begin with the number of a thread: %.80q", line, text)
		case strings.HasPrefix(rest, "---"), strings.HasPrefix(rest, "+++"):
		case strings.HasPrefix(rest, "<... "):
			h, ok := open[thread]
			_, more, ok2 := strings.Cut(rest, " resumed>")
			if !ok || !ok2 {
				return nil, fmt.Errorf("line %d goes on with what was not begun: %.80q", line, text)
			}
			delete(open, thread)
			c, err := parseCall(h.text + more)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			c.Thread, c.Begin, c.End = thread, h.begin, line
			calls = append(calls, c)
		case strings.HasSuffix(rest, " <unfinished ...>"):
			open[thread] = head{strings.TrimSuffix(rest, " <unfinished ...>"), line}
		default:
			c, err := parseCall(rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
			c.Thread, c.Begin, c.End = thread, line, line
			calls = append(calls, c)
		}
		if end {
			break
		}
	}
	for thread, h := range open {
		if c, err := parseCall(h.text + ") = ?"); err == nil {
			c.Thread, c.Begin, c.End = thread, h.begin, Never
			calls = append(calls, c)
		}
	}
	return calls, nil
}

var errCut = errors.New("it is cut off")

// parseCall reads NAME(ARGS) = RESULT.
func parseCall(s string) (c Call, err error) {
	at := strings.IndexByte(s, '(')
	if at <= 0 {
		return c, fmt.Errorf("no call: %.80q", s)
	}
	c.Name = s[:at]
	from := at + 1
	depth := 0
	for at = from; ; at++ {
		if at >= len(s) {
			return c, fmt.Errorf("%w: %.80q", errCut, s)
		}
		switch b := s[at]; {
		case b == '"':
			if at = endOfString(s, at); at < 0 {
				return c, fmt.Errorf("%w: %.80q", errCut, s)
			}
		case b == '<' && at+1 < len(s) && s[at+1] != '<' && s[at+1] != ' ': // and not a shift
			if at = endOfPath(s, at); at < 0 {
				return c, fmt.Errorf("%w: %.80q", errCut, s)
			}
		case b == '(' || b == '{' || b == '[':
			depth++
		case (b == ')' || b == '}' || b == ']') && depth > 0:
			depth--
		case b == ',' && depth == 0:
			c.Args = append(c.Args, strings.TrimSpace(s[from:at]))
			from = at + 1
		case b == ')':
			if last := strings.TrimSpace(s[from:at]); last != "" || len(c.Args) > 0 {
				c.Args = append(c.Args, last)
			}
			return c, c.parseResult(s[at+1:])
		}
	}
}

// endOfString is where the string ends that begins at a quotation mark, or -1.
func endOfString(s string, at int) int {
	for at++; at < len(s); at++ {
		switch s[at] {
		case '\\':
			at++
		case '"':
			return at
		}
	}
	return -1
}

// endOfPath is where ends what strace says of a descriptor, <TCP:[a->b]>, or -1.
func endOfPath(s string, at int) int {
	for depth := 0; at < len(s); at++ {
		switch {
		case s[at] == '<':
			depth++
		case s[at] == '>' && s[at-1] != '-':
			if depth--; depth == 0 {
				return at
			}
		}
	}
	return -1
}

func (c *Call) parseResult(s string) error {
	s, ok := strings.CutPrefix(strings.TrimLeft(s, " "), "= ")
	if !ok {
		return fmt.Errorf("%s has no result: %.80q", c.Name, s)
	}
	c.Injected = strings.HasSuffix(s, " (INJECTED)")
	number, rest, _ := strings.Cut(s, " ")
	number, path, ok := strings.Cut(number, "<")
	if ok {
		if end := endOfPath(s, len(number)); end > 0 {
			path = s[len(number)+1 : end]
		}
		c.Path = path
	}
	if number == "?" {
		c.Result = -1
		return nil
	}
	n, err := strconv.ParseInt(number, 0, 64)
	if err != nil {
		if u, err := strconv.ParseUint(number, 0, 64); err == nil { // an address
			c.Result = int64(u)
			return nil
		}
		return fmt.Errorf("%s has the result %.40q", c.Name, s)
	}
	if c.Result = n; n == -1 {
		c.Errno, _, _ = strings.Cut(rest, " ")
	}
	return nil
}

// FD is the argument i, a file descriptor, and what it is open to.
func (c *Call) FD(i int) (fd int, path string, ok bool) {
	if i >= len(c.Args) {
		return 0, "", false
	}
	number, path, _ := strings.Cut(c.Args[i], "<")
	path = strings.TrimSuffix(path, ">")
	if number == "AT_FDCWD" {
		return -100, path, true
	}
	fd, err := strconv.Atoi(number)
	return fd, path, err == nil
}

// Number is the argument i.
func (c *Call) Number(i int) (int64, bool) {
	if i >= len(c.Args) {
		return 0, false
	}
	n, err := strconv.ParseInt(c.Args[i], 0, 64)
	return n, err == nil
}

// Bytes is the argument i, a string. Whole is false if strace wrote only its beginning.
func (c *Call) Bytes(i int) (b []byte, whole bool, err error) {
	if i >= len(c.Args) {
		return nil, false, fmt.Errorf("%s has no argument %d", c.Name, i)
	}
	s, cut := strings.CutSuffix(c.Args[i], "...")
	if b, err = Unquote(s); err != nil {
		err = fmt.Errorf("%s: %w", c.Name, err)
	}
	return b, !cut, err
}

// Unquote undoes what strace does to a string.
func Unquote(s string) ([]byte, error) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return nil, fmt.Errorf("no string: %.40q", s)
	}
	s = s[1 : len(s)-1]
	b := make([]byte, 0, len(s))
	for {
		at := strings.IndexByte(s, '\\')
		if at < 0 {
			return append(b, s...), nil
		}
		b = append(b, s[:at]...)
		if s = s[at+1:]; s == "" {
			return nil, fmt.Errorf("a string ends with a backslash")
		}
		if i := bytes.IndexByte([]byte(`ntvfr"\`), s[0]); i >= 0 {
			b = append(b, "\n\t\v\f\r\"\\"[i])
			s = s[1:]
			continue
		}
		if s[0] == 'x' && len(s) >= 3 {
			n, err := strconv.ParseUint(s[1:3], 16, 8)
			if err != nil {
				return nil, fmt.Errorf("a string has \\%.3s", s)
			}
			b, s = append(b, byte(n)), s[3:]
			continue
		}
		n := 0
		for n < min(3, len(s)) && s[n] >= '0' && s[n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(s[:n], 8, 8)
		if err != nil {
			return nil, fmt.Errorf("a string has \\%.3s", s)
		}
		b, s = append(b, byte(v)), s[n:]
	}
}
