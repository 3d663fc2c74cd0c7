package dbm_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

// open does not wait for the disk: what these tests are after is the same without.
func open(t testing.TB, dir string) store.Backend { return openAs(t, dir, true) }

func openAs(t testing.TB, dir string, noSync bool) store.Backend {
	t.Helper()
	b, err := dbm.Open(dbm.Config{Path: filepath.Join(dir, "queues.db"), NoSync: noSync})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spooled(t testing.TB, dir string) store.Store { return spooledOn(t, open(t, dir)) }

func spooledOn(t testing.TB, b store.Backend) store.Store {
	t.Helper()
	st, err := spool.Open(spool.Config{Backend: b, Brief: true, Window: 1 << 20, Memory: 4 << 20, Failed: func(err error) { t.Errorf("failed: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestBackend(t *testing.T) { storetest.RunBackend(t, open) }

func TestStore(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return spooled(t, t.TempDir()) })
	storetest.RunDurable(t, spooled)
}

func BenchmarkDBM(b *testing.B) {
	storetest.Bench(b, func(t testing.TB) store.Store { return spooledOn(t, openAs(t, t.TempDir(), false)) })
}

func TestOneProcessOnly(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	defer b.Close()
	_, err := dbm.Open(dbm.Config{Path: filepath.Join(dir, "queues.db")})
	if err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second Open: %v", err)
	}
}

// TestDamage flips bytes of messages, which bbolt has no checksums for: none is read as if
// nothing were.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "queues.db")
	b := open(t, dir)
	body := strings.Repeat("needle", 50)
	for i := range 50 {
		if err := b.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: store.Seq(i + 1), Msg: storetest.Message(t, "/queue/a", []byte(body))}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for at := 0; ; {
		next := bytes.Index(file[at:], []byte(body))
		if next < 0 {
			break
		}
		at += next + len(body)
		broken := bytes.Clone(file)
		broken[at-3] ^= 0x55
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, dir)
		got, _, err := b.Read(nil, "/queue/a", 0, 1000, 1<<30)
		if err != nil && strings.Contains(err.Error(), "damaged") {
			told++
		} else if len(got) < 50 {
			t.Errorf("%d messages, %v", len(got), err)
		}
		for _, r := range got {
			if string(r.Msg.Body()) != body {
				t.Errorf("message %d reads %q", r.Seq, r.Msg.Body())
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if told < 50 {
		t.Errorf("%d damaged messages of 50 were noticed", told)
	}
}
