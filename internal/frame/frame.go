// Package frame turns bytes into STOMP frames and back: commands, header fields, the
// escapes of each protocol version, content-length, NUL and the limits of each. It knows
// no broker, no connection and no clock, and does no I/O: its user brings the bytes.
package frame

// A Frame is one STOMP frame. A decoded one is a view into its decoder's buffer and holds
// until the decoder is used again.
type Frame struct {
	Command Command
	Name    []byte // the command line as it came; says what an Unknown command was
	Header  Header // the first of equal names counts
	Body    []byte // without the NUL that ends it

	// Plain says that no header byte needs escaping in any version: no backslash, no
	// CR, no colon but the one that ends each name. Such lines may be copied as they are.
	Plain bool

	// Owned says that Body is not a view: it was allocated for this frame alone (large
	// bodies are), has room for two more bytes behind it, and now belongs to the receiver.
	Owned bool
}
