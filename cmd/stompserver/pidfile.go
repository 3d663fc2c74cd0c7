package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A pidFile holds the decimal process id, without a newline, while the server runs. It is
// locked as long, so that one left behind by a crash is told from a live one.
type pidFile struct {
	path string
	f    *os.File
}

var errRunning = errors.New("a server is running already")

// writePIDFile makes the pid file, or fails with errRunning if a live server has it.
func writePIDFile(path string) (*pidFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		f.Close()
		return nil, err
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	if !lockFile(f) || pid > 0 && pid != os.Getpid() && isServer(pid) {
		f.Close()
		return nil, fmt.Errorf("%w as process %d", errRunning, pid)
	}
	if err = f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &pidFile{path, f}, nil
}

// remove ends the pid file's time.
func (p *pidFile) remove() {
	if p == nil {
		return
	}
	os.Remove(p.path)
	p.f.Close()
}
