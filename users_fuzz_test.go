package stompserver

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzUsers: users and roles that can be read are printed so that they read the same, but for
// passcodes, which are not printed at all.
func FuzzUsers(f *testing.F) {
	for _, text := range []string{
		`[{name: app, allow: ["write /queue/jobs.*", "deny read /queue/a"]}]`,
		`[{name: boss, passcode: "$2a$04$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234", roles: [admin]}]`,
		`[{name: "a: b", passcode_file: "/run/secrets/a b", roles: [operator, "x, y"]}, {name: 'it''s', allow: []}]`,
		`[{name: "\u00fc", allow: ["read /topic/{user}.>"]}]`,
		`[]`, `[{}]`, `{name: a}`, `[{name: a}, {name: a}]`, "[{name: a, passcode: x}]", "[{name: \"\\n\"}]",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if users, err := parseUsers(text); err == nil {
			printed := formatUsers(users)
			for i, u := range users {
				if len(u.Passcode) > 3 && strings.Contains(printed, u.Passcode) {
					t.Errorf("%q prints a passcode: %s", text, printed)
				}
				users[i].Passcode = ""
			}
			again, err := parseUsers(formatUsers(users))
			if err != nil || !sameUsers(users, again) {
				t.Errorf("%q is printed as %s, which reads as %+v, %v", text, formatUsers(users), again, err)
			}
		}
		if roles, err := parseRoles(text); err == nil {
			again, err := parseRoles(formatRoles(roles))
			if err != nil || len(roles) != len(again) {
				t.Fatalf("%q is printed as %s: %v", text, formatRoles(roles), err)
			}
			for i := range roles {
				if roles[i].Name != again[i].Name || strings.Join(roles[i].Allow, "\n") != strings.Join(again[i].Allow, "\n") {
					t.Errorf("%+v became %+v", roles[i], again[i])
				}
			}
		}
	})
}

func sameUsers(a, b []User) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		for _, u := range []*User{&a[i], &b[i]} {
			if len(u.Allow) == 0 {
				u.Allow = nil
			}
			if len(u.Roles) == 0 {
				u.Roles = nil
			}
		}
		if !reflect.DeepEqual(a[i], b[i]) {
			return false
		}
	}
	return true
}
