// Package psych reads and writes the YAML in which the Ruby stompserver keeps frames: an
// object with command, headers and body, as Psych (Ruby 1.9 and later) and Syck (Ruby 1.8)
// spell it. What it writes both read, and so does a Rails model with "serialize :frame".
package psych

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"go.yaml.in/yaml/v4"
)

// A Frame is what the Ruby server calls a StompFrame.
type Frame struct {
	Command string
	Headers [][2]string // in order; reading gives each name once
	Body    string
}

// Get returns the value of the first header called name.
func (f *Frame) Get(name string) (string, bool) {
	for _, h := range f.Headers {
		if h[0] == name {
			return h[1], true
		}
	}
	return "", false
}

const tag = "!ruby/object:StompServer::StompFrame"

// Append appends the document of f. Of headers that are there twice the first is written: a
// YAML mapping has each name once.
func Append(dst []byte, f *Frame) []byte {
	return append(appendScalar(appendHead(dst, f), f.Body), '\n')
}

// Document is what Append appends. Its room is guessed, for most texts need few escapes: to look for those
// first would take as long as to write it.
func Document(f *Frame) []byte {
	n := len("---  command headers body") + len(tag) + len(f.Command) + len(f.Body) + len(f.Body)/32 + 16
	for _, h := range f.Headers {
		n += len(h[0]) + len(h[1]) + len("\n  \"\": \"\"")
	}
	return Append(make([]byte, 0, n), f)
}

// appendHead appends what stands before the body.
func appendHead(dst []byte, f *Frame) []byte {
	dst = append(dst, "--- "+tag+"\ncommand: "...)
	dst = appendScalar(dst, f.Command)
	dst = append(dst, "\nheaders:"...)
	if len(f.Headers) == 0 {
		dst = append(dst, " {}"...)
	}
	for i, h := range f.Headers {
		if first(f.Headers[:i], h[0]) {
			// A key of more than 1024 characters must be told to be one.
			if long := len(h[0]) > 200; long {
				dst = append(dst, "\n  ? "...)
				dst = append(appendScalar(dst, h[0]), "\n  "...)
			} else {
				dst = append(dst, "\n  "...)
				dst = appendScalar(dst, h[0])
			}
			dst = append(dst, ": "...)
			dst = appendScalar(dst, h[1])
		}
	}
	return append(dst, "\nbody: "...)
}

func first(before [][2]string, name string) bool {
	for _, h := range before {
		if h[0] == name {
			return false
		}
	}
	return true
}

// isText reports whether s is written as a text, and not in base64.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

const binaryTag = "!binary "

// appendScalar appends s in double quotes, or in base64 if it is no text.
func appendScalar(dst []byte, s string) []byte {
	if isText(s) {
		return append(appendText(append(dst, '"'), s), '"')
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, binaryTag+`"`...), bytes(s)), '"')
}

// bytes is s, which nobody changes.
func bytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// appendText appends s with the escapes that it needs between quotes.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for {
		n := plain(s)
		dst = append(dst, s[:n]...)
		if s = s[n:]; s == "" {
			return dst
		}
		c, size := utf8.DecodeRuneInString(s)
		switch escapedLen(c) {
		case 2:
			if c == '\n' {
				c = 'n'
			}
			dst = append(dst, '\\', byte(c))
		case 4:
			dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			dst = fmt.Appendf(dst, `\u%04x`, c)
		}
		s = s[size:]
	}
}

// escapedLen is how many bytes the escape of c has.
func escapedLen(c rune) int {
	switch {
	case c == '"' || c == '\\' || c == '\n':
		return 2
	case c < 0xa0:
		return 4
	}
	return 6
}

// isEscaped reports whether c, which is no control character of ASCII, is written with an
// escape: readers of YAML take it for a break of the line, or do not take it.
func isEscaped(c rune) bool {
	return c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029 || c == 0xfeff || c == 0xfffe || c == 0xffff
}

var errNoFrame = errors.New("it is not the YAML of a frame")

// Parse reads a document. Any input is safe; the result does not refer to text.
func Parse(text []byte) (*Frame, error) {
	f, body, err := ParseBody(text, 0)
	if err != nil {
		return nil, err
	}
	f.Body = unsafe.String(unsafe.SliceData(body), len(body))
	return f, nil
}

// ParseBody is Parse, but for the body, which it returns by itself, with room for so many bytes
// more behind it. A large body that Append wrote is in memory once, beside text.
func ParseBody(text []byte, room int) (f *Frame, body []byte, err error) {
	if f, body, ok := quick(unsafe.String(unsafe.SliceData(text), len(text)), room); ok { // which keeps nothing of it
		return f, body, nil
	}
	if f, err = parse(text); err != nil {
		return nil, nil, err
	}
	body = append(make([]byte, 0, len(f.Body)+room), f.Body...)
	f.Body = ""
	return f, body, nil
}

// ParseOwned is ParseBody of a text that nobody else needs any more: a large body that Append wrote is made
// of it where it stands, and has the room of what stood behind it.
func ParseOwned(text []byte, room int) (f *Frame, body []byte, err error) {
	if f, rest, ok := quickHead(unsafe.String(unsafe.SliceData(text), len(text))); ok {
		if body, ok := cutInPlace(text[len(text)-len(rest):], room); ok {
			return f, body, nil
		}
	}
	return ParseBody(text, room)
}

func parse(text []byte) (*Frame, error) {
	var docs []yaml.Node
	if err := yaml.Load(text, &docs, yaml.WithAllDocuments()); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoFrame, err)
	}
	if len(docs) != 1 {
		return nil, errNoFrame
	}
	n := &docs[0]
	for n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	if n.Kind != yaml.MappingNode || !strings.HasPrefix(n.Tag, "!ruby/object:") {
		return nil, errNoFrame
	}
	f := &Frame{}
	found := false
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := n.Content[i+1]
		var err error
		switch n.Content[i].Value {
		case "command":
			f.Command, err = scalar(value)
		case "headers":
			found = true
			err = f.headers(value)
		case "body":
			f.Body, err = scalar(value)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n.Content[i].Value, err)
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: it has no headers", errNoFrame)
	}
	return f, nil
}

func (f *Frame) headers(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return errNoFrame
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, err := scalar(n.Content[i])
		if err != nil {
			return err
		}
		value, err := scalar(n.Content[i+1])
		if err != nil {
			return err
		}
		f.Headers = append(f.Headers, [2]string{name, value})
	}
	return nil
}

// scalar returns the text of n, or what its base64 says.
func scalar(n *yaml.Node) (string, error) {
	if n.Kind == yaml.AliasNode && n.Alias != nil && n.Alias.Kind == yaml.ScalarNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return "", errNoFrame
	}
	switch n.Tag {
	case "!binary", "!!binary", "tag:yaml.org,2002:binary":
		return decode(n.Value)
	case "!!null":
		return "", nil
	}
	return n.Value, nil
}

func decode(text string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil { // there may be blanks in it
		b, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoFrame, err)
	}
	return unsafe.String(unsafe.SliceData(b), len(b)), nil
}
