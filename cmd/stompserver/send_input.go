package main

import (
	"context"
	"errors"
	"io"
	"runtime"
)

// A promptReader reads from something that may have nothing to say for hours, and ends
// with the error of its context as soon as that is over: what waits in a read of a pipe or
// a terminal cannot be called back, so that it is left waiting, with a buffer of its own.
type promptReader struct {
	ctx    context.Context
	chunks <-chan chunk
	rest   []byte // read and not yet handed on
	err    error  // what follows rest
}

type chunk struct {
	data []byte
	err  error
}

// newPromptReader begins to read in, one buffer ahead. The goroutine ends with the input,
// with ctx, or, if it waits for input then, with the process.
func newPromptReader(ctx context.Context, in io.Reader) *promptReader {
	chunks := make(chan chunk)
	go func() {
		for {
			buf := make([]byte, 64<<10)
			n, err := in.Read(buf)
			select {
			case chunks <- chunk{buf[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return &promptReader{ctx: ctx, chunks: chunks}
}

func (r *promptReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	if len(r.rest) == 0 && r.err == nil {
		select {
		case c := <-r.chunks:
			r.rest, r.err = c.data, c.err
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
	n := copy(b, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) > 0 {
		return n, nil
	}
	return n, r.err
}

// inputError is an error of reading what is to be sent; an interrupt stays what it is.
func inputError(what string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return ioError(what, err)
}

// endOfInput is the key that ends what is typed.
var endOfInput = func() string {
	if runtime.GOOS == "windows" {
		return "Ctrl-Z and Return"
	}
	return "Ctrl-D"
}()
