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
