package hostile_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestSpill: one who is asleep while 192 MiB are sent to its topic has them wait on the disk, not in
// memory, and gets all of them in order when it wakes. One who reads has them meanwhile.
func TestSpill(t *testing.T) {
	s := start(t, "STOMPSERVER_QUEUE=journal", "STOMPSERVER_LIMITS_OUTBOX=1MiB", "STOMPSERVER_DESTINATIONS_SLOW_CONSUMER=spill")
	sleeper := login(t, s, "1.2")
	sleeper.send("SUBSCRIBE\nid:1\ndestination:/topic/flood\nreceipt:r\n\n\x00")
	sleeper.want("RECEIPT")
	reader := login(t, s, "1.2")
	reader.send("SUBSCRIBE\nid:1\ndestination:/topic/flood\nreceipt:r\n\n\x00")
	reader.want("RECEIPT")
	const count = 12288
	sender := login(t, s, "1.2")
	body := bytes.Repeat([]byte("x"), chunk)
	ahead := make(chan struct{}, 32) // what the reader may be behind
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range count {
			if f := reader.want("MESSAGE"); f.header["n"] != fmt.Sprint(i) {
				t.Errorf("the reader got %s, want %d", f.header["n"], i)
			}
			<-ahead
		}
	})
	for i := range count {
		ahead <- struct{}{}
		sender.send(fmt.Sprintf("SEND\ndestination:/topic/flood\nn:%d\ncontent-length:%d\n\n%s\x00", i, chunk, body))
	}
	wg.Wait()
	for i := range count {
		f := sleeper.want("MESSAGE")
		if f.header["n"] != fmt.Sprint(i) || len(f.body) != chunk {
			t.Fatalf("the sleeper got %s of %d bytes, want %d", f.header["n"], len(f.body), i)
		}
	}
	// It is as fast as any again: what comes now comes at once.
	sender.send("SEND\ndestination:/topic/flood\n\nlast\x00")
	if f := sleeper.want("MESSAGE"); f.body != "last" {
		t.Errorf("got %v", f)
	}
}

// TestBlock: who sends to a topic with a subscriber that does not read has to wait, and nobody else; when
// that one is gone it goes on.
func TestBlock(t *testing.T) {
	s := start(t, "STOMPSERVER_LIMITS_OUTBOX=1MiB", "STOMPSERVER_DESTINATIONS_RULES=[{match: /topic/flood, slow_consumer: block}]")
	sleeper := deaf(t, login(t, s, "1.2"))
	sleeper.send("SUBSCRIBE\nid:1\ndestination:/topic/flood\nreceipt:r\n\n\x00")
	sleeper.want("RECEIPT")
	sender := login(t, s, "1.2")
	frame := chunkFrame("/topic/flood")
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		sender.SetDeadline(time.Now().Add(4 * wait))
		for range chunks {
			if _, err := sender.Write(frame); err != nil {
				t.Errorf("the sender was cut off: %v", err)
				return
			}
		}
	}()
	other := login(t, s, "1.2")
	other.send("SUBSCRIBE\nid:1\ndestination:/topic/other\nreceipt:r\n\n\x00")
	other.want("RECEIPT")
	for range chunks / 2 { // more than the sender could be ahead by
		other.send(string(chunkFrame("/topic/other")))
		other.want("MESSAGE")
	}
	select {
	case <-stuck:
		t.Fatal("the sender was not held back")
	default:
	}
	sleeper.Close()
	select {
	case <-stuck:
	case <-time.After(wait):
		t.Fatal("the sender is still held back when nobody is slow any more")
	}
	sender.send("SEND\ndestination:/topic/flood\nreceipt:done\n\n\x00")
	sender.want("RECEIPT")
}
