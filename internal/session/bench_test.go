package session

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"stompserver/internal/broker"
	"stompserver/internal/store/spool"
)

// A sink is a connection that takes all that is written to it. What the server costs beside
// the system's calls is what remains.
type sink struct {
	end   net.Conn
	bytes int
}

func (k *sink) read(func() []byte, func()) (int, error) { panic("nobody reads") }
func (k *sink) wait() error                             { return nil }
func (k *sink) waits() bool                             { return true }
func (k *sink) more() bool                              { return false }
func (k *sink) gone() bool                              { return false }
func (k *sink) net() net.Conn                           { return k.end }

func (k *sink) tryWrite(ps []piece, pos int) (int, bool, error) {
	n := -pos
	for _, p := range ps {
		n += len(p.b)
	}
	k.bytes += n
	return n, true, nil
}

func (k *sink) write(ps []piece, pos int) (int, error) {
	n, _, err := k.tryWrite(ps, pos)
	return n, err
}

// feed has s work on what a client wrote, in reads of a whole room.
func feed(b testing.TB, s *session, bytes []byte) {
	for len(bytes) > 0 {
		n := copy(s.space(), bytes)
		bytes = bytes[n:]
		s.dec.Filled(n)
		if err := s.work(0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlain is the way of a message, of 100 bytes and without options, from the bytes that
// came to those that go. What is compared are builds: this is what features cost where they
// are not used.
func BenchmarkPlain(b *testing.B) {
	for _, bench := range []struct {
		name, dest, ack, header string
		consumers               int
	}{
		{"queue", "/queue/a", "auto", "", 1},
		{"topic", "/topic/a", "auto", "", 10},
		{"acks", "/queue/a", "client-individual", "", 1},
		{"receipts", "/queue/a", "auto", "receipt:1234\n", 1},
	} {
		b.Run(bench.name, func(b *testing.B) {
			br, err := broker.New(broker.Config{Store: spool.New()})
			if err != nil {
				b.Fatal(err)
			}
			defer br.Close()
			srv := NewServer(br, Config{})
			client := func() (*session, *sink) {
				end, _ := net.Pipe()
				s := newSession(srv, end, nil, 1)
				k := &sink{end: end}
				s.c = k
				s.start()
				feed(b, s, []byte("CONNECT\naccept-version:1.2\nhost:x\n\n\x00"))
				return s, k
			}
			sender, _ := client()
			var takers []*session
			var sinks []*sink
			for range bench.consumers {
				s, k := client()
				feed(b, s, fmt.Appendf(nil, "SUBSCRIBE\nid:1\ndestination:%s\nack:%s\nprefetch-count:1000\n\n\x00", bench.dest, bench.ack))
				takers, sinks = append(takers, s), append(sinks, k)
			}
			one := "SEND\ndestination:" + bench.dest + "\ncontent-length:100\n" + bench.header + "\n" + strings.Repeat("x", 100) + "\x00"
			const burst = 300
			var acks []byte
			var tag uint64
			all := []byte(strings.Repeat(one, burst))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += burst {
				feed(b, sender, all)
				if bench.ack != "auto" {
					acks = acks[:0]
					for range burst {
						tag++
						acks = append(appendAckID(append(acks, "ACK\nid:"...), 0, tag), "\n\n\x00"...)
					}
					feed(b, takers[0], acks)
				}
			}
			b.StopTimer()
			for _, k := range sinks {
				if k.bytes < 100*b.N {
					b.Fatalf("%d messages brought %d bytes", b.N, k.bytes)
				}
			}
		})
	}
}
