//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	ours := &runner{peer: &peer{title: "ours", version: func(*options) string { return "v1" }}}
	other := &runner{peer: &peer{title: "other", version: func(*options) string { return "v2" }}}
	queue, lat := &row{title: "queue", unit: perCPU}, &row{title: "latency", unit: latency}
	tab := newTable([]*runner{ours, other}, []*row{queue, lat})
	tab.add(queue, ours, value{main: 3e6, more: 2e6})
	tab.add(queue, ours, value{main: 1e6, more: 2e6})
	tab.add(queue, ours, value{main: 2.19e6, more: 2.1e6, flaw: "lost 3"})
	tab.add(queue, other, value{note: "failed: it hung"})
	tab.add(lat, ours, value{main: 0.0854, more: 1.23})
	tab.add(lat, other, value{note: "no acks"})
	got := tab.markdown(&options{rounds: 3})
	for _, want := range []string{
		"| work | ours | other |\n|---|---|---|\n",
		"| queue | 2.19 M (2.1 M) [1] | failed [2] |\n",
		"| latency | 0.0854 / 1.23 | no acks |\n",
		"1. ours, queue: lost 3\n2. other, queue: it hung\n",
		"- ours: v1\n- other: v2\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
