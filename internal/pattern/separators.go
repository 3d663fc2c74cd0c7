package pattern

import "strings"

// Separators say at which characters names are split into parts.
//
// The word that says what kind of name it is, as in /topic/a.b, is a part of its own whichever they
// are: a slash that a name begins with, and the next one if there is neither a dot nor a brace before
// it, separate in any case. Names that the server makes, or that are put together of others, have dots and
// slashes, and are split at both: ownNames.
type Separators uint8

// The characters there are to choose from.
const (
	Both Separators = iota // dots and slashes, which are alike
	Dots
	Slashes
)

// ownNames are what names begin with that are split at both.
var ownNames = []string{"/topic/$", "/queue/$", "/topic/ActiveMQ.Advisory.", "/dsub/", "/exchange/"}

// Within this package a dot or slash that separates nothing is another character, which no name has. So all
// else is the same whichever separate.
var (
	hides = strings.NewReplacer(".", "\x01", "/", "\x02")
	shows = strings.NewReplacer("\x01", ".", "\x02", "/")
)

const hidden = "\x01\x02"

// hide returns name with what separates nothing hidden. It costs nothing where there is nothing of the kind.
func (s Separators) hide(name string) string {
	if s == Both {
		return name
	}
	front := kind(name)
	switch s = s.For(name); {
	case s == Both:
		return name
	case s == Dots && strings.IndexByte(name[front:], '/') < 0, s == Slashes && strings.IndexByte(name, '.') < 0:
		return name
	case s == Slashes:
		return strings.ReplaceAll(name, ".", "\x01")
	}
	return name[:front] + strings.ReplaceAll(name[front:], "/", "\x02")
}

// For returns those that the name is split at.
func (s Separators) For(name string) Separators {
	for _, own := range ownNames {
		if strings.HasPrefix(name, own) {
			return Both
		}
	}
	return s
}

// kind is how many bytes of name say what kind of name it is, with the slashes around that.
func kind(name string) int {
	if name == "" || name[0] != '/' {
		return 0
	}
	if i := strings.IndexAny(name[1:], "/.{"); i >= 0 && name[1+i] == '/' {
		return i + 2
	}
	return 1
}

// shown undoes hide.
func shown(text string) string {
	if !strings.ContainsAny(text, hidden) {
		return text
	}
	return shows.Replace(text)
}

// Front returns what of name is before its last part, with the separator.
func (s Separators) Front(name string) string {
	return name[:strings.LastIndexAny(s.hide(name), "./")+1]
}

// In reports whether text has one of them.
func (s Separators) In(text string) bool {
	return s != Slashes && strings.Contains(text, ".") || s != Dots && strings.Contains(text, "/")
}
