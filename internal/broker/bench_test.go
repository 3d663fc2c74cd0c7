package broker_test

import (
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/internal/broker"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/spool"
)

const million = 1_000_000

// looks counts how often a filter was asked.
type looks struct {
	every
	n atomic.Int64
}

func (l *looks) Wants(m *message.Message) bool {
	l.n.Add(1)
	return l.every.Wants(m)
}

// backlog puts n messages into /queue/a.
func backlog(b *testing.B, br *broker.Broker, n int) {
	b.Helper()
	for i := 1; i <= n; i++ {
		send(b, br, "/queue/a", strconv.Itoa(i))
	}
}

// BenchmarkSelectorInBacklog is what a subscription with a credit of one and a selector costs
// for each of the messages that it takes, one of a thousand in a backlog of a million. Each
// message is looked at once, not again for each dispatch.
func BenchmarkSelectorInBacklog(b *testing.B) {
	const one = 1000
	br := newBroker(b, broker.Config{})
	backlog(b, br, million)
	f := &looks{every: one}
	c := openSink(b, br, "/queue/a", 1, f)
	took := 0
	b.ResetTimer()
	for range b.N {
		if took == million/one {
			b.StopTimer()
			backlog(b, br, million)
			took, f.n = 0, atomic.Int64{}
			b.StartTimer()
		}
		var w broker.Wake
		for _, d := range c.wait(b) {
			if err := c.sub.Ack(broker.Ref{Tag: d.Tag}, broker.NewOp(nil), &w); err != nil {
				b.Fatal(err)
			}
			took++
		}
		w.Run()
	}
	b.StopTimer()
	per := float64(f.n.Load()) / float64((took+1)*one)
	b.ReportMetric(per, "looks/message")
	if took > 100 && per > 1.1 { // some are looked at ahead
		b.Errorf("each message was looked at %.1f times", per)
	}
}

func (c *sink) wait(b testing.TB) []broker.Delivery {
	b.Helper()
	select {
	case <-c.new:
		return c.take()
	case <-time.After(time.Minute):
		b.Fatal("nothing came for a minute")
		return nil
	}
}

// BenchmarkSendBesideBrowser is how long a SEND takes while somebody looks through a million
// messages of the queue again and again, and while nobody does.
func BenchmarkSendBesideBrowser(b *testing.B) {
	for name, browsers := range map[string]int{"alone": 0, "browser": 1} {
		b.Run(name, func(b *testing.B) {
			br := newBroker(b, broker.Config{})
			backlog(b, br, million)
			var stop atomic.Bool
			done := make(chan int, browsers)
			for range browsers {
				go func() {
					rounds := 0
					for ; !stop.Load(); rounds++ {
						c := &ender{end: make(chan struct{})}
						sub, err := br.Subscribe("/queue/a", broker.Options{Consumer: c, Browse: &broker.Browse{}})
						if err != nil {
							b.Error(err)
							break
						}
						var w broker.Wake
						sub.Start(&w)
						w.Run()
						<-c.end
						sub.Close(0, &w)
						w.Run()
					}
					done <- rounds
				}()
			}
			m := newMessage(b, "/queue/a", "1")
			a, err := br.Address("/queue/a")
			if err != nil {
				b.Fatal(err)
			}
			took := make([]time.Duration, 0, b.N)
			b.ResetTimer()
			for range b.N {
				var w broker.Wake
				begin := time.Now()
				a.Send(m, broker.NewOp(nil), &w)
				w.Run()
				took = append(took, time.Since(begin))
			}
			b.StopTimer()
			stop.Store(true)
			for range browsers {
				b.ReportMetric(float64(<-done), "rounds")
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
		})
	}
}

// An ender waits for the end of a browser.
type ender struct{ end chan struct{} }

func (c *ender) Deliver(d broker.Delivery, _ *broker.Wake) bool {
	if _, last := d.Msg.Header(broker.EndOfBrowse); last {
		close(c.end)
	}
	return true
}

func (c *ender) Lagging(int, broker.Slow) {}

// A sieve is a Backend that keeps nothing: what is measured is what remains in memory.
type sieve struct{}

func (sieve) Write([]store.Record) error    { return nil }
func (sieve) Queues() ([]store.Info, error) { return nil, nil }
func (sieve) Close() error                  { return nil }
func (sieve) Read(dst []store.Record, _ string, _ store.Seq, _ int, _ int64) ([]store.Record, bool, error) {
	return dst, false, nil
}

// BenchmarkTimers is what a message costs that waits for its time, in a store that has it on its
// disk: in time to send it, and in bytes of memory for as long as it waits.
func BenchmarkTimers(b *testing.B) {
	for _, bench := range []struct{ name, header, value string }{
		{"plain", "x", "1"},
		{"scheduled", "delay", "3600000"},
		{"ttl", "ttl", "3600000"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			st, err := spool.Open(spool.Config{Backend: sieve{}, Window: 64 << 10, Memory: 256 << 10})
			if err != nil {
				b.Fatal(err)
			}
			br, err := broker.New(broker.Config{Store: st, Durable: true})
			if err != nil {
				b.Fatal(err)
			}
			defer st.Close()
			defer br.Close()
			a, err := br.Address("/queue/a")
			if err != nil {
				b.Fatal(err)
			}
			f := &frame.Frame{Command: frame.Send, Body: make([]byte, 100), Plain: true}
			f.Header.Add(bench.header, bench.value)
			put := func(n int) {
				done := make(chan error, n)
				for i := range n {
					m, err := message.New(f, "/queue/a", message.At(time.Now().UnixMilli()))
					if err != nil {
						b.Fatal(err)
					}
					op := broker.NewOp(nil)
					if i == n-1 {
						op = broker.NewOp(ownerFunc(func(err error) { done <- err }))
					}
					var w broker.Wake
					a.Send(m, op, &w)
					w.Run()
				}
				if err := <-done; err != nil { // what was put before it is durable, too
					b.Fatal(err)
				}
			}
			put(1000)
			before := heap()
			b.ResetTimer()
			put(b.N)
			b.StopTimer()
			b.ReportMetric(float64(heap()-before)/float64(b.N), "kept-B/message")
			runtime.KeepAlive(br)
		})
	}
}

// heap is what is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // and what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
