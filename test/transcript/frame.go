package transcript

import (
	"fmt"
	"strconv"
	"strings"
)

// A line is a frame that one line of a script says.
type line struct {
	command string
	lines   []string // header lines
	body    string
	bodied  bool
}

func parseFrame(text string) (f line, err error) {
	f.command, text, _ = strings.Cut(strings.TrimLeft(text, " "), " ")
	for text = strings.TrimLeft(text, " "); text != ""; text = strings.TrimLeft(text, " ") {
		if body, ok := strings.CutPrefix(text, "= "); ok {
			f.body, f.bodied = body, true
			break
		}
		name, value, hasValue := "", "", false
		end := strings.IndexAny(text, " :")
		switch {
		case end < 0 || text[end] == ' ' || strings.HasPrefix(text, "/"):
			name, text, _ = strings.Cut(text, " ")
		default:
			name, text, hasValue = text[:end], text[end+1:], true
			if strings.HasPrefix(text, `"`) {
				quoted, err := strconv.QuotedPrefix(text)
				if err != nil {
					return f, fmt.Errorf("%q: %w", text, err)
				}
				text = text[len(quoted):]
				value, _ = strconv.Unquote(quoted)
			} else {
				value, text, _ = strings.Cut(text, " ")
			}
		}
		switch {
		case hasValue:
			f.lines = append(f.lines, name+":"+value)
		case strings.HasPrefix(name, "!"):
			f.lines = append(f.lines, name)
		default:
			f.lines = append(f.lines, "destination:"+name)
		}
	}
	return f, nil
}

func (f line) wire() string {
	return f.command + "\n" + strings.Join(append(f.lines, ""), "\n") + "\n" + f.body + "^@"
}

func (f line) want() string {
	s := f.command + "\n" + strings.Join(append(f.lines, ""), "\n")
	if f.bodied {
		s += "\n" + f.body
	}
	return s
}
