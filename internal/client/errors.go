package client

import (
	"errors"
	"fmt"
	"strings"

	"stompserver/internal/frame"
)

var (
	// ErrClosed says that the connection was closed from this side.
	ErrClosed = errors.New("client: closed")
	// ErrServerLeft says that the server closed the connection without an ERROR.
	ErrServerLeft = errors.New("the server closed the connection")
	// ErrSilent says that the server's heart-beats stayed away.
	ErrSilent = errors.New("the server has gone silent: its heart-beat did not come")
)

// A DialError says that no server could be reached.
type DialError struct {
	Address string
	Err     error
}

func (e *DialError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.Address, e.Err) }
func (e *DialError) Unwrap() error { return e.Err }

// A ServerError is an ERROR frame.
type ServerError struct {
	Message   string // the message header
	Code      string // the error-code header, of servers that have it
	ReceiptID string // of the frame that caused it, if that asked for one
	Body      string
	Connect   bool // the answer to CONNECT: the login, or no common version
}

func newServerError(f *frame.Frame) *ServerError {
	return &ServerError{
		Message: f.Header.Value("message"), Code: f.Header.Value("error-code"),
		ReceiptID: f.Header.Value("receipt-id"), Body: string(f.Body),
	}
}

// Error makes one line of the frame.
func (e *ServerError) Error() string {
	text := strings.TrimSpace(e.Message)
	if body := strings.Join(strings.Fields(e.Body), " "); body != "" && body != text {
		if len(body) > 300 {
			body = body[:300] + "…"
		}
		if text == "" {
			text = body
		} else {
			text += ": " + body
		}
	}
	if e.Connect {
		return "the server refused the connection: " + text
	}
	return "the server said: " + text
}
