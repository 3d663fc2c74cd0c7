package activerecord_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
)

// onceByHand has another program remove, mend and add rows.
func (w *reach) onceByHand(t *testing.T) {
	cfg := w.at(t, t.TempDir())
	var log bytes.Buffer
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	b := open(t, cfg)
	db := w.open(t, cfg)
	queues := dsubs(3)
	for i := range 4 {
		write(t, b, toAll(topical(t, "/topic/t", fmt.Sprint("m", i+1)), store.Seq(i+1), queues...)...)
	}
	id := func(n int) int64 {
		return ask(t, db, fmt.Sprintf("SELECT message FROM stompserver_copies WHERE seq = %d GROUP BY message", n))
	}
	// It is removed while we run.
	do(t, db, fmt.Sprintf("DELETE FROM ar_messages WHERE id = %d", id(2)))
	if got := bodies(t, b, queues[0]); got != "1:m1 3:m3 4:m4" {
		t.Error(got)
	}
	// Another is mended as a whole row is, and as a copy is; and one loses its copies.
	three, four := id(3), id(4)
	do(t, db, fmt.Sprintf("UPDATE ar_messages SET frame = REPLACE(frame, 'body: \"m3', 'body: \"M3'), seq = NULL WHERE id = %d", three),
		fmt.Sprintf("UPDATE stompserver_copies SET checksum = NULL, size = NULL WHERE message = %d", three),
		fmt.Sprintf("DELETE FROM stompserver_copies WHERE message = %d", four))
	closeIt(t, b)
	for range 2 {
		log.Reset()
		b = open(t, cfg)
		for _, q := range queues {
			if got := bodies(t, b, q); got != "1:m1 3:M3" {
				t.Errorf("%s holds %s", q, got)
			}
		}
		if text := log.String(); !strings.Contains(text, fmt.Sprintf("rows=[%d]", four)) {
			t.Errorf("it is said\n%s", text)
		}
		closeIt(t, b)
	}
	rowsAre(t, db, 3, 6)
	// One who adds a row meanwhile is no matter.
	do(t, db, "INSERT INTO ar_messages (stomp_id, frame) VALUES ('x', '"+foreign+"')")
	b = open(t, cfg)
	if got := bodies(t, b, "/queue/a"); got != "1:good" {
		t.Error(got)
	}
	closeIt(t, b)
}

// onceAdopted takes over a row of a queue that is given what has its place apart later: it is handed out and
// goes as any other.
func (w *reach) onceAdopted(t *testing.T) {
	cfg := w.at(t, t.TempDir())
	closeIt(t, open(t, cfg)) // makes the tables
	db := w.open(t, cfg)
	do(t, db, "INSERT INTO ar_messages (stomp_id, frame) VALUES ('x', '"+foreign+"')")
	b := open(t, cfg)
	write(t, b, toAll(topical(t, "/topic/t", "m2"), 2, "/queue/a", "/queue/b")...)
	if got := bodies(t, b, "/queue/a"); got != "1:good 2:m2" {
		t.Errorf("it holds %s", got)
	}
	write(t, b, ack("/queue/a", 1, 1))
	closeIt(t, b)
	b = open(t, cfg)
	if got := bodies(t, b, "/queue/a"); got != "2:m2" {
		t.Errorf("when the first is acked it holds %s", got)
	}
	closeIt(t, b)
}

// onceDamage damages a row, a copy, and a large row: they are named, not handed out, and stay where they are.
func (w *reach) onceDamage(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		holds      [2]string // by queue
	}{
		{"the frame", "UPDATE ar_messages SET frame = REPLACE(frame, 'body: \"m2', 'body: \"m9') WHERE id = %d", [2]string{"1:m1 3:m3", "1:m1 3:m3"}},
		{"the id", "UPDATE ar_messages SET stomp_id = 'vm-1-000000-1' WHERE id = %d", [2]string{"1:m1 3:m3", "1:m1 3:m3"}},
		{"a copy's size", "UPDATE stompserver_copies SET size = 1 WHERE message = %d AND attempts = 0", [2]string{"1:m1 2:m2 3:m3", "1:m1 3:m3"}},
		{"a copy's checksum", "UPDATE stompserver_copies SET checksum = checksum + 1 WHERE message = %d AND attempts = 0", [2]string{"1:m1 2:m2 3:m3", "1:m1 3:m3"}},
		{"a copy's place", "UPDATE stompserver_copies SET seq = 9 WHERE message = %d AND attempts = 0", [2]string{"1:m1 2:m2 3:m3", "1:m1 3:m3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := w.at(t, t.TempDir())
			b := open(t, cfg)
			db := w.open(t, cfg)
			queues := dsubs(2)
			for i := range 3 {
				write(t, b, toAll(topical(t, "/topic/t", fmt.Sprint("m", i+1)), store.Seq(i+1), queues...)...)
			}
			write(t, b, store.Record{Kind: store.RecordAttempts, Queue: queues[0], Seq: 2, Attempts: 1})
			id := ask(t, db, "SELECT message FROM stompserver_copies WHERE seq = 2 GROUP BY message")
			do(t, db, fmt.Sprintf(tt.text, id))
			if !strings.Contains(tt.text, "seq = 9") { // which is no more there, while it runs
				var damage *activerecord.DamageError
				for range 2 {
					if rs, more, err := b.Read(nil, queues[1], 0, 9, 1<<20); err != nil || !more || len(rs) != 1 {
						t.Errorf("%d messages, more %v, %v", len(rs), more, err)
					}
					if rs, _, err := b.Read(nil, queues[1], 1, 9, 1<<20); !errors.As(err, &damage) || len(rs) > 0 {
						t.Errorf("%d messages are read, %v", len(rs), err)
					}
				}
			}
			closeIt(t, b)
			named := func() {
				t.Helper()
				var damage *activerecord.DamageError
				if _, err := activerecord.Open(cfg); !errors.As(err, &damage) || fmt.Sprint(damage.Rows) != fmt.Sprintf("[%d]", id) || damage.Count != 1 {
					t.Fatalf("Open: %v", err)
				}
			}
			named()
			cfg.StartDamaged = true
			b = open(t, cfg)
			for i, q := range queues {
				if got := bodies(t, b, q); got != tt.holds[i] {
					t.Errorf("%s holds %s, want %s", q, got, tt.holds[i])
				}
				infos, err := b.Queues()
				if err != nil {
					t.Fatal(err)
				}
				at := slices.IndexFunc(infos, func(i store.Info) bool { return i.Name == q })
				if n := strings.Count(tt.holds[i], ":"); infos[at].Count != n {
					t.Errorf("%+v, want %d", infos[at], n)
				}
				write(t, b, ack(q, 1, 9))
				if got := bodies(t, b, q); got != "" {
					t.Errorf("all was removed, and %s holds %s", q, got)
				}
			}
			closeIt(t, b)
			cfg.StartDamaged = false
			named()
			do(t, db, fmt.Sprintf("DELETE FROM stompserver_copies WHERE message = %d", id), fmt.Sprintf("DELETE FROM ar_messages WHERE id = %d", id))
			closeIt(t, open(t, cfg))
			rowsAre(t, db, 0, 0)
		})
	}
}
