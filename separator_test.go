package stompserver_test

import (
	"strings"
	"testing"

	"stompserver"
)

func TestSeparator(t *testing.T) {
	for _, test := range []struct {
		name, value, want string // as the configuration has it then, or an error
	}{
		{"both", `[".", "/"]`, `[".", "/"]`},
		{"in the other order", `["/", "."]`, `["/", "."]`},
		{"dots", `["."]`, `["."]`},
		{"a slash alone", `/`, `["/"]`},
		{"nothing", `[]`, `at least "." or "/" separates`},
		{"another", `[".", ":"]`, `":" is no separator`},
		{"two in one", `["./"]`, `"./" is no separator`},
		{"twice", `[".", "."]`, `is there twice`},
		{"no list", `{a: b}`, `not a list`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := load(t, "", []string{"STOMPSERVER_DESTINATIONS_SEPARATOR=" + test.value})
			if err != nil {
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("%s: %v, want %s", test.value, err, test.want)
				}
				return
			}
			for _, set := range stompserver.All() {
				if got := set.Value(s); set.Key == "destinations.separator" && got != test.want {
					t.Errorf("%s is %s, want %s", test.value, got, test.want)
				}
			}
		})
	}
	if _, err := stompserver.New(stompserver.Config{Destinations: stompserver.Destinations{Separator: ":"}}); err == nil || !strings.Contains(err.Error(), "separator") {
		t.Errorf("a Config with a colon: %v", err)
	}
}

// TestSeparatorOfRights: what permissions answers goes by the separators too.
func TestSeparatorOfRights(t *testing.T) {
	cfg := stompserver.Config{Auth: true, Users: []stompserver.User{{Name: "a", Allow: []string{"read /topic/a.*"}}}}
	for sep, want := range map[string][2]bool{"": {true, false}, "./": {true, false}, ".": {false, true}, "/": {false, false}} {
		cfg.Destinations.Separator = sep
		for i, dest := range []string{"/topic/a/b", "/topic/a.b/c"} {
			v, err := cfg.May(stompserver.Asked{User: "a"}, "read", dest)
			if err != nil || v.Allowed != want[i] {
				t.Errorf("separated at %q, %s: %v, %v", sep, dest, v, err)
			}
		}
	}
}
