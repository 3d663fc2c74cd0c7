package frame

import (
	"bytes"
	"strings"
)

// A Command is the first line of a frame.
type Command uint8

// The commands of STOMP 1.0 to 1.2, the client's first, then the server's.
const (
	Unknown Command = iota
	Connect
	Stomp
	Send
	Subscribe
	Unsubscribe
	Begin
	Commit
	Abort
	Ack
	Nack
	Disconnect
	Connected
	Message
	Receipt
	Error
)

var commandNames = [...]string{
	Unknown:     "UNKNOWN",
	Connect:     "CONNECT",
	Stomp:       "STOMP",
	Send:        "SEND",
	Subscribe:   "SUBSCRIBE",
	Unsubscribe: "UNSUBSCRIBE",
	Begin:       "BEGIN",
	Commit:      "COMMIT",
	Abort:       "ABORT",
	Ack:         "ACK",
	Nack:        "NACK",
	Disconnect:  "DISCONNECT",
	Connected:   "CONNECTED",
	Message:     "MESSAGE",
	Receipt:     "RECEIPT",
	Error:       "ERROR",
}

// String spells the command as it stands on the wire.
func (c Command) String() string {
	if int(c) < len(commandNames) {
		return commandNames[c]
	}
	return commandNames[Unknown]
}

// parseCommand reads a command line; the case does not matter, as in the Ruby server.
func parseCommand(line []byte) Command {
	switch string(line) {
	case "SEND":
		return Send
	case "ACK":
		return Ack
	case "MESSAGE":
		return Message
	case "RECEIPT":
		return Receipt
	case "NACK":
		return Nack
	case "SUBSCRIBE":
		return Subscribe
	case "UNSUBSCRIBE":
		return Unsubscribe
	case "BEGIN":
		return Begin
	case "COMMIT":
		return Commit
	case "ABORT":
		return Abort
	}
	line = bytes.TrimSpace(line)
	for c := Connect; int(c) < len(commandNames); c++ {
		if len(commandNames[c]) == len(line) && strings.EqualFold(commandNames[c], string(line)) {
			return c
		}
	}
	return Unknown
}
