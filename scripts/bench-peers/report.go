//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stompserver/scripts/internal/trial"
)

// A table holds the values of all rounds.
type table struct {
	field  []*runner
	work   []*row
	values map[*row]map[*runner][]value
}

func newTable(field []*runner, work []*row) *table {
	t := &table{field: field, work: work, values: map[*row]map[*runner][]value{}}
	for _, w := range work {
		t.values[w] = map[*runner][]value{}
	}
	return t
}

func (t *table) add(w *row, r *runner, v value) {
	t.values[w][r] = append(t.values[w][r], v)
}

// markdown is the table and how it was made.
func (t *table) markdown(o *options) string {
	var b strings.Builder
	b.WriteString("| work |")
	for _, r := range t.field {
		fmt.Fprintf(&b, " %s |", r.peer.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(t.field)) + "\n")
	var flaws []string
	for _, w := range t.work {
		fmt.Fprintf(&b, "| %s |", w.title)
		for _, r := range t.field {
			v := median(t.values[w][r])
			mark := ""
			if v.flaw != "" {
				flaws = append(flaws, fmt.Sprintf("%s, %s: %s", r.peer.title, w.title, v.flaw))
				mark = fmt.Sprintf(" [%d]", len(flaws))
			}
			if strings.HasPrefix(v.note, "failed: ") {
				flaws = append(flaws, fmt.Sprintf("%s, %s: %s", r.peer.title, w.title, strings.TrimPrefix(v.note, "failed: ")))
				v.note, mark = "failed", fmt.Sprintf(" [%d]", len(flaws))
			}
			fmt.Fprintf(&b, " %s%s |", w.spell(v), mark)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nMessages delivered, or bytes of bodies, are per second of CPU time the broker spent (in brackets: per second); " +
		"latencies are p50 / p99 in ms.\n\n")
	for i, f := range flaws {
		fmt.Fprintf(&b, "%d. %s\n", i+1, f)
	}
	if len(flaws) > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "Made %s on %s; %d round(s) of %v after %v of warm-up, medians.\n", time.Now().Format(time.DateOnly), trial.Machine(), o.rounds, o.duration, o.warmup)
	for _, r := range t.field {
		fmt.Fprintf(&b, "- %s: %s\n", r.peer.title, r.peer.version(o))
	}
	return b.String()
}

// median is the one in the middle of the values that are some, by their main part.
func median(vs []value) value {
	vs = slices.Clone(vs)
	good := slices.DeleteFunc(slices.Clone(vs), func(v value) bool { return v.note != "" })
	if len(good) == 0 {
		return vs[0]
	}
	slices.SortFunc(good, func(a, b value) int {
		switch {
		case a.main < b.main:
			return -1
		case a.main > b.main:
			return 1
		}
		return 0
	})
	return good[len(good)/2]
}

func (w *row) spell(v value) string {
	if v.note != "" {
		return v.note
	}
	switch w.unit {
	case perCPU:
		return fmt.Sprintf("%s (%s)", trial.Short(v.main), trial.Short(v.more))
	case bytesCPU:
		return trial.Short(v.main) + "B"
	case latency:
		return fmt.Sprintf("%.3g / %.3g", v.main, v.more)
	case perConn:
		return fmt.Sprintf("%.1f KiB", v.main)
	}
	return fmt.Sprintf("%.0f ms", v.main)
}
