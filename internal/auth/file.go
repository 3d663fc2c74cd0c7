package auth

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Bounds of a password file. What is longer is not read.
const (
	MaxFile = 16 << 20 // bytes of a file
	MaxLine = 8 << 10  // bytes of a line
)

// blanks are what may surround a login or a passcode without being part of it. A CR at the
// end of a line is one of them. They are Ruby's \s without LF.
const blanks = " \t\r\f\v"

// bom is the mark that some editors write in front of UTF-8. It is no part of a login.
const bom = "\ufeff"

// A File is a password file: lines ended by LF. A line whose first character that is not
// blank is # is a comment, a blank one says nothing, any other is an entry, split at its
// first colon. Comments, order and everything it does not change survive an edit.
type File struct {
	lines []string // without their LF; the last one has none in the file either
	bom   bool
}

// An Entry is one user of a password file.
type Entry struct {
	Login  string
	Secret string // the passcode, or a hash of it
	Line   int    // where it stands, from 1
}

// A Problem is a line of a password file that is passed over.
type Problem struct {
	Line int
	What string // says nothing of what stands in the line
}

// ParseFile splits data. It never fails: what cannot be an entry is told by Entries.
func ParseFile(data []byte) *File {
	text, marked := strings.CutPrefix(string(data), bom)
	return &File{lines: strings.Split(text, "\n"), bom: marked}
}

// Bytes is the text of the file. It is what ParseFile was given until something changes.
func (f *File) Bytes() []byte {
	text := strings.Join(f.lines, "\n")
	if f.bom || strings.HasPrefix(text, bom) { // the second is part of a login
		text = bom + text
	}
	return []byte(text)
}

// Entries returns the entries in the order of the file. Of several with one login only the
// last is there: a later line overrides an earlier one.
func (f *File) Entries() ([]Entry, []Problem) {
	var all []Entry
	var problems []Problem
	last := make(map[string]int) // by login, in all
	overridden := 0
	for i, line := range f.lines {
		e, err := parseLine(line)
		switch {
		case err != nil:
			problems = append(problems, Problem{Line: i + 1, What: err.Error()})
			continue
		case e.Login == "":
			continue
		}
		e.Line = i + 1
		if before, ok := last[e.Login]; ok {
			all[before].Line = 0
			overridden++
		}
		last[e.Login] = len(all)
		all = append(all, e)
	}
	if overridden == 0 {
		return all, problems
	}
	in := all[:0]
	for _, e := range all {
		if e.Line > 0 {
			in = append(in, e)
		}
	}
	return in, problems
}

// parseLine returns an Entry without a login for a line that has nothing to say.
func parseLine(line string) (Entry, error) {
	if len(line) > MaxLine {
		return Entry{}, fmt.Errorf("line is longer than %d bytes", MaxLine)
	}
	line = strings.Trim(line, blanks)
	if line == "" || line[0] == '#' {
		return Entry{}, nil
	}
	login, secret, ok := strings.Cut(line, ":")
	if !ok {
		return Entry{}, errors.New("no colon between login and passcode")
	}
	login, secret = strings.Trim(login, blanks), strings.Trim(secret, blanks)
	if login == "" {
		return Entry{}, errors.New("no login before the colon")
	}
	return Entry{Login: login, Secret: secret}, nil
}

// CheckLogin says why login cannot stand in a password file, or nil if it can.
func CheckLogin(login string) error {
	switch {
	case login == "":
		return errors.New("a login must not be empty")
	case strings.Contains(login, ":"):
		return errors.New("a login must not contain a colon: the first one ends it")
	case strings.IndexFunc(login, unicode.IsControl) >= 0:
		return errors.New("a login must not contain control characters")
	case strings.Trim(login, blanks) != login:
		return errors.New("a login must not begin or end with a blank")
	case login[0] == '#':
		return errors.New("a login must not begin with #: that makes the line a comment")
	case len(login) > MaxLine/2:
		return fmt.Errorf("a login must not be longer than %d bytes", MaxLine/2)
	}
	return nil
}

// Set gives login a secret, and reports whether it had one. Its line stays where it is; a
// new one goes to the end. Lines that this one overrides are removed, for they hold an old
// passcode.
func (f *File) Set(login, secret string) (replaced bool, err error) {
	if err := CheckLogin(login); err != nil {
		return false, err
	}
	switch {
	case secret == "":
		return false, errors.New("a passcode must not be empty")
	case strings.Contains(secret, "\n") || strings.Trim(secret, blanks) != secret:
		return false, errors.New("a passcode kept as it is must not begin or end with a blank, nor span lines")
	case len(login)+1+len(secret) > MaxLine:
		return false, fmt.Errorf("login and passcode together must not be longer than %d bytes", MaxLine-1)
	}
	line := login + ":" + secret
	at := f.find(login)
	if len(at) == 0 {
		if last := len(f.lines) - 1; f.lines[last] == "" {
			f.lines = append(f.lines[:last], line, "")
		} else {
			f.lines = append(f.lines, line, "")
		}
		return false, nil
	}
	f.lines[at[len(at)-1]] = line
	f.cut(at[:len(at)-1])
	return true, nil
}

// Remove takes every line of login out, and reports whether there was one.
func (f *File) Remove(login string) bool {
	at := f.find(login)
	f.cut(at)
	return len(at) > 0
}

// find returns where the entries of login are.
func (f *File) find(login string) []int {
	var at []int
	for i, line := range f.lines {
		if e, err := parseLine(line); err == nil && e.Login == login && login != "" {
			at = append(at, i)
		}
	}
	return at
}

// cut removes the lines at, which are in order.
func (f *File) cut(at []int) {
	kept := f.lines[:0]
	for i, line := range f.lines {
		if len(at) > 0 && at[0] == i {
			at = at[1:]
			continue
		}
		kept = append(kept, line)
	}
	if len(kept) == 0 {
		kept = append(kept, "")
	}
	f.lines = kept
}
