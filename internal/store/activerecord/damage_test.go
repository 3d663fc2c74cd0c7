package activerecord_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/storetest"
)

// change has another program work on the file of SQLite.
func change(t *testing.T, cfg activerecord.Config, texts ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", cfg.Database.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range texts {
		if _, err := db.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

func text(t testing.TB, queue string, seq store.Seq, body string) store.Record {
	return put(queue, seq, storetest.Message(t, queue, []byte(body)))
}

func write(t *testing.T, b *activerecord.Store, rs ...store.Record) {
	t.Helper()
	if err := b.Write(rs); err != nil {
		t.Fatal(err)
	}
}

func closeIt(t *testing.T, b *activerecord.Store) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// bodies are what a queue holds.
func bodies(t *testing.T, b *activerecord.Store, queue string) string {
	t.Helper()
	rs, more, err := b.Read(nil, queue, 0, 1<<20, 1<<40)
	if err != nil || more {
		t.Fatalf("%d messages, more %v, %v", len(rs), more, err)
	}
	var all []string
	for _, r := range rs {
		all = append(all, fmt.Sprintf("%d:%s", r.Seq, r.Msg.Body()))
	}
	return strings.Join(all, " ")
}

// TestDamagedRow damages each column of a row in turn. It is named at the start; it is not
// handed out, and what is removed around it leaves it.
func TestDamagedRow(t *testing.T) {
	for _, tt := range []struct{ name, text string }{
		{"the frame is none", "UPDATE ar_messages SET frame = 'nonsense' WHERE id = 2"},
		{"another body", "UPDATE ar_messages SET frame = replace(frame, 'body: \"m2', 'body: \"m9') WHERE id = 2"},
		{"another id", "UPDATE ar_messages SET stomp_id = 'vm-1-000000-1' WHERE id = 2"},
		{"another stored form", "UPDATE ar_messages SET stored = x'01' WHERE id = 2"},
		{"another size", "UPDATE ar_messages SET size = 1 WHERE id = 2"},
		{"a size that is none", "UPDATE ar_messages SET size = 'much' WHERE id = 2"},
		{"another place", "UPDATE ar_messages SET seq = 3 WHERE id = 2"},
		{"another queue", "UPDATE ar_messages SET queue = CAST('/queue/b' AS blob) WHERE id = 2"},
		{"no place", "UPDATE ar_messages SET queue = NULL, seq = NULL WHERE id = 2"},
		{"another checksum", "UPDATE ar_messages SET checksum = checksum + 1 WHERE id = 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := inSQLite(t.TempDir())
			b := open(t, cfg)
			for i := range 4 {
				write(t, b, text(t, "/queue/a", store.Seq(i+1), fmt.Sprint("m", i+1)))
			}
			closeIt(t, b)
			change(t, cfg, tt.text)

			var damage *activerecord.DamageError
			if _, err := activerecord.Open(cfg); !errors.As(err, &damage) || fmt.Sprint(damage.Rows) != "[2]" || !strings.Contains(err.Error(), "on_damage: start") {
				t.Fatalf("Open: %v", err)
			}
			cfg.StartDamaged = true
			var log bytes.Buffer
			cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
			b = open(t, cfg)
			if !strings.Contains(log.String(), "a damaged message is left out") || !strings.Contains(log.String(), "row=2") {
				t.Errorf("the log says\n%s", log.String())
			}
			if got, want := bodies(t, b, "/queue/a"), "1:m1 3:m3 4:m4"; got != want {
				t.Errorf("it holds %s, want %s", got, want)
			}
			infos, err := b.Queues()
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range infos {
				if i.Name == "/queue/a" && (i.Count != 3 || i.First != 1 || i.Last != 4) || i.Name == "/queue/b" && i.Count != 0 {
					t.Errorf("%+v", i)
				}
			}
			for _, queue := range []string{"/queue/a", "/queue/b"} {
				write(t, b, store.Record{Kind: store.RecordAck, Queue: queue, Seq: 1, Last: 4}, store.Record{Kind: store.RecordAck, Queue: queue, Seq: 2, Last: 2})
			}
			if got := bodies(t, b, "/queue/a"); got != "" {
				t.Errorf("all was removed, and it holds %s", got)
			}
			closeIt(t, b)

			cfg.StartDamaged = false
			if _, err := activerecord.Open(cfg); !errors.As(err, &damage) || fmt.Sprint(damage.Rows) != "[2]" {
				t.Fatalf("the damaged row was removed: %v", err)
			}
			change(t, cfg, "UPDATE ar_messages SET frame = '"+strings.ReplaceAll(foreign, "'", "''")+"', stored = NULL, queue = NULL, seq = NULL, size = NULL, checksum = NULL WHERE id = 2")
			b = open(t, cfg) // it was mended
			if got, want := bodies(t, b, "/queue/a"), "5:good"; got != want {
				t.Errorf("it holds %s, want %s", got, want)
			}
			closeIt(t, b)
		})
	}
}

