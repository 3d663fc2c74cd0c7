package main

import (
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"

	"stompserver"
)

// A logging is the log of a server and what can be changed about it while it runs.
type logging struct {
	*slog.Logger
	level slog.LevelVar
	file  *logFile // nil: standard error
}

// newLogging opens the log that s asks for.
func newLogging(s *stompserver.Settings, stderr io.Writer) (*logging, error) {
	l := &logging{}
	w := stderr
	if s.LogFile != "" {
		f, err := openLogFile(s.LogFile, s.LogRotate, s.LogKeep)
		if err != nil {
			return nil, err
		}
		l.file, w = f, f
	}
	l.setLevel(s.LogLevel)
	if s.LogFormat == "json" {
		l.Logger = slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: &l.level}))
	} else {
		l.Logger = slog.New(newTextHandler(w, &l.level))
	}
	return l, nil
}

func (l *logging) setLevel(name string) {
	var level slog.Level
	if level.UnmarshalText([]byte(name)) == nil {
		l.level.Set(level)
	}
}

// reopen opens the log file anew, for a logrotate that has moved it away.
func (l *logging) reopen() error {
	if l.file == nil {
		return nil
	}
	return l.file.reopen()
}

// A logFile is appended to. When it would grow past max it becomes FILE.1, what was
// FILE.1 becomes FILE.2, and so on up to keep.
type logFile struct {
	path string
	max  int64 // 0: never rotates
	keep int

	mu   sync.Mutex // guards the rest
	f    *os.File
	size int64
}

func openLogFile(path string, max int64, keep int) (*logFile, error) {
	l := &logFile{path: path, max: max, keep: keep}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l, l.open()
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	if l.f != nil {
		l.f.Close()
	}
	l.f, l.size = f, 0
	if st, err := f.Stat(); err == nil {
		l.size = st.Size()
	}
	return nil
}

func (l *logFile) reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open()
}

// Write appends one event. An old file that cannot be moved is written on.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max > 0 && l.size > 0 && l.size+int64(len(p)) > l.max {
		l.rotate()
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}

func (l *logFile) rotate() {
	// Somebody may have cut the file off meanwhile, as logrotate's copytruncate does.
	if st, err := l.f.Stat(); err == nil && st.Size() < l.size {
		l.size = st.Size()
		return
	}
	old := func(i int) string { return l.path + "." + strconv.Itoa(i) }
	os.Remove(old(l.keep))
	for i := l.keep - 1; i >= 1; i-- {
		os.Rename(old(i), old(i+1))
	}
	if l.keep == 0 {
		os.Remove(l.path)
	} else {
		os.Rename(l.path, old(1))
	}
	if l.open() != nil {
		l.size = 0 // tries again a whole file later
	}
}
