//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	"stompserver/scripts/internal/trial"
)

// An echo is a process of this program that answers each frame once its bytes are on the disk,
// and does nothing else: what a server in Go, on this machine, could reach at best. With
// "solo" the goroutine of the connection writes; with "group" one writer writes what gathered;
// with "none" nothing is written.
type echo struct {
	*trial.Process
	port int
}

func startEcho(ctx context.Context, o *options, mode string) (*echo, error) {
	dir, err := os.MkdirTemp(o.dir, "echo-")
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &echo{}
	if e.port, err = trial.FreePort(); err != nil {
		return nil, err
	}
	cmd := exec.Command(self, "-echo", mode, fmt.Sprint("127.0.0.1:", e.port))
	cmd.Dir = dir
	if e.Process, err = trial.Start(ctx, cmd, dir, time.Minute, trial.Accepts(e.port)); err != nil {
		e.Kill()
		return nil, err
	}
	return e, nil
}

func (e *echo) addr() string { return fmt.Sprint("127.0.0.1:", e.port) }

func serveEcho(mode, addr string) error {
	var commit func(record []byte, done chan struct{}) error
	var d *disk
	if mode != "none" {
		var err error
		if d, err = newDisk("file"); err != nil {
			return err
		}
	}
	switch mode {
	case "solo":
		var mu sync.Mutex // nobody waits for it: there is one connection at a time
		commit = func(record []byte, _ chan struct{}) error {
			mu.Lock()
			defer mu.Unlock()
			return d.write(record)
		}
	case "group":
		c := newCommitter(d)
		go c.run() // as long as the process lives
		commit = func(record []byte, done chan struct{}) error { c.commit(record, done); return c.err }
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			_ = answer(conn, commit)
		}()
	}
}

func answer(conn net.Conn, put func([]byte, chan struct{}) error) error {
	buf, done := make([]byte, 64<<10), make(chan struct{}, 1)
	reply := []byte("RECEIPT\nreceipt-id:1\n\n\x00\n")
	for {
		have := 0
		for have == 0 || buf[have-1] != 0 {
			n, err := conn.Read(buf[have:])
			if err != nil {
				return err
			}
			have += n
		}
		if put != nil {
			if err := put(buf[:have], done); err != nil {
				return err
			}
		}
		if _, err := conn.Write(reply); err != nil {
			return err
		}
	}
}
