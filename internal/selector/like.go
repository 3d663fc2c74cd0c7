package selector

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"
)

// like matches text with a pattern: % stands for any characters, _ for one.
//
// The pattern is cut at its %. What is before the first must begin the text and what is
// behind the last must end it; each piece between is looked for from the left, and taken
// where it comes first, for nothing is gained by a later place. So time is in proportion to
// the text.
type like struct {
	operand text
	source  string
	escape  rune
	escaped bool
	negated bool

	open   bool // there is a %
	head   piece
	middle []piece
	tail   piece
}

// A piece is characters and "any one character", in a row.
type piece struct {
	lit  []byte // if there is no "any"
	any  bool
	list []rune // with anyRune for "any"

	begins []byte // what is before the first "any"

	// Which places of list a character fits, as bits: for each that is named, in order, and
	// for any else.
	chars []rune
	masks []uint64
	rest  uint64
}

const (
	anyRune  = -1
	maxPiece = 64 // characters of a piece that is looked for and has an "any"
)

// compile cuts the pattern up; the reason says what is wrong with it.
func (l *like) compile() (reason string) {
	pieces := []piece{{}}
	runes := []rune(l.source)
	for i := 0; i < len(runes); i++ {
		r, p := runes[i], &pieces[len(pieces)-1]
		switch {
		case l.escaped && r == l.escape:
			// As in ActiveMQ, before another character it stands for itself.
			if i+1 < len(runes) && (runes[i+1] == '%' || runes[i+1] == '_' || runes[i+1] == l.escape) {
				i++
				r = runes[i]
			}
			p.list = append(p.list, r)
		case r == '%':
			pieces = append(pieces, piece{})
		case r == '_':
			p.any = true
			p.list = append(p.list, anyRune)
		default:
			p.list = append(p.list, r)
		}
	}
	l.head, l.tail = pieces[0], pieces[len(pieces)-1]
	l.head.finish()
	l.tail.finish()
	if l.open = len(pieces) > 1; !l.open {
		return ""
	}
	for _, p := range pieces[1 : len(pieces)-1] {
		if len(p.list) == 0 {
			continue
		}
		p.finish()
		if p.any {
			if len(p.list) > maxPiece {
				return fmt.Sprintf("more than %d characters, _ among them, between two %%", maxPiece)
			}
			p.index()
		}
		l.middle = append(l.middle, p)
	}
	return ""
}

func (p *piece) finish() {
	if !p.any {
		p.lit = []byte(string(p.list))
	}
}

// index prepares find.
func (p *piece) index() {
	for _, r := range p.list {
		if r == anyRune {
			break
		}
		p.begins = utf8.AppendRune(p.begins, r)
	}
	p.chars = slices.Compact(slices.Sorted(slices.Values(p.list)))[1:] // without anyRune
	p.masks = make([]uint64, len(p.chars))
	for i, r := range p.list {
		if r == anyRune {
			p.rest |= 1 << i
			continue
		}
		at, _ := slices.BinarySearch(p.chars, r)
		p.masks[at] |= 1 << i
	}
	for i := range p.masks {
		p.masks[i] |= p.rest
	}
}

// find returns what follows the first place in b where the piece fits.
func (p *piece) find(b []byte) ([]byte, bool) {
	if !p.any {
		i := bytes.Index(b, p.lit)
		if i < 0 {
			return nil, false
		}
		return b[i+len(p.lit):], true
	}
	// Bit i of fits: the last characters are the first i+1 of the piece. All places are
	// tried at once.
	var fits uint64
	last := uint64(1) << (len(p.list) - 1)
	for len(b) > 0 {
		if fits == 0 && len(p.begins) > 0 { // nothing has begun to fit
			i := bytes.Index(b, p.begins)
			if i < 0 {
				return nil, false
			}
			b = b[i:]
		}
		r, size := rune(b[0]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(b)
		}
		mask := p.rest
		if at := p.place(r); at >= 0 && (r != utf8.RuneError || size > 1) {
			mask = p.masks[at]
		}
		b = b[size:]
		if fits = (fits<<1 | 1) & mask; fits&last != 0 {
			return b, true
		}
	}
	return nil, false
}

// place is where r is in chars, -1 if it is not there.
func (p *piece) place(r rune) int {
	if len(p.chars) <= 8 {
		for i, c := range p.chars {
			if c == r {
				return i
			}
		}
		return -1
	}
	if at, ok := slices.BinarySearch(p.chars, r); ok {
		return at
	}
	return -1
}

// begin takes the piece off the beginning of b.
func (p *piece) begin(b []byte) ([]byte, bool) {
	if !p.any {
		return bytes.CutPrefix(b, p.lit)
	}
	for _, want := range p.list {
		r, size := utf8.DecodeRune(b)
		if size == 0 || want != anyRune && (r != want || r == utf8.RuneError && size == 1) {
			return nil, false
		}
		b = b[size:]
	}
	return b, true
}

// end takes the piece off the end of b.
func (p *piece) end(b []byte) ([]byte, bool) {
	if !p.any {
		return bytes.CutSuffix(b, p.lit)
	}
	for i := len(p.list) - 1; i >= 0; i-- {
		want := p.list[i]
		r, size := utf8.DecodeLastRune(b)
		if size == 0 || want != anyRune && (r != want || r == utf8.RuneError && size == 1) {
			return nil, false
		}
		b = b[:len(b)-size]
	}
	return b, true
}

func (l *like) matches(b []byte) bool {
	b, ok := l.head.begin(b)
	if !ok || !l.open {
		return ok && len(b) == 0
	}
	if b, ok = l.tail.end(b); !ok {
		return false
	}
	for i := range l.middle {
		if b, ok = l.middle[i].find(b); !ok {
			return false
		}
	}
	return true
}

func (l *like) test(env Env) truth {
	b, ok := l.operand.text(env)
	if !ok {
		return unknown
	}
	return truthOf(l.matches(b) != l.negated)
}

func (l *like) rank() int { return precCompare }
func (l *like) appendTo(dst []byte) []byte {
	dst = append(appendNot(appendExpr(dst, l.operand, precSum), l.negated), "LIKE "...)
	dst = appendQuoted(dst, l.source, "'")
	if l.escaped {
		dst = appendQuoted(append(dst, " ESCAPE "...), string(l.escape), "'")
	}
	return dst
}
