package message_test

import (
	"testing"
	"unsafe"

	"stompserver/internal/message"
)

// A message that is put into several queues takes memory once; one like most is no larger for it.
func TestSpread(t *testing.T) {
	m := message.Text("/topic/a", "x", 1)
	for range 2 {
		if !m.Keep() || !m.Leave() {
			t.Error("each queue has a message of its own, if it is not spread")
		}
	}
	s := m.Spread()
	for i, want := range []bool{true, false, false} { // in three queues, and out of them
		if got := s.Keep(); got != want {
			t.Errorf("queue %d takes memory: %v", i, got)
		}
	}
	for i, want := range []bool{false, false, true} {
		if got := s.Leave(); got != want {
			t.Errorf("queue %d gives memory back: %v", i, got)
		}
	}
	if string(s.Body()) != "x" || s.Destination() != m.Destination() || s.Size() != m.Size() || s.Arrived() != 1 || s.Options().Priority != message.DefaultPriority {
		t.Errorf("it is another message: %+v", s)
	}
	if n := unsafe.Sizeof(*m); unsafe.Sizeof(uintptr(0)) == 8 && n > 96 {
		t.Errorf("a message takes %d bytes, and so 112", n)
	}
}
