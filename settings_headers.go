package stompserver

import (
	"fmt"
	"strings"
)

// header is a setting with the name of a header that messages get.
func (t Setting) header(of func(s *Settings) *string) *Setting {
	return t.with(func(s *Settings, v string) error {
		v = strings.TrimSpace(v)
		if strings.ContainsAny(v, ":\\\r\n\x00") || strings.EqualFold(v, "destination") || strings.EqualFold(v, "content-length") {
			return fmt.Errorf("%q cannot be the name of such a header", v)
		}
		*of(s) = v
		return nil
	}, func(s *Settings) string { return *of(s) })
}
