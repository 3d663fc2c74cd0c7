package activerecord_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
)

// A reach is how a test gets at a database behind the store's back.
type reach struct {
	at     place
	driver string
	dsn    func(activerecord.Config) string
	size   string // asks for the bytes of the tables
}

var reachSQLite = reach{
	at:     func(t testing.TB, place string) activerecord.Config { return inSQLite(place) },
	driver: "sqlite",
	dsn:    func(cfg activerecord.Config) string { return cfg.Database.Database },
	size:   "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
}

func (w *reach) open(t *testing.T, cfg activerecord.Config) *sql.DB {
	t.Helper()
	db, err := sql.Open(w.driver, w.dsn(cfg))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func ask(t *testing.T, db *sql.DB, query string) (n int64) {
	t.Helper()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func do(t *testing.T, db *sql.DB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if _, err := db.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func ack(queue string, first, last store.Seq) store.Record {
	return store.Record{Kind: store.RecordAck, Queue: queue, Seq: first, Last: last}
}

// toAll puts one message into many queues.
func toAll(m *message.Message, seq store.Seq, queues ...string) (rs []store.Record) {
	for _, q := range queues {
		rs = append(rs, put(q, seq, m))
	}
	return rs
}

// topical is a message that is for a topic.
func topical(t testing.TB, dest, body string, headers ...string) *message.Message {
	t.Helper()
	f := &frame.Frame{Command: frame.Send, Body: []byte(body)}
	for i := 0; i+1 < len(headers); i += 2 {
		f.Header.Add(headers[i], headers[i+1])
	}
	m, err := message.New(f, dest, message.At(1795418394273))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func dsubs(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("/dsub/%03d", i))
	}
	return names
}

// noise is a text that no database makes shorter by much.
func noise(n int) string {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/"[rnd.IntN(64)]
	}
	return string(b)
}

// once has a message that several queues have in the database once, for as long as one of them has it.
func (w *reach) once(t *testing.T) {
	if race { // there is one goroutine
		return
	}
	t.Run("bytes", w.onceBytes)
	t.Run("until the last has it", w.onceUntilLast)
	t.Run("beside others", w.onceBesideOthers)
	t.Run("whole", w.onceWhole)
	t.Run("which are", w.onceWhich)
	t.Run("by hand", w.onceByHand)
	t.Run("adopted", w.onceAdopted)
	t.Run("damage", w.onceDamage)
}

func (w *reach) onceBytes(t *testing.T) {
	cfg := w.at(t, t.TempDir())
	b := open(t, cfg)
	db := w.open(t, cfg)
	before := ask(t, db, w.size)
	queues := dsubs(100)
	const size = 5 << 20
	write(t, b, toAll(topical(t, "/topic/t", noise(size)), 1, queues...)...)
	took := ask(t, db, w.size) - before
	t.Logf("%d bytes for 100 queues take %d", size, took)
	if took > 2*size {
		t.Errorf("a message of %d bytes takes %d for 100 queues", size, took)
	}
	write(t, b, ack(queues[7], 1, 1))
	for _, q := range []string{queues[0], queues[99]} {
		if rs, _, err := b.Read(nil, q, 0, 9, 1<<30); err != nil || len(rs) != 1 || len(rs[0].Msg.Body()) != size {
			t.Fatalf("%s: %d messages, %v", q, len(rs), err)
		}
	}
	closeIt(t, b)
}

// rowsAre looks how many rows and copies there are.
func rowsAre(t *testing.T, db *sql.DB, rows, copies int64) {
	t.Helper()
	if r, c := ask(t, db, "SELECT COUNT(*) FROM ar_messages"), ask(t, db, "SELECT COUNT(*) FROM stompserver_copies"); r != rows || c != copies {
		t.Errorf("there are %d rows and %d copies, want %d and %d", r, c, rows, copies)
	}
}

// sizesOfOnce are of bodies that are put as a whole, and in pieces.
var sizesOfOnce = map[string]int{"small": 10, "large": 2 << 20, "alone": 5 << 20}

func (w *reach) onceUntilLast(t *testing.T) {
	for name, size := range sizesOfOnce {
		t.Run(name, func(t *testing.T) {
			cfg := w.at(t, t.TempDir())
			b := open(t, cfg)
			db := w.open(t, cfg)
			queues := dsubs(70)
			body := func(i int) string { return strings.Repeat(fmt.Sprint(i), size) }
			for i := range 3 {
				write(t, b, toAll(topical(t, "/topic/t", body(i)), store.Seq(i+1), queues...)...)
			}
			rowsAre(t, db, 3, 3*70)
			holds := func(queue string, want ...int) {
				t.Helper()
				var texts []string
				for _, i := range want {
					texts = append(texts, fmt.Sprint(i+1, ":", body(i)))
				}
				if got := bodies(t, b, queue); got != strings.Join(texts, " ") {
					t.Fatalf("%s holds %d bytes, %.80q", queue, len(got), got)
				}
			}
			for i, q := range queues { // each is at another message; the first has taken all
				if last := store.Seq(3 - i%4); last > 0 {
					write(t, b, ack(q, 1, last))
				}
			}
			for range 2 {
				holds(queues[0])
				holds(queues[1], 2)
				holds(queues[2], 1, 2)
				holds(queues[3], 0, 1, 2)
				infos, err := b.Queues()
				if err != nil {
					t.Fatal(err)
				}
				for _, i := range infos {
					switch i.Name {
					case queues[2]:
						if i.First != 2 || i.Last != 3 || i.Count != 2 || i.Bytes < 2*int64(size) {
							t.Errorf("%+v", i)
						}
					case queues[0]:
						if i.Count != 0 || i.Last != 3 {
							t.Errorf("%+v", i)
						}
					}
				}
				closeIt(t, b)
				b = open(t, cfg)
			}
			for _, q := range queues[4:] {
				write(t, b, ack(q, 1, 3))
			}
			rowsAre(t, db, 3, 1+2+3)
			write(t, b, ack(queues[3], 1, 1)) // the last that has it
			rowsAre(t, db, 2, 1+2+2)
			write(t, b, ack(queues[1], 1, 3), ack(queues[2], 1, 3), ack(queues[3], 2, 2))
			rowsAre(t, db, 1, 1)
			holds(queues[3], 2)
			write(t, b, ack(queues[3], 3, 3))
			rowsAre(t, db, 0, 0)
			closeIt(t, b)
		})
	}
}

// onceBesideOthers has queues with messages of their own between those that others have too.
func (w *reach) onceBesideOthers(t *testing.T) {
	cfg := w.at(t, t.TempDir())
	b := open(t, cfg)
	db := w.open(t, cfg)
	const a, c = "/dsub/a", "/dsub/c"
	rnd := rand.New(rand.NewPCG(3, 4))
	want := map[string][]string{}
	seqs := map[string]store.Seq{}
	for i := range 60 {
		var rs []store.Record
		for j := range 1 + rnd.IntN(3) {
			m := topical(t, "/topic/t", fmt.Sprintf("m%d-%d", i, j))
			for _, q := range [][]string{{a}, {c}, {a, c}, {c, a}}[rnd.IntN(4)] {
				seqs[q]++
				rs = append(rs, put(q, seqs[q], m))
				want[q] = append(want[q], fmt.Sprintf("%d:%s", seqs[q], m.Body()))
			}
		}
		write(t, b, rs...)
	}
	if ask(t, db, "SELECT COUNT(*) FROM ar_messages WHERE queue IS NOT NULL") == 0 || ask(t, db, "SELECT COUNT(*) FROM stompserver_copies") == 0 {
		t.Error("there are not both")
	}
	check := func() {
		t.Helper()
		for _, q := range []string{a, c} {
			if got := bodies(t, b, q); got != strings.Join(want[q], " ") {
				t.Fatalf("%s holds\n%s\nwant\n%s", q, got, strings.Join(want[q], " "))
			}
			var got []string // page by page
			for after, more := store.Seq(0), true; more; {
				var rs []store.Record
				var err error
				if rs, more, err = b.Read(nil, q, after, 1+rnd.IntN(7), 1<<20); err != nil {
					t.Fatal(err)
				}
				for _, r := range rs {
					got = append(got, fmt.Sprintf("%d:%s", r.Seq, r.Msg.Body()))
					after = r.Seq
				}
			}
			if !slices.Equal(got, want[q]) {
				t.Fatalf("%s has pages of\n%s\nwant\n%s", q, got, want[q])
			}
		}
	}
	check()
	for len(want[a])+len(want[c]) > 0 {
		var rs []store.Record
		for _, q := range []string{a, c} {
			for range rnd.IntN(4) { // a few of the oldest, and one of somewhere
				if len(want[q]) == 0 {
					break
				}
				i := 0
				if rnd.IntN(3) == 0 {
					i = rnd.IntN(len(want[q]))
				}
				var seq store.Seq
				_, _ = fmt.Sscanf(want[q][i], "%d:", &seq)
				rs = append(rs, ack(q, seq, seq))
				want[q] = slices.Delete(want[q], i, i+1)
			}
		}
		write(t, b, rs...)
		if rnd.IntN(4) == 0 {
			closeIt(t, b)
			b = open(t, cfg)
		}
		check()
	}
	rowsAre(t, db, 0, 0)
	closeIt(t, b)
}

// onceWhole has messages that YAML cannot tell whole, of which each part comes back, and tries that are each
// queue's own.
func (w *reach) onceWhole(t *testing.T) {
	cfg := w.at(t, t.TempDir())
	b := open(t, cfg)
	large := strings.Repeat("a\xff\n", 2<<20/3)
	var all []*message.Message
	for _, body := range []string{"", "b\x00\xff", large} {
		for _, headers := range [][]string{{}, {"a", "1", "a", "2"}, {"n\xff", "\xfe", "persistent", "true"}} {
			all = append(all, topical(t, "/topic/t", body, headers...))
		}
	}
	for i, m := range all {
		write(t, b, toAll(m, store.Seq(i+1), "/dsub/a", "/dsub/b")...)
	}
	write(t, b, store.Record{Kind: store.RecordAttempts, Queue: "/dsub/b", Seq: 2, Attempts: 5})
	for range 2 {
		for _, q := range []string{"/dsub/a", "/dsub/b"} {
			rs, _, err := b.Read(nil, q, 0, 100, 1<<30)
			if err != nil || len(rs) != len(all) {
				t.Fatalf("%d messages, %v", len(rs), err)
			}
			for i, r := range rs {
				if !bytes.Equal(r.Msg.AppendRecord(nil), all[i].AppendRecord(nil)) {
					t.Errorf("message %d of %s is another one", i, q)
				}
				if tried := r.Attempts == 5; tried != (q == "/dsub/b" && r.Seq == 2) {
					t.Errorf("message %d of %s was tried %d times", i, q, r.Attempts)
				}
			}
		}
		closeIt(t, b)
		b = open(t, cfg)
	}
	closeIt(t, b)
}

// onceWhich: what was sent to queues has a row for each, which is that of its queue to the Ruby server; so has
// what comes into one queue twice.
func (w *reach) onceWhich(t *testing.T) {
	cfg := w.at(t, t.TempDir())
	b := open(t, cfg)
	db := w.open(t, cfg)
	write(t, b, toAll(topical(t, "/queue/a,/queue/b", "x"), 1, "/queue/a", "/queue/b")...)
	rowsAre(t, db, 2, 0)
	m := topical(t, "/topic/t", "x")
	write(t, b, put("/dsub/a", 1, m), put("/dsub/a", 2, m), put("/dsub/b", 1, m))
	rowsAre(t, db, 4, 2)
	if got := bodies(t, b, "/dsub/a") + " " + bodies(t, b, "/dsub/b"); got != "1:x 2:x 1:x" {
		t.Error(got)
	}
	// What comes and goes in one group: acks go behind puts, and before those that follow.
	write(t, b, append(toAll(m, 3, "/dsub/a", "/dsub/b"), ack("/dsub/a", 1, 3), ack("/dsub/b", 1, 3), put("/dsub/a", 4, m))...)
	rowsAre(t, db, 3, 0)
	closeIt(t, b)
}

func TestOnce(t *testing.T) { reachSQLite.once(t) }

// TestOnceBehindDamage: a queue stops in front of what is damaged, too, if it is found out a second time, and what
// is behind it is large.
func TestOnceBehindDamage(t *testing.T) {
	cfg := inSQLite(t.TempDir())
	b := open(t, cfg)
	write(t, b, text(t, "/queue/a", 1, "x"), text(t, "/queue/a", 2, strings.Repeat("y", 5<<20)))
	change(t, cfg, "UPDATE ar_messages SET frame = 'nonsense' WHERE id = 1")
	for range 2 {
		var damage *activerecord.DamageError
		if rs, _, err := b.Read(nil, "/queue/a", 0, 9, 1<<30); !errors.As(err, &damage) || len(rs) > 0 {
			t.Errorf("%d messages are read, %v", len(rs), err)
		}
	}
	closeIt(t, b)
}
