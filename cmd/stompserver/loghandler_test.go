package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
)

func TestTextHandler(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("", 3600))
	for _, tt := range []struct {
		name  string
		level slog.Level
		msg   string
		attrs []slog.Attr
		want  string
	}{
		{"plain", slog.LevelInfo, "started", nil, "2026-01-02T02:04:05.678Z INFO started"},
		{"attributes", slog.LevelDebug, "connection opened", []slog.Attr{slog.String("id", "c-17"), slog.String("addr", "10.0.0.7:51022"), slog.Int("n", 2)},
			"2026-01-02T02:04:05.678Z DEBUG connection opened  id=c-17 addr=10.0.0.7:51022 n=2"},
		{"quotes", slog.LevelWarn, "x", []slog.Attr{slog.String("a", "b c"), slog.String("d", ""), slog.String("e", `"`), slog.Any("err", errors.New("f g"))},
			`2026-01-02T02:04:05.678Z WARN x  a="b c" d="" e="\"" err="f g"`},
		{"a client cannot end the line", slog.LevelInfo, "x\n2026", []slog.Attr{slog.String("user", "a\nb\x1b[31m")},
			`2026-01-02T02:04:05.678Z INFO x\n2026  user="a\nb\x1b[31m"`},
		{"group", slog.LevelInfo, "x", []slog.Attr{slog.Group("g", slog.Int("a", 1))}, "2026-01-02T02:04:05.678Z INFO x  g.a=1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			r := slog.NewRecord(at, tt.level, tt.msg, 0)
			r.AddAttrs(tt.attrs...)
			if err := newTextHandler(&b, slog.LevelDebug).Handle(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != tt.want+"\n" {
				t.Errorf("got  %swant %s", got, tt.want)
			}
		})
	}
}

var logLine = regexp.MustCompile(`^(?:(\d{4}-\S+Z) )?([A-Z]+) (.*?)(?:  (.*))?$`)

func TestTextHandlerBySlogtest(t *testing.T) {
	var b bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		b.Reset()
		return newTextHandler(&b, slog.LevelInfo)
	}, func(t *testing.T) map[string]any {
		m := logLine.FindStringSubmatch(strings.TrimSuffix(b.String(), "\n"))
		if m == nil {
			t.Fatalf("%q is not a line of the log", b.String())
		}
		all := map[string]any{"level": m[2], "msg": m[3]}
		if m[1] != "" {
			all["time"] = m[1]
		}
		for _, pair := range strings.Fields(m[4]) {
			key, value, _ := strings.Cut(pair, "=")
			in := all
			parts := strings.Split(key, ".")
			for _, p := range parts[:len(parts)-1] {
				if in[p] == nil {
					in[p] = map[string]any{}
				}
				in = in[p].(map[string]any)
			}
			in[parts[len(parts)-1]] = value
		}
		return all
	})
}

func TestLogFileRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	l, err := openLogFile(path, 10, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one\n", "two\n", "three\n", "a line that is too long\n", "four\n", "five\n"} {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	l.f.Close()
	for name, want := range map[string]string{"": "four\nfive\n", ".1": "a line that is too long\n", ".2": "three\n"} {
		got, err := os.ReadFile(path + name)
		if err != nil || string(got) != want {
			t.Errorf("a.log%s is %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("more are kept than wanted")
	}
}

func TestLogFileCutOffByAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	l, err := openLogFile(path, 10, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer l.f.Close()
	for _, line := range []string{"123456789\n", "after\n"} {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if line != "after\n" {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "after\n" {
		t.Errorf("a.log is %q, %v", got, err)
	}
	if _, err := os.Stat(path + ".1"); err == nil {
		t.Error("an empty file was rotated")
	}
}
