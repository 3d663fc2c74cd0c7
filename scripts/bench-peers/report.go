//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
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
	fmt.Fprintf(&b, "Made %s on %s; %d round(s) of %v after %v of warm-up, medians.\n", time.Now().Format(time.DateOnly), machine(), o.rounds, o.duration, o.warmup)
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
		return fmt.Sprintf("%s (%s)", short(v.main), short(v.more))
	case bytesCPU:
		return short(v.main) + "B"
	case latency:
		return fmt.Sprintf("%.3g / %.3g", v.main, v.more)
	case perConn:
		return fmt.Sprintf("%.1f KiB", v.main)
	}
	return fmt.Sprintf("%.0f ms", v.main)
}

// short spells a number with three digits.
func short(n float64) string {
	for _, s := range []struct {
		of   float64
		name string
	}{{1e9, " G"}, {1e6, " M"}, {1e3, " k"}} {
		if n >= s.of {
			return fmt.Sprintf("%.3g%s", n/s.of, s.name)
		}
	}
	return fmt.Sprintf("%.3g", n)
}

// machine says what kind of machine this is.
func machine() string {
	cpu := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if name, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				cpu = strings.TrimSpace(v)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), cpu, strings.TrimSpace(string(kernel)), runtime.Version())
}

const (
	tableBegin = "<!-- bench-peers begin -->\n"
	tableEnd   = "<!-- bench-peers end -->\n"
)

// replaceTable puts text between the marks in file.
func replaceTable(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(old, []byte(tableBegin))
	_, tail, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return errors.New(file + " has no place for the table")
	}
	out := string(head) + tableBegin + text + tableEnd + string(tail)
	return os.WriteFile(file, []byte(out), 0o644)
}
