//go:build linux

package main

import (
	"context"
	"os"

	"stompserver"
)

// An embedded server runs in this process, as it does in the tests of a program in Go: the connection to it is
// one of TCP as any other, but the kernel has no process to wake for each frame and each RECEIPT.
type embedded struct {
	*stompserver.Server
	dir string
}

func embeddedKey(store string) string { return store + " embedded" }

func startEmbedded(ctx context.Context, o *options, queue string) (*embedded, error) {
	dir, err := os.MkdirTemp(o.dir, "embedded-")
	if err != nil {
		return nil, err
	}
	s, err := stompserver.New(stompserver.Config{Host: "127.0.0.1", Port: stompserver.AnyPort, Queue: queue, Storage: dir})
	if err != nil {
		return nil, err
	}
	if err := s.Start(ctx); err != nil {
		return nil, err
	}
	return &embedded{s, dir}, nil
}

func (e *embedded) addr() string { return e.Addrs()[0].String() }

func (e *embedded) close() {
	_ = e.Shutdown(context.Background())
	_ = os.RemoveAll(e.dir)
}