// foreign is the frame of another program's row.
const foreign = "--- !ruby/object:StompServer::StompFrame\nheaders:\n  destination: /queue/a\nbody: good\n"

// TestDamageFoundLater: a queue stops in front of the message, or goes on behind it.
func TestDamageFoundLater(t *testing.T) {
	for _, start := range []bool{false, true} {
		t.Run(fmt.Sprint("on_damage: start ", start), func(t *testing.T) {
			cfg := inSQLite(t.TempDir())
			cfg.StartDamaged = start
			b := open(t, cfg)
			for i := range 5 {
				write(t, b, text(t, "/queue/a", store.Seq(i+1), fmt.Sprint("m", i+1)))
			}
			change(t, cfg, "UPDATE ar_messages SET frame = 'nonsense' WHERE id IN (2, 3, 4)")
			rs, more, err := b.Read(nil, "/queue/a", 0, 9, 1<<20)
			if start {
				if err != nil || more || len(rs) != 2 || rs[1].Seq != 5 {
					t.Fatalf("%v, %v, %v", rs, more, err)
				}
				// A page of nothing else is passed over.
				if rs, more, err = b.Read(nil, "/queue/a", 1, 1, 1); err != nil || more || len(rs) != 1 || rs[0].Seq != 5 {
					t.Fatalf("%v, %v, %v", rs, more, err)
				}
				write(t, b, store.Record{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: 5})
			} else {
				if err != nil || !more || len(rs) != 1 || rs[0].Seq != 1 {
					t.Fatalf("%v, %v, %v", rs, more, err)
				}
				var damage *activerecord.DamageError
				if rs, _, err := b.Read(nil, "/queue/a", 1, 9, 1<<20); !errors.As(err, &damage) || len(rs) > 0 {
					t.Fatalf("%v, %v", rs, err)
				}
			}
			closeIt(t, b)
			cfg.StartDamaged = false
			var damage *activerecord.DamageError
			if _, err := activerecord.Open(cfg); !errors.As(err, &damage) || fmt.Sprint(damage.Rows) != "[2 3 4]" {
				t.Fatalf("Open: %v", err)
			}
		})
	}
}

// TestManyDamagedRows: a page of nothing else does not end the taking over.
func TestManyDamagedRows(t *testing.T) {
	cfg := inSQLite(t.TempDir())
	closeIt(t, open(t, cfg))
	var texts []string
	for range 600 {
		texts = append(texts, "INSERT INTO ar_messages (stomp_id, frame) VALUES ('x', 'nonsense')")
	}
	change(t, cfg, append(texts, "INSERT INTO ar_messages (stomp_id, frame) VALUES ('x', '"+foreign+"')")...)
	if _, err := activerecord.Open(cfg); err == nil || !strings.Contains(err.Error(), "600 rows are damaged, those with id 1, 2, 3,") {
		t.Errorf("Open: %v", err)
	}
	cfg.StartDamaged = true
	b := open(t, cfg)
	defer b.Close()
	if got, want := bodies(t, b, "/queue/a"), "1:good"; got != want {
		t.Errorf("it holds %s, want %s", got, want)
	}
}

// TestRowWithoutChecksum, as an earlier build wrote it, is taken over where it is.
func TestRowWithoutChecksum(t *testing.T) {
	cfg := inSQLite(t.TempDir())
	b := open(t, cfg)
	write(t, b, text(t, "/queue/a", 3, "x"), text(t, "/queue/a", 7, "y"))
	closeIt(t, b)
	change(t, cfg, "UPDATE ar_messages SET checksum = NULL, size = NULL")
	for range 2 {
		b = open(t, cfg)
		if got, want := bodies(t, b, "/queue/a"), "3:x 7:y"; got != want {
			t.Errorf("it holds %s, want %s", got, want)
		}
		closeIt(t, b)
	}
}
