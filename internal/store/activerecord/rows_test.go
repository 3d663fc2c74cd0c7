package activerecord_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
)

// manyRows has Writes of many sizes put rows of all kinds, and remove every second one of the Write before.
func manyRows(t *testing.T, cfg activerecord.Config) {
	b := open(t, cfg)
	queues := []string{"/queue/a", "/queue/\xff'\"\\\x00%s?", "/queue/grüß"}
	if cfg.Database.Adapter == "mysql2" {
		queues = append(queues, "/queue/"+strings.Repeat("long", 60))
	}
	bodies := []string{"", "plain", "a 'quote', a \"quote\" and a \\", "grüß\n\u2028", "b\x00\xff", strings.Repeat("é\n\\'", 20<<10), strings.Repeat("\xff", 40<<10)}
	want := make(map[string]*message.Message) // by queue and seq
	at := func(queue string, seq store.Seq) string { return fmt.Sprint(queue, " ", seq) }
	last := make(map[string]store.Seq)
	for i, n := range []int{1, 7, 8, 9, 1, 63, 64, 65, 30, 130, 300, 2} {
		var rs []store.Record
		before := make(map[string]store.Seq)
		for _, q := range queues {
			before[q] = last[q]
		}
		for k := range n {
			q := queues[(i+k/3)%len(queues)]
			f := &frame.Frame{Command: frame.Send, Body: []byte(bodies[k%len(bodies)])}
			f.Header.Add("n", fmt.Sprint(k))
			if k%5 == 0 { // YAML cannot tell that
				f.Header.Add("n", "again\xfe")
			}
			m, err := message.New(f, q, message.At(1795418394273))
			if err != nil {
				t.Fatal(err)
			}
			last[q]++
			want[at(q, last[q])] = m
			rs = append(rs, put(q, last[q], m))
		}
		for _, q := range queues {
			for seq := store.Seq(1); seq <= before[q]; seq++ {
				if want[at(q, seq)] != nil && seq%2 == 0 {
					rs = append(rs, ack(q, seq, seq))
					delete(want, at(q, seq))
				}
			}
		}
		write(t, b, rs...)
	}
	for range 2 {
		left := 0
		for _, q := range queues {
			rs, _, err := b.Read(nil, q, 0, 1<<20, 1<<40)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rs {
				m := want[at(q, r.Seq)]
				if m == nil {
					t.Fatalf("%q has message %d", q, r.Seq)
				}
				if got, want := r.Msg.AppendRecord(nil), m.AppendRecord(nil); !bytes.Equal(got, want) {
					t.Fatalf("%q, message %d:\n got %.200q\nwant %.200q", q, r.Seq, got, want)
				}
			}
			left += len(rs)
		}
		if left != len(want) {
			t.Errorf("%d messages, want %d", left, len(want))
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = open(t, cfg)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestManyRows(t *testing.T) { manyRows(t, inSQLite(t.TempDir())) }
