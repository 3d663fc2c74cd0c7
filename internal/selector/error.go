package selector

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Error says where a selector cannot be understood, and why.
type Error struct {
	Text   string // the selector
	Offset int    // in bytes
	Reason string // such as: expected a value after >, found the end
}

// Error is one line: position, reason and the neighbourhood.
func (e *Error) Error() string {
	near, _ := e.near()
	return fmt.Sprintf("selector: at character %d: %s: %s", e.Character(), e.Reason, strconv.Quote(near))
}

// Character is the position in characters, from 1.
func (e *Error) Character() int { return utf8.RuneCountInString(e.Text[:e.Offset]) + 1 }

// Excerpt is the neighbourhood in one line, and a caret below the place in another.
func (e *Error) Excerpt() string {
	near, column := e.near()
	return near + "\n" + strings.Repeat(" ", column) + "^"
}

// near cuts what is around the place to the width of a line, and returns how many
// characters of that come before it. Control characters become spaces.
func (e *Error) near() (line string, column int) {
	const before, after = 48, 24
	head, tail := []rune(tailOf(e.Text[:e.Offset], 4*before)), []rune(headOf(e.Text[e.Offset:], 4*after))
	cutHead, cutTail := "", ""
	if len(head) > before {
		head, cutHead = head[len(head)-before:], "…"
	}
	if len(tail) > after {
		tail, cutTail = tail[:after], "…"
	}
	line = strings.Map(flat, cutHead+string(head)+string(tail)+cutTail)
	return line, len(head) + utf8.RuneCountInString(cutHead)
}

// flat makes control characters spaces, those of C1 too.
func flat(r rune) rune {
	if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
		return ' '
	}
	return r
}

func tailOf(s string, n int) string {
	if len(s) <= n+utf8.UTFMax {
		return s
	}
	s = s[len(s)-n-utf8.UTFMax:]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return s
}

func headOf(s string, n int) string {
	if len(s) <= n+utf8.UTFMax {
		return s
	}
	n += utf8.UTFMax
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// tooLong is about a selector that was too long, or became so when String had spelt it out.
func tooLong(text string) *Error {
	what := "this one is longer"
	if len(text) <= MaxLength {
		what = "with all its spaces this one is longer"
	}
	return &Error{Text: text, Reason: fmt.Sprintf("a selector may be %d bytes long, %s", MaxLength, what)}
}
