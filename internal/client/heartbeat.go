package client

import (
	"strconv"
	"strings"
	"time"
)

// negotiate finds how often each side sends heart-beats (STOMP 1.2, "Heart-beating"): the
// slower of what one can and the other wants, and none if either says 0. server is the
// heart-beat header of CONNECTED.
func negotiate(own time.Duration, server string) (send, receive time.Duration) {
	can, wants, ok := strings.Cut(server, ",")
	if !ok || own <= 0 {
		return 0, 0
	}
	slower := func(s string) time.Duration {
		ms, err := strconv.ParseUint(strings.TrimSpace(s), 10, 31)
		if err != nil || ms == 0 {
			return 0
		}
		return max(own, time.Duration(ms)*time.Millisecond)
	}
	return slower(wants), slower(can)
}

// tolerance is how long the server may be silent before it counts as gone.
func tolerance(every time.Duration) time.Duration { return 2*every + time.Second }

// beat sends a heart-beat whenever nothing else was sent for a while.
func (c *Conn) beat() {
	// A little early: the server measures with its own clock.
	every := c.sendEvery * 4 / 5
	t := time.NewTimer(every)
	defer t.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-t.C:
		}
		idle := time.Since(time.Unix(0, c.written.Load()))
		if idle >= every {
			if c.write([]byte{'\n'}) != nil {
				return
			}
			idle = 0
		}
		t.Reset(every - idle)
	}
}
