package activerecord_test

import (
	"bytes"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/storetest"
)

// largeBodies are such as YAML and the databases have their own ways of spelling, and that come in
// several pieces.
var largeBodies = map[string][]byte{
	"plain":          bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16),
	"escapes":        bytes.Repeat([]byte("\"\\\n\t\r\x01'%\\N\\.\n\u2028\ufeff"), 1<<20/10),
	"wide":           []byte("x" + strings.Repeat("é☃😀", 1<<20/7)),
	"a few too much": bytes.Repeat([]byte("0123456789abcdef\n"), 1<<20/17+1),
	"no text":        append(bytes.Repeat([]byte{0xff, 0, '\n', '\\', '\t'}, 1<<20), 1),
	"zeros":          make([]byte, 9<<20),
}

// largeOnes stores what is large beside what is small, and reads it: before and after a restart, which
// looks at the checksums.
func largeOnes(t *testing.T, at place) {
	cfg := at(t, t.TempDir())
	b := open(t, cfg)
	var all []store.Record
	seq := store.Seq(0)
	for name, body := range largeBodies {
		for _, queue := range []string{"/queue/a", "/queue/$p9/queue/a"} { // which has to keep the destination apart
			f := &frame.Frame{Command: frame.Send, Body: body}
			f.Header.Add("name", name)
			f.Header.Add("odd", "a\\b\tc\nd")
			m, err := message.New(f, "/queue/a", message.At(1795418394273))
			if err != nil {
				t.Fatal(err)
			}
			seq++
			all = append(all, put(queue, seq, m), put(queue, seq+1, storetest.Message(t, queue, []byte("small"))))
			seq++
		}
	}
	for len(all) > 0 { // in groups of several
		n := min(6, len(all))
		write(t, b, all[:n]...)
		for range 2 {
			for _, r := range all[:n] {
				got, _, err := b.Read(nil, r.Queue, r.Seq-1, 1, 1)
				if err != nil || len(got) != 1 || got[0].Seq != r.Seq {
					t.Fatalf("message %d of %s: %d are read, %v", r.Seq, r.Queue, len(got), err)
				}
				if name, _ := r.Msg.Header("name"); !bytes.Equal(got[0].Msg.AppendRecord(nil), r.Msg.AppendRecord(nil)) {
					t.Errorf("%s in %s is another one", name, r.Queue)
				}
			}
			closeIt(t, b)
			b = open(t, cfg)
		}
		write(t, b, store.Record{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: seq}, store.Record{Kind: store.RecordAck, Queue: "/queue/$p9/queue/a", Seq: 1, Last: seq})
		all = all[n:]
	}
	closeIt(t, b)
}

func TestLargeOnes(t *testing.T) {
	largeOnes(t, func(t testing.TB, place string) activerecord.Config { return inSQLite(place) })
}

// largeDamage changes a large row behind our back: it is not delivered, and is named at the next start.
func largeDamage(t *testing.T, at place, driver string, dsn func(activerecord.Config) string, change string) {
	cfg := at(t, t.TempDir())
	b := open(t, cfg)
	large := strings.Repeat("x", 5<<20)
	write(t, b, text(t, "/queue/a", 1, large), text(t, "/queue/a", 2, "y"), text(t, "/queue/a", 3, large), text(t, "/queue/a", 4, large))
	db, err := sql.Open(driver, dsn(cfg))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(change); err != nil {
		t.Fatal(err)
	}
	var damage *activerecord.DamageError
	if rs, _, err := b.Read(nil, "/queue/a", 0, 9, 1<<30); !errors.As(err, &damage) || len(rs) > 0 {
		t.Errorf("%d messages are read, %v", len(rs), err)
	}
	closeIt(t, b)
	if b, err := activerecord.Open(cfg); !errors.As(err, &damage) {
		t.Errorf("it is opened: %v", err)
		_ = b.Close()
	}
	cfg.StartDamaged = true
	b = open(t, cfg)
	if got := bodies(t, b, "/queue/a"); got != "2:y 3:"+large {
		t.Errorf("it holds %d bytes, %.100s", len(got), got)
	}
	closeIt(t, b)
}

func TestLargeDamage(t *testing.T) {
	largeDamage(t, func(t testing.TB, place string) activerecord.Config { return inSQLite(place) }, "sqlite",
		func(cfg activerecord.Config) string { return cfg.Database.Database }, "UPDATE ar_messages SET frame = frame || ' ' WHERE id IN (1, 4)")
}
