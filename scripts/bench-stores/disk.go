//go:build linux

package main

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A disk writes records into a file whose room is allocated and was written before, and
// begins it again when it is full: no server can write less, or into an easier place.
type disk struct {
	file *os.File
	pos  int64
	buf  []byte
}

const diskSize = 64 << 20

func newDisk(path string) (*disk, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < diskSize; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros, at); err != nil {
			return nil, err
		}
	}
	return &disk{file: f}, f.Sync()
}

// write has buf on the disk when it returns.
func (d *disk) write(buf []byte) error {
	if d.pos+int64(len(buf)) > diskSize {
		d.pos = 0
	}
	if _, err := unix.Pwrite(int(d.file.Fd()), buf, d.pos); err != nil {
		return err
	}
	d.pos += int64(len(buf)+7) &^ 7
	return unix.Fdatasync(int(d.file.Fd()))
}

// loop writes record after record.
func (d *disk) loop(record []byte) func(context.Context, time.Duration) (int64, time.Duration, error) {
	return func(_ context.Context, t time.Duration) (int64, time.Duration, error) {
		n, begin := int64(0), time.Now()
		for ; time.Since(begin) < t; n++ {
			if err := d.write(record); err != nil {
				return 0, 0, err
			}
		}
		return n, time.Since(begin), nil
	}
}

// A committer writes what gathers while it writes.
type committer struct {
	disk *disk
	mu   sync.Mutex
	todo []entry
	wake chan struct{}
	err  error
}

type entry struct {
	record []byte
	done   chan struct{}
}

func newCommitter(d *disk) *committer { return &committer{disk: d, wake: make(chan struct{}, 1)} }

// commit returns when record is on the disk. Done is the caller's own channel.
func (c *committer) commit(record []byte, done chan struct{}) {
	c.mu.Lock()
	c.todo = append(c.todo, entry{record, done})
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	<-done
}

// run serves until wake is closed.
func (c *committer) run() {
	var group []entry
	for range c.wake {
		c.mu.Lock()
		group, c.todo = c.todo, group[:0]
		c.mu.Unlock()
		buf := c.disk.buf[:0]
		for _, e := range group {
			buf = append(buf, e.record...)
		}
		if len(buf) > 0 && c.err == nil {
			c.err = c.disk.write(buf)
		}
		c.disk.buf = buf
		for _, e := range group {
			e.done <- struct{}{}
		}
	}
}

// together is a group commit of n goroutines.
func (d *disk) together(record []byte, n int) func(context.Context, time.Duration) (int64, time.Duration, error) {
	return func(_ context.Context, t time.Duration) (int64, time.Duration, error) {
		c := newCommitter(d)
		var all, writer sync.WaitGroup
		writer.Go(c.run)
		var count atomic.Int64
		begin := time.Now()
		for range n {
			all.Go(func() {
				k, done := int64(0), make(chan struct{}, 1)
				for ; time.Since(begin) < t; k++ {
					c.commit(record, done)
				}
				count.Add(k)
			})
		}
		all.Wait()
		took := time.Since(begin)
		close(c.wake)
		writer.Wait()
		return count.Load(), took, c.err
	}
}
