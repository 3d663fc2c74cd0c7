package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// A textHandler writes an event a line:
//
//	2026-01-02T03:04:05.678Z DEBUG connection opened  id=c-17 addr=10.0.0.7:51022
type textHandler struct {
	level  slog.Leveler
	prefix string // of keys: the open groups
	attrs  string // those of WithAttrs, written out

	mu *sync.Mutex // guards w, one line at a time
	w  io.Writer
}

func newTextHandler(w io.Writer, level slog.Leveler) *textHandler {
	return &textHandler{level: level, mu: new(sync.Mutex), w: w}
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
		b = append(b, ' ')
	}
	b = append(b, r.Level.String()...)
	b = append(b, ' ')
	b = append(b, oneLine(r.Message)...)
	start := len(b)
	b = append(b, h.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = appendAttr(b, h.prefix, a)
		return true
	})
	if len(b) > start { // a second space ends the message
		b = append(b, 0)
		copy(b[start+1:], b[start:])
		b[start] = ' '
	}
	b = append(b, '\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b)
	return err
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n, b := *h, []byte(h.attrs)
	for _, a := range attrs {
		b = appendAttr(b, h.prefix, a)
	}
	n.attrs = string(b)
	return &n
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	n := *h
	n.prefix += name + "."
	return &n
}

func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, in := range v.Group() {
			b = appendAttr(b, prefix, in)
		}
		return b
	}
	if a.Key == "" && v.Any() == nil {
		return b
	}
	b = append(b, ' ')
	b = append(b, oneLine(prefix+a.Key)...)
	b = append(b, '=')
	s := v.String()
	switch x := v.Any().(type) {
	case time.Time:
		s = x.UTC().Format("2006-01-02T15:04:05.000Z")
	case error:
		s = x.Error()
	case []byte:
		s = fmt.Sprintf("%q", x)
	}
	if s == "" || strings.ContainsFunc(s, needsQuotes) {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}

func needsQuotes(r rune) bool {
	return r == ' ' || r == '"' || r == '=' || !unicode.IsPrint(r) || r == unicode.ReplacementChar
}

// oneLine keeps what a client sent from ending the line.
func oneLine(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}
