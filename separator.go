package stompserver

import (
	"errors"
	"fmt"
	"strings"

	"stompserver/internal/pattern"
)

// setSeparator reads destinations.separator, a list of one or two characters.
func setSeparator(s *Settings, v string) error {
	words := []string{v}
	if v != "." && v != "/" {
		var err error
		if words, err = parseWords(v); err != nil {
			return errors.New(`it is not a list such as [".", "/"]`)
		}
	}
	var all string
	for _, w := range words {
		switch {
		case w != "." && w != "/":
			return fmt.Errorf(`%q is no separator: they are "." and "/"`, w)
		case strings.Contains(all, w):
			return fmt.Errorf("%q is there twice", w)
		}
		all += w
	}
	if all == "" {
		return errors.New(`it is empty: at least "." or "/" separates`)
	}
	s.Config.Destinations.Separator = all
	return nil
}

func getSeparator(s *Settings) string {
	return inBrackets(strings.Split(s.Config.Destinations.Separator, ""))
}

// separators are those of d.
func (d *Destinations) separators() pattern.Separators {
	switch d.Separator {
	case ".":
		return pattern.Dots
	case "/":
		return pattern.Slashes
	}
	return pattern.Both
}
