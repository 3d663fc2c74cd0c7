//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestRatios(t *testing.T) {
	b := newBook()
	for _, v := range []struct{ store, limit float64 }{{50, 100}, {30, 40}, {90, 100}} {
		b.add("one", "journal", v.store)
		b.add("one", "disk", v.limit)
	}
	b.add("one", "journal", 1) // a round that the limit did not finish
	if got := b.ratio("one", "journal", "one", "disk"); got != 0.75 {
		t.Errorf("the ratio of rounds is %v, want 0.75: that of medians is another", got)
	}
	if got := b.median("one", "journal"); got != 40 {
		t.Errorf("the median is %v, want 40", got)
	}
	if got := b.ratio("one", "journal", "one", "nobody"); got != 0 {
		t.Errorf("the ratio to nothing is %v", got)
	}
}

func TestRowsWithoutFiguresAreLeftOut(t *testing.T) {
	b := newBook()
	b.add("one", "journal", 50)
	b.add("one", "disk", 100)
	stores := []*runner{{kind: &kind{key: "memory", title: "memory"}}, {kind: &kind{key: "journal", title: "journal"}}}
	b.note("file, %s: nothing came", "safe")
	text := b.markdown(&options{tool: "true"}, stores)
	for _, want := range []string{"| 1 connection, SEND and RECEIPT | – | 50 |\n", "| … of writes and syncs alone (100) | – | 0.50 |\n", "\n- not measured: file, safe: nothing came\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "backlog") || strings.Contains(text, "64 connections, SEND") {
		t.Errorf("there are rows of what was not measured:\n%s", text)
	}
}
