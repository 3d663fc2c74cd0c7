package hostile_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// deaf is a client that is logged in and will never read again; the system buffers little
// for it.
func deaf(t *testing.T, c *conn) *conn {
	t.Helper()
	if err := c.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	return c
}

const (
	chunk  = 16 << 10
	chunks = 2048 // 32 MiB in all
)

func chunkFrame(destination string) []byte {
	return fmt.Appendf(nil, "SEND\ndestination:%s\ncontent-length:%d\n\n%s\x00", destination, chunk, bytes.Repeat([]byte("x"), chunk))
}

// TestTopicReaderThatNeverReads: the topic goes on for the others, who miss nothing, and
// nothing is gathered for the deaf one past limits.outbox.
func TestTopicReaderThatNeverReads(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "disconnect"} {
		t.Run(policy, func(t *testing.T) {
			s := start(t, "STOMPSERVER_LIMITS_OUTBOX=1MiB", "STOMPSERVER_DESTINATIONS_SLOW_CONSUMER="+policy)
			for range 10 {
				c := deaf(t, login(t, s, "1.2"))
				c.send("SUBSCRIBE\nid:1\ndestination:/topic/flood\nreceipt:r\n\n\x00")
				c.want("RECEIPT")
			}
			reader := login(t, s, "1.2")
			reader.send("SUBSCRIBE\nid:1\ndestination:/topic/flood\nreceipt:r\n\n\x00")
			reader.want("RECEIPT")
			sender := login(t, s, "1.2")
			frame := chunkFrame("/topic/flood")
			for i := range chunks { // in step, so that the reader itself is not too slow
				sender.send(string(frame))
				if f := reader.want("MESSAGE"); len(f.body) != chunk {
					t.Fatalf("message %d has %d bytes", i, len(f.body))
				}
			}
		})
	}
}

// TestQueueReaderThatNeverReads: it is given what fits its outbox; the rest of the queue
// goes to who reads, and so does what it was not sent, once it is gone.
func TestQueueReaderThatNeverReads(t *testing.T) {
	for _, ack := range []string{"auto", "client-individual"} {
		t.Run(ack, func(t *testing.T) {
			s := start(t, "STOMPSERVER_LIMITS_OUTBOX=1MiB")
			d := deaf(t, login(t, s, "1.2"))
			d.send("SUBSCRIBE\nid:1\ndestination:/queue/flood\nreceipt:r\nack:" + ack + "\n\n\x00")
			d.want("RECEIPT")
			reader := login(t, s, "1.2")
			reader.send("SUBSCRIBE\nid:1\ndestination:/queue/flood\nreceipt:r\n\n\x00")
			reader.want("RECEIPT")

			sender := login(t, s, "1.2")
			sent := make(chan int64, 1)
			go func() {
				frame := chunkFrame("/queue/flood")
				sent <- sender.pour(frame, chunks) / int64(len(frame))
			}()

			// What "auto" settles for the deaf one is what its socket took: two systems'
			// buffers at the most.
			least := chunks
			if ack == "auto" {
				least -= (12 << 20) / chunk
			}
			got := 0
			for got < least-(2<<20)/chunk { // all but what the deaf one still holds
				reader.want("MESSAGE")
				got++
			}
			if n := <-sent; n != chunks {
				t.Fatalf("%d of %d messages could be sent", n, chunks)
			}
			d.Close()
			for got < least {
				reader.want("MESSAGE")
				got++
			}
			t.Logf("the reader got at least %d of %d messages", got, chunks)
		})
	}
}

// TestReceiptsNobodyReads: a client that asks for receipts and does not read them is not
// read any more itself, so that they cannot pile up.
func TestReceiptsNobodyReads(t *testing.T) {
	s := start(t, "STOMPSERVER_LIMITS_OUTBOX=1MiB")
	c := deaf(t, login(t, s, "1.2"))
	frames := []byte(strings.Repeat("SEND\ndestination:/topic/none\nreceipt:"+strings.Repeat("r", 1000)+"\n\n\x00", 1000))
	var n int64
	for n < 1<<30 {
		c.SetWriteDeadline(time.Now().Add(2 * time.Second))
		m, err := c.Write(frames)
		n += int64(m)
		if err != nil { // it is held back, or was cut off
			t.Logf("after %d MiB: %v", n>>20, err)
			return
		}
	}
	t.Error("the server took a gigabyte of SENDs whose receipts nobody reads")
}

// TestTalkingOn: after an ERROR the server waits a moment for the client to read it, but not
// for ever while the client talks on.
func TestTalkingOn(t *testing.T) {
	s := start(t)
	c := login(t, s, "1.2")
	c.send("NONSENSE\n\n\x00")
	c.want("ERROR")
	begin := time.Now()
	for { // it is to be cut off in the end
		c.SetWriteDeadline(time.Now().Add(wait))
		if _, err := c.Write(make([]byte, 64<<10)); err != nil {
			break
		}
		if time.Since(begin) > wait {
			t.Fatalf("the server still listens %v after its ERROR", wait)
		}
	}
	t.Logf("cut off after %v", time.Since(begin).Round(time.Millisecond))
}

// TestComeAndGo: connections that end in the middle of anything leave nothing behind.
func TestComeAndGo(t *testing.T) {
	s := start(t)
	scripts := []string{
		"",
		"CONN",
		"CONNECT\naccept-version:1.2\nhost:h\n\n\x00",
		"CONNECT\naccept-version:1.2\nhost:h\n\n\x00SUBSCRIBE\nid:1\ndestination:/queue/come\nack:client\n\n\x00",
		"CONNECT\naccept-version:1.2\nhost:h\n\n\x00BEGIN\ntransaction:1\n\n\x00SEND\ndestination:/queue/come\ntransaction:1\n\nhalf a fr",
		"CONNECT\naccept-version:1.2\nhost:h\n\n\x00SEND\ndestination:/queue/go\ncontent-length:60000000\n\nsome",
		"CONNECT\naccept-version:1.2\nhost:h\n\n\x00SUBSCRIBE\nid:1\ndestination:/topic/come\n\n\x00DISCONNECT\nreceipt:1\n\n\x00",
	}
	for round := range 300 {
		for _, script := range scripts {
			c, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			io.WriteString(c, script)
			if round%2 == 0 {
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}
	}
}
