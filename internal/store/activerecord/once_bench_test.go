package activerecord_test

import (
	"fmt"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/storetest"
)

// benchOnce puts messages for many queues, each of which acks them later.
func benchOnce(b *testing.B, open func(t testing.TB) *activerecord.Store) {
	for _, queues := range []int{2, 100} {
		b.Run(fmt.Sprint(queues, " queues"), func(b *testing.B) {
			s := open(b)
			var names []string
			for q := range queues {
				names = append(names, fmt.Sprint("/dsub/", q))
			}
			body := make([]byte, 1<<10)
			for i := range body {
				body[i] = 'a' + byte(i%26)
			}
			b.SetBytes(int64(len(body)))
			seq := store.Seq(0)
			const group = 10
			for b.Loop() {
				var rs []store.Record
				for range group {
					seq++
					m := storetest.Message(b, "/topic/t", body)
					for _, q := range names {
						rs = append(rs, store.Record{Kind: store.RecordPut, Queue: q, Seq: seq, Msg: m})
					}
				}
				if err := s.Write(rs); err != nil {
					b.Fatal(err)
				}
				rs = rs[:0]
				for _, q := range names {
					rs = append(rs, store.Record{Kind: store.RecordAck, Queue: q, Seq: seq - group + 1, Last: seq})
				}
				if err := s.Write(rs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*group)/b.Elapsed().Seconds(), "messages/s")
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkOnceSQLite(b *testing.B) {
	benchOnce(b, func(t testing.TB) *activerecord.Store {
		cfg := inSQLite(t.TempDir())
		cfg.NoSync = false
		return open(t, cfg)
	})
}

// BenchmarkLargeSQLite puts, reads and acks a message.
func BenchmarkLargeSQLite(b *testing.B) {
	for _, size := range []int{1 << 20, 4 << 20, 32 << 20} {
		b.Run(fmt.Sprint(size>>20, " MiB"), func(b *testing.B) {
			cfg := inSQLite(b.TempDir())
			cfg.NoSync = false
			s := open(b, cfg)
			m := storetest.Message(b, "/queue/a", []byte(noise(size)))
			b.SetBytes(int64(size))
			for seq := store.Seq(1); b.Loop(); seq++ {
				if err := s.Write([]store.Record{put("/queue/a", seq, m)}); err != nil {
					b.Fatal(err)
				}
				if rs, _, err := s.Read(nil, "/queue/a", seq-1, 1, 1); err != nil || len(rs) != 1 {
					b.Fatal(len(rs), err)
				}
				if err := s.Write([]store.Record{ack("/queue/a", seq, seq)}); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
