package activerecord_test

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
)

var flips = flag.Int("activerecord.flips", 250, "how many bits TestFlippedBits flips, one at a time")

// flipped is a file of SQLite, and what is in it.
type flipped struct {
	data []byte
	want map[string]map[store.Seq][]byte // stored forms by queue and seq
}

func newFlipped(t *testing.T) *flipped {
	f := &flipped{want: make(map[string]map[store.Seq][]byte)}
	cfg := inSQLite(t.TempDir())
	b := open(t, cfg)
	var rs []store.Record
	for i := range 120 {
		name := fmt.Sprint("/queue/", "abc"[i%3:i%3+1])
		body := fmt.Sprintf("message %d ", i)
		if i%10 == 0 {
			body = strings.Repeat(body, 1000) // it lies on pages of its own
		}
		r := text(t, name, store.Seq(i+1), body)
		names := []string{name}
		switch {
		case i%7 == 0:
			r.Msg = r.Msg.Redirect(name, "original-destination", "/queue/x")
		case i%7 == 1: // it is there once
			names = []string{"/queue/a", "/queue/b", "/queue/c"}
			r.Msg = topical(t, "/topic/t", body)
		}
		for _, name := range names {
			if f.want[name] == nil {
				f.want[name] = make(map[store.Seq][]byte)
			}
			f.want[name][r.Seq] = r.Msg.AppendRecord(nil)
			rs = append(rs, put(name, r.Seq, r.Msg))
		}
	}
	write(t, b, rs...)
	closeIt(t, b)
	var err error
	if f.data, err = os.ReadFile(cfg.Database.Database); err != nil {
		t.Fatal(err)
	}
	return f
}

// check opens data: what is handed out is what was written, and whatever is missing was told.
func (f *flipped) check(t *testing.T, data []byte, start bool) (told bool) {
	t.Helper()
	cfg := inSQLite(t.TempDir())
	cfg.StartDamaged = start
	if err := os.WriteFile(cfg.Database.Database, data, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := activerecord.Open(cfg)
	if err != nil {
		return true
	}
	defer b.Close()
	for name, want := range f.want {
		got := 0
		for after, more := store.Seq(0), true; more; {
			var rs []store.Record
			if rs, more, err = b.Read(nil, name, after, 20, 1<<20); err != nil {
				told, more = true, false
			}
			for _, r := range rs {
				if r.Seq <= after || !bytes.Equal(r.Msg.AppendRecord(nil), want[r.Seq]) {
					t.Fatalf("message %d of %s is not what was written: %.100q", r.Seq, name, r.Msg.Body())
				}
				after = r.Seq
				got++
			}
		}
		if got < len(want) && !told && !start {
			t.Fatalf("%s has %d messages, want %d, and nothing was said", name, got, len(want))
		}
	}
	// Whatever it is, it can be written to, or that fails with an error.
	_ = b.Write([]store.Record{text(t, "/queue/a", 1000, "more"), {Kind: store.RecordAck, Queue: "/queue/b", Seq: 1, Last: 50}})
	return told
}

// TestFlippedBits flips one bit of the file at a time.
func TestFlippedBits(t *testing.T) {
	f := newFlipped(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	told := 0
	n := *flips
	if race {
		n /= 10
	}
	for range n {
		at, bit := rnd.IntN(len(f.data)), byte(1)<<rnd.IntN(8)
		data := bytes.Clone(f.data)
		data[at] ^= bit
		t.Run(fmt.Sprintf("byte %d, bit %#x", at, bit), func(t *testing.T) {
			if f.check(t, data, false) {
				told++
			}
			f.check(t, data, true)
		})
	}
	t.Logf("%d of %d were told", told, n)
	if told == 0 {
		t.Error("none was noticed")
	}
}

// TestTruncated cuts the file off.
func TestTruncated(t *testing.T) {
	f := newFlipped(t)
	step := max(len(f.data)/40, 1)
	for n := step; n < len(f.data); n += step {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			if !f.check(t, f.data[:n], false) {
				t.Error("nothing was said")
			}
			f.check(t, f.data[:n], true)
		})
	}
}

// TestDamagedLog flips bits of the write-ahead log that a kill leaves: what is lost by that is told, but for
// the last transaction, which may not have been synced.
func TestDamagedLog(t *testing.T) {
	cfg := inSQLite(t.TempDir())
	cfg.NoSync = false
	b := open(t, cfg)
	const all = 40
	for i := range all {
		write(t, b, text(t, "/queue/a", store.Seq(i+1), fmt.Sprint("message ", i+1)))
	}
	files := make(map[string][]byte)
	for _, end := range []string{"", "-wal"} { // as a kill leaves them
		data, err := os.ReadFile(cfg.Database.Database + end)
		if err != nil {
			t.Fatal(err)
		}
		files[end] = data
	}
	closeIt(t, b)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	refused := 0
	for i := range 30 {
		log := bytes.Clone(files["-wal"])
		at := rnd.IntN(len(log))
		switch i {
		case 0:
			at = 5 // the head
		case 1:
			at = len(log) - 100 // the last frame
		}
		log[at] ^= 1 << rnd.IntN(8)
		for _, start := range []bool{false, true} {
			cfg := inSQLite(t.TempDir())
			cfg.NoSync, cfg.StartDamaged = false, start
			var said bytes.Buffer
			cfg.Log = slog.New(slog.NewTextHandler(&said, nil))
			for end, data := range files {
				if end == "-wal" {
					data = log
				}
				if err := os.WriteFile(cfg.Database.Database+end, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b, err := activerecord.Open(cfg)
			if err != nil {
				refused++
				if start || !strings.Contains(err.Error(), "write-ahead log is damaged") || !strings.Contains(err.Error(), "on_damage: start") {
					t.Errorf("byte %d: %v", at, err)
				}
				continue
			}
			rs, _, err := b.Read(nil, "/queue/a", 0, 100, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			for j, r := range rs {
				if want := fmt.Sprint("message ", j+1); string(r.Msg.Body()) != want {
					t.Errorf("byte %d: message %d is %q", at, j+1, r.Msg.Body())
				}
			}
			if told := strings.Contains(said.String(), "write-ahead log"); len(rs) < all-1 && !told {
				t.Errorf("byte %d of %d: %d messages of %d, and nothing was said", at, len(log), len(rs), all)
			}
			closeIt(t, b)
		}
	}
	if refused < 15 {
		t.Errorf("%d of 30 were noticed", refused)
	}
}

// TestLongLog has a kill leave a long log, which is short after the next start, and what it has is there.
func TestLongLog(t *testing.T) {
	cfg := inSQLite(t.TempDir())
	cfg.NoSync = false
	b := open(t, cfg)
	body := strings.Repeat("x", 12<<20)
	write(t, b, text(t, "/queue/a", 1, body))
	left := inSQLite(t.TempDir())
	left.NoSync = false
	for _, end := range []string{"", "-wal"} {
		data, err := os.ReadFile(cfg.Database.Database + end)
		if err != nil {
			t.Fatal(err)
		}
		if end != "" && len(data) < len(body) {
			t.Fatalf("the log has %d bytes", len(data))
		}
		if err := os.WriteFile(left.Database.Database+end, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closeIt(t, b)
	b = open(t, left)
	if st, err := os.Stat(left.Database.Database + "-wal"); err != nil || st.Size() > 1<<20 {
		t.Errorf("the log is %d bytes long, %v", st.Size(), err)
	}
	if got := bodies(t, b, "/queue/a"); got != "1:"+body {
		t.Errorf("it holds %d bytes", len(got))
	}
	closeIt(t, b)
}
