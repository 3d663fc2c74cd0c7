package client_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"stompserver/internal/client"
	"stompserver/internal/frame"
)

func TestSendFrom(t *testing.T) {
	dialogue(t, only12, func(s *script) {
		s.expect(connect12)
		s.answer(connected12)
		s.expect("SEND\ndestination:/queue/a\nnote:x\nreceipt:r-1\ncontent-length:4\n\na^@bc^@\n")
		s.answer("RECEIPT\nreceipt-id:r-1\n\n^@\n")
		s.expect("SEND\ndestination:/queue/a\nreceipt:r-2\ncontent-length:0\n\n^@\n")
		s.answer("RECEIPT\nreceipt-id:r-2\n\n^@\n")
	}, func(t *testing.T, c *client.Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		h := frame.Header{{Name: []byte("note"), Value: []byte("x")}}
		body := iotest.OneByteReader(strings.NewReader("a\x00bc and more"))
		if _, err := c.SendFrom(t.Context(), "/queue/a", h, body, 4); err != nil {
			t.Error(err)
		}
		if _, err := c.SendFrom(t.Context(), "/queue/a", nil, strings.NewReader(""), 0); err != nil {
			t.Error(err)
		}
	})
}

// TestSendFromHalfABody: what does not come to its end is not sent, and nothing can follow it.
func TestSendFromHalfABody(t *testing.T) {
	cut := errors.New("cut")
	for _, tt := range []struct {
		name string
		body io.Reader
		want error
	}{
		{"too short", strings.NewReader("ab"), io.ErrUnexpectedEOF},
		{"broken", io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(cut)), cut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dialogue(t, only12, func(s *script) {
				s.expect(connect12)
				s.answer(connected12)
				s.expect("SEND\ndestination:/queue/a\nreceipt:r-1\ncontent-length:4\n\nab")
				if n, err := s.conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
					s.t.Errorf("after half a body: %d bytes, %v", n, err)
				}
			}, func(t *testing.T, c *client.Conn, err error) {
				if err != nil {
					t.Fatal(err)
				}
				_, err = c.SendFrom(t.Context(), "/queue/a", nil, tt.body, 4)
				var body *client.BodyError
				if !errors.As(err, &body) || !errors.Is(err, tt.want) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
				if err := c.Send("/queue/a", nil, nil); err == nil {
					t.Error("the connection goes on")
				}
			})
		})
	}
}

// TestSendFromRefused: the answer of a server that wants no more of a body is heard.
func TestSendFromRefused(t *testing.T) {
	dialogue(t, only12, func(s *script) {
		s.expect(connect12)
		s.answer(connected12)
		s.expect("SEND\ndestination:/queue/a\nreceipt:r-1\ncontent-length:1000000\n\n")
		s.answer("ERROR\nmessage:Frame too large\nerror-code:frame-too-large\n\nno.^@\n")
	}, func(t *testing.T, c *client.Conn, err error) {
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.SendFrom(t.Context(), "/queue/a", nil, strings.NewReader(strings.Repeat("x", 1000000)), 1000000)
		var said *client.ServerError
		if !errors.As(err, &said) || said.Code != "frame-too-large" {
			t.Errorf("error %v, want the server's", err)
		}
	})
}
