package stompserver

import (
	"strings"
	"testing"
)

func TestBadCopies(t *testing.T) {
	for text, want := range map[string]string{
		"{from: /topic/a}":                                          "it is not a list",
		"[{to: [/queue/a]}]":                                        "entry 1: from is missing",
		"[{from: /topic/a}]":                                        "entry 1: to is missing",
		"[{from: /topic/a, to: []}]":                                "to is missing",
		"[{from: /topic/a, to: {a: b}}]":                            "to takes names",
		"[{from: [/topic/a], to: /queue/a}]":                        "from takes one name",
		"[{from: /topic/a, to: /queue/a, when: now}]":               "when is not known",
		"[{from: \"/topic/>.a\", to: /queue/a}]":                    "> may only be the last part",
		"[{from: \"/queue/a,/queue/b\", to: /queue/c}]":             "not one queue or topic",
		"[{from: /temp-queue/a, to: /queue/c}]":                     "not one queue or topic",
		"[{from: /queue/a, to: /queue/$dedupe}]":                    "not one queue or topic",
		"[{from: /queue/a, to: /topic/}]":                           "missing",
		"[{from: /queue/a, to: \"/topic/#\"}]":                      "can have *",
		"[{from: /queue/a, to: /b}, {from: /exchange/x/y, to: /c}]": "entry 2",
	} {
		if _, err := parseCopies(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// FuzzCopies: no text panics, and what is understood names where to go.
func FuzzCopies(f *testing.F) {
	f.Add("[{from: /topic/a.>, to: [/queue/a, \"/topic/*\"]}]")
	f.Add("[{from: /queue/a%2C*, to: jms.topic.x}]")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseCopies(text)
		if err != nil {
			return
		}
		for _, c := range all {
			if len(c.To) == 0 {
				t.Errorf("%q goes nowhere", text)
			}
		}
	})
}
