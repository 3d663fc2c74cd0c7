package dbm_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/storetest"
)

// putInto is a message put into many queues, as by a topic with durable subscriptions.
func putInto(t testing.TB, n int, seq store.Seq, body string) (rs []store.Record) {
	m := storetest.Message(t, "/topic/t", []byte(body))
	for q := range n {
		rs = append(rs, store.Record{Kind: store.RecordPut, Queue: fmt.Sprint("/dsub/", q), Seq: seq, Msg: m})
	}
	return rs
}

// TestStoredOnce: a message that is put into many queues at once is stored once, whether through the log or not, and
// goes when the last has acked it. Tries are each queue's own.
func TestStoredOnce(t *testing.T) {
	const queues = 100
	for _, c := range []struct {
		name string
		size int
		open func(t testing.TB, dir string) store.Backend
	}{
		{"small", 100, open},
		{"of a page", 20_000, open},
		{"in parts", 3 << 20, open},
		{"through the log", 20_000, func(t testing.TB, dir string) store.Backend { return openLogged(t, inDir(dir)) }},
		{"in parts, through the log", 3 << 20, func(t testing.TB, dir string) store.Backend { return openLogged(t, inDir(dir)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b := c.open(t, dir)
			restart := func() {
				t.Helper()
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				b = c.open(t, dir)
			}
			body := func(seq store.Seq) string { return strings.Repeat(string(rune('a'+seq)), c.size) }
			for seq := store.Seq(1); seq <= 5; seq++ {
				write(t, b, putInto(t, queues, seq, body(seq))...)
			}
			restart()
			st, err := os.Stat(filepath.Join(dir, "queues.db"))
			if err != nil {
				t.Fatal(err)
			}
			if most := int64(5*c.size*3 + 40<<20); st.Size() > most {
				t.Errorf("5 messages of %d bytes for %d queues take %d bytes, want %d at most", c.size, queues, st.Size(), most)
			}
			holds := func(q int, want ...string) {
				t.Helper()
				rs, more, err := b.Read(nil, fmt.Sprint("/dsub/", q), 0, 100, 1<<40)
				if err != nil || more {
					t.Fatal(more, err)
				}
				var got []string
				bytes := int64(0)
				for _, r := range rs {
					got = append(got, fmt.Sprintf("%d:%d", r.Seq, r.Attempts))
					bytes += int64(r.Msg.Size())
					if string(r.Msg.Body()) != body(r.Seq) || r.Msg.Destination() != "/topic/t" {
						t.Fatalf("message %d of queue %d is another", r.Seq, q)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("queue %d holds %v, want %v", q, got, want)
				}
				infos, err := b.Queues()
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range infos {
					if i.Name == fmt.Sprint("/dsub/", q) && (i.Count != len(want) || i.Bytes != bytes) {
						t.Errorf("%+v, want %d of %d bytes", i, len(want), bytes)
					}
				}
			}
			write(t, b, ack("/dsub/0", 1, 4), store.Record{Kind: store.RecordAttempts, Queue: "/dsub/1", Seq: 2, Attempts: 7})
			for range 2 {
				holds(0, "5:0")
				holds(1, "1:0", "2:7", "3:0", "4:0", "5:0")
				holds(99, "1:0", "2:0", "3:0", "4:0", "5:0")
				restart()
			}
			for q := range queues {
				write(t, b, ack(fmt.Sprint("/dsub/", q), 1, 5))
				if q == queues-2 {
					holds(queues-1, "1:0", "2:0", "3:0", "4:0", "5:0")
				}
			}
			restart()
			d, ok := b.(*dbm.DBM)
			if !ok {
				d = b.(*dbm.Logged).DB()
			}
			if n, parts, holders := d.Stored(), d.Parts(), d.Holders(); n+parts+holders > 0 {
				t.Errorf("%d messages, %d parts, %d numbers are left", n, parts, holders)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestSharedTwice puts again what is there, as a log does that is brought in once more.
func TestSharedTwice(t *testing.T) {
	dir := t.TempDir()
	b := apart(t, dir).(*dbm.DBM)
	for range 3 {
		write(t, b, putInto(t, 3, 1, text(500))...)
	}
	if n := b.Stored(); n != 4 || b.Parts() != 5 || b.Holders() != 1 {
		t.Errorf("%d messages, %d parts, %d numbers", n, b.Parts(), b.Holders())
	}
	one := put(t, "/dsub/0", 1, text(30))
	write(t, b, one) // it is another one now
	write(t, b, ack("/dsub/1", 1, 1))
	if n := b.Stored(); n != 3 || b.Holders() != 1 {
		t.Errorf("%d messages, %d numbers", n, b.Holders())
	}
	write(t, b, ack("/dsub/2", 1, 1))
	if n := b.Stored(); n != 1 || b.Parts() != 1 || b.Holders() != 0 {
		t.Errorf("%d messages, %d parts, %d numbers", n, b.Parts(), b.Holders())
	}
	write(t, b, putInto(t, 2, 1, text(300))...)
	if n := b.Stored(); n != 3 || b.Parts() != 3 || b.Holders() != 1 {
		t.Errorf("%d messages, %d parts, %d numbers", n, b.Parts(), b.Holders())
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = apart(t, dir).(*dbm.DBM)
	_ = b.Close()
}

// TestDamagedSharing: what is not there, or not as often as is said, is told; what is whole is kept, and once.
func TestDamagedSharing(t *testing.T) {
	for _, c := range []struct {
		name, said string
		harm       func(b *dbm.DBM) error
		left       int // of the 2 messages in each of 3 queues
	}{
		{"a number", "is in 3, and is to be in 2", func(b *dbm.DBM) error { return b.SetHolders(1, 2) }, 6},
		{"no number", "is in 3, and is to be in 0", func(b *dbm.DBM) error { return b.SetHolders(1, 0) }, 6},
		{"a message", "which is in 3, is missing", func(b *dbm.DBM) error { return b.LoseMessage(0, 1) }, 3},
		{"a reference", "is in 2, and is to be in 3", func(b *dbm.DBM) error { return b.LoseMessage(1, 1) }, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, dir).(*dbm.DBM)
			write(t, b, putInto(t, 3, 1, "one")...)
			write(t, b, putInto(t, 3, 2, "two")...)
			if err := errors.Join(c.harm(b), b.Close()); err != nil {
				t.Fatal(err)
			}
			var damage *dbm.DamageError
			if _, err := dbm.Open(inDir(dir)); !errors.As(err, &damage) || !strings.Contains(err.Error(), c.said) {
				t.Fatalf("it says %v, want %q", err, c.said)
			}
			var log bytes.Buffer
			cfg := inDir(dir)
			cfg.StartDamaged, cfg.Log = true, slog.New(slog.NewTextHandler(&log, nil))
			b, err := dbm.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for q := range 3 {
				rs, _, err := b.Read(nil, fmt.Sprint("/dsub/", q), 0, 10, 1<<20)
				if err != nil {
					t.Error(err)
				}
				got += len(rs)
			}
			if got != c.left {
				t.Errorf("%d messages are left, want %d", got, c.left)
			}
			if n := b.Holders(); n > 2 || n < 1 {
				t.Errorf("%d of them are stored once", n)
			}
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			if b, err = dbm.Open(inDir(dir)); err != nil {
				t.Fatalf("the next start: %v", err)
			}
			_ = b.Close()
		})
	}
}

// TestNamelessQueues: where the record of its queue is damaged a message is kept where somebody can take it.
func TestNamelessQueues(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir).(*dbm.DBM)
	write(t, b, putInto(t, 3, 1, "one")...)
	write(t, b, put(t, "/queue/a", 1, "two"))
	if err := errors.Join(b.HarmQueue("/dsub/0"), b.HarmQueue("/dsub/2"), b.HarmQueue("/queue/a"), b.Close()); err != nil {
		t.Fatal(err)
	}
	cfg := inDir(dir)
	cfg.StartDamaged = true
	b, err := dbm.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	infos, err := b.Queues()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range infos {
		if i.Name != "" {
			got = append(got, fmt.Sprintf("%s %d", i.Name, i.Count))
		}
	}
	slices.Sort(got)
	if want := []string{"/dsub/1 1", "/queue/a 1", "/queue/recovered/1 1", "/queue/recovered/3 1"}; !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}
