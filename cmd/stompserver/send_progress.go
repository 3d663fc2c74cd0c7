package main

import (
	"fmt"
	"io"
	"strconv"
	"time"
)

// A progress is one line on standard error that is written over and over. It shows only
// at a terminal, and only once the work has lasted a while.
type progress struct {
	w      io.Writer // nil: not shown
	groups bool      // thousands are set apart: standard output is a terminal
	begin  time.Time
	last   time.Time
	shown  bool
}

func newProgress(g *globals) *progress {
	p := &progress{begin: time.Now(), groups: isTerminal(g.Stdout)}
	if !g.Quiet && isTerminal(g.Stderr) {
		p.w = g.Stderr
	}
	return p
}

// show replaces the line, a few times a second at most.
func (p *progress) show(format string, args ...any) {
	now := time.Now()
	if p.w == nil || now.Sub(p.begin) < time.Second || now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

// clear takes the line away.
func (p *progress) clear() {
	if p.shown {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// count spells n, with commas at a terminal.
func (p *progress) count(n int64) string {
	s := strconv.FormatInt(n, 10)
	if !p.groups {
		return s
	}
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// things is "1 message" or "2,000 messages".
func (p *progress) things(n int64, one string) string { return p.count(n) + " " + plural(n, one) }

// things is "1 message" or "2000 messages".
func things(n int, one string) string { return new(progress).things(int64(n), one) }

func plural(n int64, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}
