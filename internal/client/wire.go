package client

import (
	"bytes"
	"io"
	"math"

	"stompserver/internal/frame"
)

// A reader reads the frames of a server. Each is a copy: messages outlive the next read.
type reader struct {
	r io.Reader
	d frame.Decoder
}

// newReader reads from r. What a server may send has no limit but that of bodies: a frame
// it has already taken must not be the end of its consumer.
func newReader(r io.Reader, maxBody int) *reader {
	rd := &reader{r: r}
	rd.d.Init(frame.Limits{HeaderLine: 16 << 20, Headers: math.MaxInt, Body: maxBody})
	return rd
}

// next reads one frame; heart-beats between frames are passed over.
func (r *reader) next() (*frame.Frame, error) {
	for {
		var f frame.Frame
		err := r.d.Decode(&f)
		if err == nil {
			return copyFrame(&f), nil
		}
		if err != frame.ErrMore {
			return nil, err
		}
		r.d.Idle()
		n, err := r.r.Read(r.d.Space())
		r.d.Filled(n)
		if n == 0 && err != nil {
			if err == io.EOF && r.d.Buffered() > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

func copyFrame(f *frame.Frame) *frame.Frame {
	c := &frame.Frame{Command: f.Command, Name: bytes.Clone(f.Name), Body: f.Body, Header: make(frame.Header, len(f.Header))}
	if !f.Owned {
		c.Body = bytes.Clone(f.Body)
	}
	size := 0
	for _, h := range f.Header {
		size += len(h.Name) + len(h.Value)
	}
	text := make([]byte, 0, size) // one allocation for all fields
	keep := func(b []byte) []byte {
		at := len(text)
		text = append(text, b...)
		return text[at:len(text):len(text)]
	}
	for i, h := range f.Header {
		c.Header[i] = frame.Field{Name: keep(h.Name), Value: keep(h.Value)}
	}
	return c
}
