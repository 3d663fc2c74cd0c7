// Package websocket is the server's side of WebSocket (RFC 6455) with permessage-deflate
// (RFC 7692), over bytes: it does no I/O and knows no STOMP.
//
// Accept answers the request that opens a connection. Reader takes the frames of a client
// apart in the buffer they were read into: what they carry is moved to the front, and no byte
// is copied elsewhere unless it was compressed. Framer puts a frame around bytes where they lie.
// So a stream that runs inside a WebSocket costs little more than one beside it.
//
// Nothing here is for more than one goroutine at a time.
package websocket

import (
	"errors"
	"fmt"
)

// The opcodes of frames (RFC 6455, section 5.2).
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

const (
	finBit  = 0x80
	rsv1Bit = 0x40
	maskBit = 0x80

	maxControl = 125 // bytes that a control frame may carry
)

// Why a connection is closed (RFC 6455, section 7.4.1).
const (
	CloseNormal   = 1000
	CloseGoing    = 1001
	CloseProtocol = 1002
	CloseNoStatus = 1005 // stands for a close frame without a code; never sent
	CloseInvalid  = 1007
	ClosePolicy   = 1008
	CloseTooBig   = 1009
	CloseInternal = 1011
)

// A CloseError is returned once the client closed, and then Code is what it said, or once it
// did what it must not, and then Code is what to answer.
type CloseError struct {
	Code   int
	Reason string // for people; empty if the client closed without one
	Ours   bool   // the client broke a rule, and did not close
}

func (e *CloseError) Error() string {
	who := "the client closed"
	if e.Ours {
		who = "the client broke a rule of WebSocket"
	}
	if e.Reason == "" {
		return fmt.Sprintf("websocket: %s (%d)", who, e.Code)
	}
	return fmt.Sprintf("websocket: %s (%d): %s", who, e.Code, e.Reason)
}

func broken(code int, reason string) error {
	return &CloseError{Code: code, Reason: reason, Ours: true}
}

// AsClose returns the CloseError in err, or nil.
func AsClose(err error) *CloseError {
	var c *CloseError
	if errors.As(err, &c) {
		return c
	}
	return nil
}

// known reports whether a client may say that it closes for this reason.
func known(code int) bool {
	switch {
	case code >= 3000 && code < 5000:
		return true
	case code == 1004, code == 1005, code == 1006:
		return false
	}
	return code >= 1000 && code <= 1014
}
