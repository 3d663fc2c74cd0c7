package messageid_test

import (
	"strings"
	"testing"

	"stompserver/internal/ruby/messageid"
)

func TestTime(t *testing.T) {
	for id, want := range map[string]int64{
		"vm-1795418394-273907-2": 1795418394273, "a-b-0-001000-1": 1, "h-1-999999-": 1999,
		"": -1, "1-2-3": -1, "h-1795418394-2739-2": -1, "h-x-273907-2": -1, "h--000001-2": -1, "h-1795418394-+00001-2": 1795418394000,
	} {
		got, ok := messageid.Time(id)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %d, want %d", id, got, want)
		}
	}
}

func TestNew(t *testing.T) {
	for ms, want := range map[int64]string{0: "vm-0-000000-7", 1: "vm-0-001000-7", 1795418394273: "vm-1795418394-273000-7", 1795418394030: "vm-1795418394-030000-7"} {
		id := messageid.New("vm", ms, 7)
		if id != want {
			t.Errorf("%d: %s, want %s", ms, id, want)
		}
		if got, ok := messageid.Time(id); got != ms || !ok {
			t.Errorf("%s is of %d, want %d", id, got, ms)
		}
	}
}

func TestHost(t *testing.T) {
	if h := messageid.Host(); h == "" || len(h) > 100 || strings.ContainsAny(h, "-/ \n") {
		t.Errorf("%q", h)
	}
}
