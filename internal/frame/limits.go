package frame

import (
	"fmt"
	"math"
)

// Limits bound what a client may send. 0 is the default.
type Limits struct {
	Command    int // bytes of the command line; default 64
	HeaderLine int // bytes of one header line; default 64 KiB
	Headers    int // header lines of a frame; default 1000
	Body       int // bytes of a body; default 64 MiB
	Frame      int // bytes of a whole frame, as before a login; default no bound
}

func (l Limits) withDefaults() Limits {
	set := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	set(&l.Command, 64)
	set(&l.HeaderLine, 64<<10)
	set(&l.Headers, 1000)
	set(&l.Body, 64<<20)
	set(&l.Frame, math.MaxInt)
	return l
}

// A LimitError says which limit a frame goes past, by its name in the configuration.
type LimitError struct {
	Limit string
	Max   int
}

func (e *LimitError) Error() string { return fmt.Sprintf("frame: past %s (%d)", e.Limit, e.Max) }

// A SyntaxError says what is wrong with a frame, in words for who sent it.
type SyntaxError struct{ Reason string }

func (e *SyntaxError) Error() string { return "frame: " + e.Reason }

func short(b []byte) []byte { return b[:min(len(b), 80)] }
