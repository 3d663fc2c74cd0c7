package session_test

import (
	"strings"
	"testing"
	"time"

	"stompserver/internal/session"
	"stompserver/test/transcript"
)

// TestTrailingLF: a line feed follows the NUL of every frame, or of none, whatever its kind and size.
func TestTrailingLF(t *testing.T) {
	for name, bare := range map[string]bool{"with": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, session.Config{NoTrailingLF: bare}, func(t *testing.T, _ *server, dial func() *transcript.Peer) {
				p := dial()
				ears := listen(p)
				large := strings.Repeat("x", 100<<10)
				p.Send("CONNECT\naccept-version:1.1\n\n^@SUBSCRIBE\nid:0\ndestination:/queue/a\nreceipt:s\n\n^@SUBSCRIBE\nid:1\ndestination:/topic/a\n\n^@")
				p.Send("SEND\ndestination:/queue/a\n\none^@SEND\ndestination:/topic/a\nk\\c:v\n\ntwo^@")
				p.Send("SEND\ndestination:/queue/a\n\n" + large + "^@SEND\ndestination:/topic/a\n\n" + large + "^@NACK\nid:9-9\nreceipt:r\n\n^@")
				time.Sleep(20 * time.Second)
				text, over := ears.heard()
				ends, fed := strings.Count(text, "\x00"), strings.Count(text, "\x00\n")
				if !over || ends != 7 {
					t.Fatalf("closed %v, %d frames: %q", over, ends, strings.ReplaceAll(text, large, "large"))
				}
				if bare && fed != 0 || !bare && fed != ends {
					t.Errorf("%d of %d frames end with a line feed", fed, ends)
				}
			})
		})
	}
}
