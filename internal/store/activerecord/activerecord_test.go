package activerecord_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/spool"
	"stompserver/internal/store/storetest"
)

func inSQLite(dir string) activerecord.Config {
	return activerecord.Config{
		Database: activerecord.Database{Adapter: "sqlite3", Database: filepath.Join(dir, "stompserver_development")},
		NoSync:   true, // what most of these tests are after is the same without
	}
}

func open(t testing.TB, cfg activerecord.Config) *activerecord.Store {
	t.Helper()
	b, err := activerecord.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func spooled(t testing.TB, cfg activerecord.Config) store.Store {
	t.Helper()
	st, err := spool.Open(spool.Config{Backend: open(t, cfg), Window: 1 << 20, Memory: 4 << 20, Failed: func(err error) { t.Errorf("failed: %v", err) }})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// suite runs what every store has to pass, with the race detector only what has several
// goroutines; at says which database a place is.
func suite(t *testing.T, at func(t testing.TB, place string) activerecord.Config) {
	check := storetest.Run
	if race {
		check = storetest.RunShort
	}
	t.Run("store", func(t *testing.T) {
		check(t, func(t testing.TB) store.Store { return spooled(t, at(t, t.TempDir())) })
	})
	if race {
		return
	}
	t.Run("backend", func(t *testing.T) {
		storetest.RunBackend(t, func(t testing.TB, place string) store.Backend { return open(t, at(t, place)) })
	})
	t.Run("durable", func(t *testing.T) {
		storetest.RunDurable(t, func(t testing.TB, place string) store.Store { return spooled(t, at(t, place)) })
	})
}

func TestSQLite(t *testing.T) {
	suite(t, func(t testing.TB, place string) activerecord.Config { return inSQLite(place) })
}

func BenchmarkSQLite(b *testing.B) {
	storetest.Bench(b, func(t testing.TB) store.Store {
		cfg := inSQLite(t.TempDir())
		cfg.NoSync = false
		return spooled(t, cfg)
	})
}

func put(queue string, seq store.Seq, m *message.Message) store.Record {
	return store.Record{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: m}
}

// TestMessagesAreKeptWhole stores what YAML has its trouble with.
func TestMessagesAreKeptWhole(t *testing.T) {
	b := open(t, inSQLite(t.TempDir()))
	defer b.Close()
	var want []*message.Message
	for _, headers := range [][]string{
		{}, {"a", "1", "a", "2"}, {"", "x"}, {"n\xff", "\xfe"}, {"a:b", "c\nd\\\r"}, {"persistent", "false", "max-exceptions", "3"},
		{"timestamp", "then"}, {"message-id", "theirs"}, {"y", "yes", "null", "~"},
	} {
		f := &frame.Frame{Command: frame.Send, Body: []byte("b\x00\xff" + strings.Join(headers, "|"))}
		for i := 0; i+1 < len(headers); i += 2 {
			f.Header.Add(headers[i], headers[i+1])
		}
		m, err := message.New(f, "/queue/a", message.At(1795418394273))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, m, m.Redirect("/queue/deadletter", "original-destination", "/queue/a"))
	}
	for i, m := range want {
		if err := b.Write([]store.Record{put(m.Destination(), store.Seq(i+1), m)}); err != nil {
			t.Fatal(err)
		}
		rs, _, err := b.Read(nil, m.Destination(), store.Seq(i), 1, 1<<20)
		if err != nil || len(rs) != 1 {
			t.Fatal(rs, err)
		}
		if got, want := rs[0].Msg.AppendRecord(nil), m.AppendRecord(nil); !bytes.Equal(got, want) {
			t.Errorf("message %d:\n got %q\nwant %q", i, got, want)
		}
	}
}

// TestRubysDatabase opens one that the Ruby server left.
func TestRubysDatabase(t *testing.T) {
	dir := t.TempDir()
	data, err := os.ReadFile("testdata/ruby.sqlite3")
	if err != nil {
		t.Fatal(err)
	}
	cfg := inSQLite(dir)
	if err := os.WriteFile(cfg.Database.Database, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is nothing to take over
		b := open(t, cfg)
		var got []string
		for _, q := range []string{"/queue/test", "/queue/orders/eu_west", "/queue/empty_body"} {
			rs, more, err := b.Read(nil, q, 0, 100, 1<<30)
			if err != nil || more {
				t.Fatal(more, err)
			}
			for _, r := range rs {
				n, _ := r.Msg.Header("x-n")
				got = append(got, fmt.Sprintf("%s %d %q %s %d", r.Queue, r.Seq, r.Msg.Body(), n, r.Msg.Arrived()))
			}
		}
		want := []string{
			`/queue/test 1 "message 3" 3 1795418363502`, `/queue/test 2 "message 4" 4 1795418363554`, `/queue/test 3 "message 5" 5 1795418363604`,
			`/queue/test 4 "message 6" 6 1795418363655`, `/queue/test 5 "message 7" 7 1795418363705`,
			`/queue/test 6 "bin\x00ary\xff\x01"  1795418363755`, `/queue/test 7 "message 2" 2 1795418363452`,
			`/queue/orders/eu_west 1 "Grüße ☃"  1795418363806`, `/queue/empty_body 1 ""  1795418363856`,
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRails has a model of ActiveRecord, with "serialize :frame", read what is written here,
// and write a row of its own.
func TestRails(t *testing.T) {
	ruby, err := exec.LookPath("ruby")
	if err != nil || exec.Command(ruby, "-e", "require 'active_record'; require 'sqlite3'").Run() != nil {
		if os.Getenv("TEST_REQUIRE_ALL") == "1" {
			t.Fatal("ruby-activerecord and ruby-sqlite3 are not installed")
		}
		t.Skip("ruby-activerecord and ruby-sqlite3 are not installed")
	}
	cfg := inSQLite(t.TempDir())
	b := open(t, cfg)
	for i, body := range []string{"plain", "b\x00\xff", "grüß\n"} {
		f := &frame.Frame{Command: frame.Send, Body: []byte(body)}
		f.Header.Add("type", "yes")
		m, err := message.New(f, "/queue/a", message.At(1795418394273))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Write([]store.Record{put("/queue/a", store.Seq(i+1), m)}); err != nil {
			t.Fatal(err)
		}
	}
	write(t, b, toAll(topical(t, "/topic/t", "for all", "type", "no"), 1, dsubs(3)...)...)
	large := topical(t, "/queue/large", strings.Repeat("é\n", 1<<20), "type", "large")
	write(t, b, put("/queue/large", 1, large), put("/queue/large", 2, topical(t, "/queue/large", strings.Repeat("\xff", 2<<20), "type", "bytes")))
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(ruby, "testdata/model.rb", cfg.Database.Database).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := `"/queue/a" "yes" "plain" true
"/queue/a" "yes" "b\x00\xFF" true
"/queue/a" "yes" "gr\u00FC\u00DF\n" true
"/topic/t" "no" "for all" true
"/queue/large" "large" 3145728 bytes, UTF-8, true
"/queue/large" "bytes" 2097152 bytes, ASCII-8BIT, true
`
	if string(out) != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	b = open(t, cfg)
	defer b.Close()
	rs, _, err := b.Read(nil, "/queue/a", 3, 9, 1<<20)
	if err != nil || len(rs) != 1 || string(rs[0].Msg.Body()) != "of Ruby" || rs[0].Seq != 4 {
		t.Errorf("%+v, %v", rs, err)
	}
	for _, q := range dsubs(3) {
		if got := bodies(t, b, q); got != "1:for all" {
			t.Errorf("%s holds %s", q, got)
		}
	}
}
