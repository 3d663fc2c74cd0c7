package hostile_test

import (
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of the random tests")

// conversation is a session that is right; TestMutations makes it wrong.
const conversation = "CONNECT\naccept-version:1.0,1.1,1.2\nhost:localhost\nheart-beat:1000,1000\n\n\x00" +
	"SUBSCRIBE\nid:1\ndestination:/queue/mutant\nack:client\nreceipt:1\nprefetch-count:10\n\n\x00" +
	"SUBSCRIBE\nid:2\ndestination:/topic/mutant\nack:auto\n\n\x00\n" +
	"BEGIN\ntransaction:t\n\n\x00" +
	"SEND\ndestination:/queue/mutant\ntransaction:t\ncontent-type:text/plain\nname\\c:a\\nb\\\\\n\nhello\x00" +
	"COMMIT\ntransaction:t\nreceipt:2\n\n\x00" +
	"SEND\r\ndestination:/topic/mutant\r\ncontent-length:5\r\nexpires:0\r\npriority:4\r\n\r\na\x00b\x00c\x00" +
	"ACK\nid:1\n\n\x00" +
	"NACK\nmessage-id:q1-1\nsubscription:1\nrequeue:false\n\n\x00" +
	"UNSUBSCRIBE\nid:2\nreceipt:3\n\n\x00" +
	"BEGIN\ntransaction:u\n\n\x00ABORT\ntransaction:u\n\n\x00" +
	"DISCONNECT\nreceipt:4\n\n\x00"

// TestMutations: conversations with bytes changed, doubled, lost and moved, cut anywhere.
func TestMutations(t *testing.T) {
	t.Logf("-seed=%d", *seed)
	rng := rand.New(rand.NewPCG(*seed, 0))
	s := start(t, "STOMPSERVER_LIMITS_BODY=1MiB")
	for i := range 1000 {
		script := mutate(rng, []byte(conversation))
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(wait))
		cuts := rand.New(rand.NewPCG(*seed, uint64(i+1)))
		go func() {
			for len(script) > 0 {
				n := min(len(script), 1+cuts.IntN(200))
				if _, err := c.Write(script[:n]); err != nil {
					return
				}
				script = script[n:]
			}
			c.(*net.TCPConn).CloseWrite()
		}()
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Errorf("conversation %d is still open", i)
		}
		c.Close()
	}
}

func mutate(rng *rand.Rand, b []byte) []byte {
	for range 1 + rng.IntN(4) {
		at := rng.IntN(len(b))
		to := min(len(b), at+rng.IntN(40))
		switch rng.IntN(6) {
		case 0:
			b[at] = byte(rng.Uint32())
		case 1:
			b[at] = "\n\r\x00:\\"[rng.IntN(5)]
		case 2: // lost
			b = append(b[:at:at], b[to:]...)
		case 3: // doubled
			b = append(b[:to:to], b[at:]...)
		case 4: // moved
			other := rng.IntN(len(b))
			b = append(b[:other:other], append(append([]byte{}, b[at:to]...), b[other:]...)...)
		case 5: // a value that is another
			odd := []string{"-1", "0", "99999999999999999999", "", " ", "\\", "\\x", strings.Repeat("z", 70_000), "\xff\xfe", "true"}
			b = append(b[:at:at], append([]byte(odd[rng.IntN(len(odd))]), b[to:]...)...)
		}
		if len(b) == 0 {
			return []byte("\x00")
		}
	}
	return b
}
