package session_test

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"stompserver/internal/session"
	"stompserver/test/webclient"
)

// TestShutdownTellsBrowsers: clients of WebSocket get their ERROR and then the close of a server that
// goes away, and are to come again at different times.
func TestShutdownTellsBrowsers(t *testing.T) {
	const n = 50
	s := newPort(t, session.Config{}, &session.Port{})
	var all []*webclient.Conn
	for i := range n {
		w := s.web(t, webclient.Options{Deflate: i%2 == 0})
		connectWeb(t, w)
		all = append(all, w)
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := contextFor(patience)
		defer cancel()
		done <- s.srv.Shutdown(ctx)
	}()
	times := make(map[int]bool)
	for _, w := range all {
		text := ""
		for {
			_, p, err := w.Message()
			if err != nil {
				break
			}
			text += string(p)
		}
		if !strings.HasPrefix(text, "ERROR\n") || !strings.Contains(text, "\nerror-code:shutting-down\n") {
			t.Fatalf("got %q", text)
		}
		m := regexp.MustCompile(`\nretry-after:(\d+)\n`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no retry-after in %q", text)
		}
		ms, _ := strconv.Atoi(m[1])
		if ms < 200 || ms > 200+n {
			t.Errorf("retry-after:%d", ms)
		}
		times[ms] = true
		if len(w.Closed) < 2 || binary.BigEndian.Uint16(w.Closed) != 1001 {
			t.Errorf("closed with %q, want 1001", fmt.Sprint(w.Closed))
		}
		_ = w.Close()
	}
	if len(times) < n/4 {
		t.Errorf("%d clients are told %d different times", n, len(times))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
