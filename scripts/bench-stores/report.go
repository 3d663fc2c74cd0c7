//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"stompserver/scripts/internal/trial"
)

// A book holds what was measured, by row and by who did it, in the order of the rounds.
type book struct {
	values map[[2]string][]float64
	notes  []string // what was not right
}

func newBook() *book { return &book{values: make(map[[2]string][]float64)} }

func (b *book) add(row, who string, v float64) {
	b.values[[2]string{row, who}] = append(b.values[[2]string{row, who}], v)
}

// note says what was not right, now and below the table.
func (b *book) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	trial.Progress(format, args...)
}

// median is 0 if nothing was measured.
func (b *book) median(row, who string) float64 { return median(b.values[[2]string{row, who}]) }

// ratio is the median of what two made of the same rounds.
func (b *book) ratio(row, who, limitRow, limit string) float64 {
	vs, ls := b.values[[2]string{row, who}], b.values[[2]string{limitRow, limit}]
	var rs []float64
	for i := range min(len(vs), len(ls)) {
		if ls[i] > 0 {
			rs = append(rs, vs[i]/ls[i])
		}
	}
	return median(rs)
}

func median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	vs = slices.Sorted(slices.Values(vs))
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
}

// A line is a row of the table.
type line struct {
	title string
	cell  func(b *book, who string) string // "" if there is nothing to say
}

func (b *book) lines(o *options) []line {
	rate := func(row string) func(*book, string) string {
		return func(b *book, who string) string {
			if v := b.median(row, who); v > 0 {
				return trial.Short(v)
			}
			return ""
		}
	}
	against := func(row, limitRow, limit string) func(*book, string) string {
		return func(b *book, who string) string {
			if limit == "" {
				return ratio(b.ratio(row, who, limitRow, who))
			}
			if who == limit {
				return ""
			}
			return ratio(b.ratio(row, who, limitRow, limit))
		}
	}
	perCPU := func(row string) func(*book, string) string {
		return func(b *book, who string) string {
			if v := b.median(row, who); v > 0 {
				return fmt.Sprintf("%s (%s)", trial.Short(v), trial.Short(b.median(row+" rate", who)))
			}
			return ""
		}
	}
	number := func(row, form string) func(*book, string) string {
		return func(b *book, who string) string {
			if len(b.values[[2]string{row, who}]) == 0 {
				return ""
			}
			return fmt.Sprintf(form, b.median(row, who))
		}
	}
	limit := func(row, who string) string { return trial.Short(b.median(row, who)) }
	return []line{
		{"safe queue, per CPU-second (per second)", perCPU("safe")},
		{"queue that keeps up, no receipts, per CPU-second (per second)", perCPU("keepup")},
		{"… of the memory store, per CPU-second", against("keepup", "keepup", "memory")},
		{"… of the memory store, per second", against("keepup rate", "keepup rate", "memory")},
		{"1 connection, SEND and RECEIPT", rate("one")},
		{fmt.Sprintf("… of writes and syncs alone (%s)", limit("one", "disk")), against("one", "one", "disk")},
		{"… of the memory store", against("one", "one", "memory")},
		{fmt.Sprintf("… of a bare server that writes and syncs (%s)", limit("one", "echo+disk")), against("one", "one", "echo+disk")},
		{"… of writes and syncs alone, where server and client are one process", func(b *book, who string) string {
			return ratio(b.ratio("one", embeddedKey(who), "one", "disk"))
		}},
		{"64 connections, SEND and RECEIPT", rate("many")},
		{fmt.Sprintf("… of a group commit alone (%s)", limit("many", "disk")), against("many", "many", "disk")},
		{"… of the memory store", against("many", "many", "memory")},
		{fmt.Sprintf("… of a bare server with a group commit (%s)", limit("many", "echo+disk")), against("many", "many", "echo+disk")},
		{"messages a transaction, of 64 connections", number("rows", "%.1f")},
		{"the library alone, with such transactions", rate("library")},
		{"64 connections, of the library alone", against("store", "library", "")},
		{fmt.Sprintf("backlog of %s: in, per CPU-second (per second)", trial.Short(float64(o.backlog))), perCPU("in")},
		{"… out, per CPU-second (per second)", perCPU("out")},
		{"… memory, bytes a message of the second half", number("memory", "%.0f")},
		{"… memory in all, MiB", number("resident", "%.0f")},
		{"… a stop, ms", number("stop", "%.0f")},
		{"… ready after a stop, ms", number("stopped", "%.0f")},
		{"… ready after SIGKILL, ms", number("killed", "%.0f")},
		{"1 connection, times the Ruby server's file store with fsync", times("ruby 1")},
		{"64 connections, times the Ruby server's file store with fsync", times("ruby 64")},
		{fmt.Sprintf("%s messages, 64 connections, times the same", trial.Short(float64(o.sustained()))), times("ruby long")},
		{fmt.Sprintf("%s messages, 1 connection with %s under way, times the same", trial.Short(float64(o.sustained())), trial.Short(sentAhead)), times("ruby ahead")},
		{"64 connections and a consumer, times the same", times("ruby passing")},
	}
}

func times(row string) func(*book, string) string {
	return func(b *book, who string) string {
		if v := b.ratio(row, who, row, "ruby"); v > 0 {
			return fmt.Sprintf("%.3g × %s", v, trial.Short(b.median(row, "ruby")))
		}
		return ""
	}
}

func ratio(v float64) string {
	if v <= 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", v)
}

// markdown is the table and how it was made.
func (b *book) markdown(o *options, stores []*runner) string {
	var text strings.Builder
	text.WriteString("| work |")
	for _, r := range stores {
		fmt.Fprintf(&text, " %s |", r.kind.title)
	}
	text.WriteString("\n|---|" + strings.Repeat("---|", len(stores)) + "\n")
	for _, l := range b.lines(o) {
		cells, some := "", false
		for _, r := range stores {
			c := l.cell(b, r.kind.key)
			some = some || c != ""
			if c == "" {
				c = "–"
			}
			cells += " " + c + " |"
		}
		if some {
			text.WriteString("| " + l.title + " |" + cells + "\n")
		}
	}
	fmt.Fprintf(&text, "\nMessages of %d bytes; rates are a second. A server that only answers, without a disk: %s a second on 1 connection, %s on 64.\n",
		size, trial.Short(b.median("one", "echo")), trial.Short(b.median("many", "echo")))
	fmt.Fprintf(&text, "\nMade %s on %s; %d rounds of %v, medians. %s", time.Now().Format(time.DateOnly), trial.Machine(), o.rounds, o.turn, trial.FirstLine(o.tool, "version"))
	for _, r := range stores {
		if r.db != nil {
			text.WriteString("; " + r.db.version)
		}
	}
	text.WriteString(".\n")
	for i, n := range b.notes {
		if i == 0 {
			text.WriteString("\n")
		}
		text.WriteString("- not measured: " + n + "\n")
	}
	return text.String()
}
