package dbm_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/storetest"
)

var flips = flag.Int("dbm.flips", 200, "how many bits TestFlippedBits flips, one at a time")

// flipped is a file, and what is in it: bodies by queue and Seq.
type flipped struct {
	data []byte
	used int // of it
	want map[string]map[store.Seq]string
	ever map[string]map[store.Seq]string // what was removed as well

	stale bool // there may be a page in its place as it was once, which nothing tells from what it is now
}

func newFlipped(t *testing.T, rnd *rand.Rand) *flipped {
	t.Helper()
	f := &flipped{want: make(map[string]map[store.Seq]string), ever: make(map[string]map[store.Seq]string)}
	path := filepath.Join(t.TempDir(), "queues.db")
	b, err := dbm.Open(dbm.Config{Path: path, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	b.TakeApart(15000, 4000, 30000)
	seqs := make(map[string]store.Seq)
	for i := range 400 {
		name := fmt.Sprint("/queue/", "abc"[i%3:i%3+1])
		body := fmt.Sprintf("message %d %s", i, strings.Repeat("x", rnd.IntN(300)))
		switch {
		case i%50 == 0:
			body += strings.Repeat("long ", 4000) // it has pages of its own
		case i == 222:
			body += strings.Repeat("longer ", 40000)
		}
		seqs[name]++
		seq := seqs[name]
		rs := []store.Record{{Kind: store.RecordPut, Queue: name, Seq: seq, Msg: storetest.Message(t, name, []byte(body))}}
		if f.want[name] == nil {
			f.want[name], f.ever[name] = make(map[store.Seq]string), make(map[store.Seq]string)
		}
		f.want[name][seq], f.ever[name][seq] = body, body
		if i%20 == 7 { // it is put into the others too
			for _, other := range []string{"/queue/a", "/queue/b", "/queue/c"} {
				if other != name && f.want[other] != nil {
					seqs[other]++
					rs = append(rs, store.Record{Kind: store.RecordPut, Queue: other, Seq: seqs[other], Msg: rs[0].Msg})
					f.want[other][seqs[other]], f.ever[other][seqs[other]] = body, body
				}
			}
		}
		if i%5 == 4 && seq > 9 {
			rs = append(rs, store.Record{Kind: store.RecordAck, Queue: name, Seq: seq - 9, Last: seq - 8})
			delete(f.want[name], seq-9)
			delete(f.want[name], seq-8)
		}
		if err := b.Write(rs); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if f.data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	f.used = len(bytes.TrimRight(f.data, "\x00"))
	f.data = f.data[:f.used&^0xffff+1<<17] // the rest is room
	return f
}

// check opens data. What is handed out is what was written, and whatever is missing was told.
func (f *flipped) check(t *testing.T, data []byte, start bool) (told bool) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queues.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := dbm.Config{Path: path, NoSync: true, StartDamaged: start, Log: slog.New(slog.NewTextHandler(&log, nil))}
	b, err := dbm.Open(cfg)
	if err != nil {
		if !strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "version") {
			t.Fatalf("the error is %v", err)
		}
		if start && !strings.Contains(err.Error(), "Nothing in it can be read") && !strings.Contains(err.Error(), "version") {
			t.Fatalf("with on_damage: start it does not start: %v", err)
		}
		return true
	}
	told = log.Len() > 0
	infos, err := b.Queues()
	if err != nil {
		t.Fatalf("Queues: %v", err)
	}
	top := make(map[string]store.Seq)
	for _, i := range infos {
		top[i.Name] = i.Last
	}
	older := f.stale || strings.Contains(log.String(), "what was written last may be lost")
	for name, want := range f.want {
		if older {
			want = f.ever[name]
		}
		rs, _, err := b.Read(nil, name, 0, 1<<20, 1<<40)
		if err != nil {
			told = true
			if start {
				t.Errorf("with on_damage: start %s cannot be read: %v", name, err)
			}
		}
		for _, r := range rs {
			if body, ok := want[r.Seq]; !ok || string(r.Msg.Body()) != body {
				t.Fatalf("message %d of %s is not what was written, or was removed: %.100q", r.Seq, name, r.Msg.Body())
			}
			if r.Seq > max(top[name], top[""]) {
				t.Errorf("message %d of %s, and the last is told as %d", r.Seq, name, top[name])
			}
		}
		if len(rs) < len(want) && !told && !f.stale {
			t.Fatalf("%s has %d messages, want %d, and nothing was said", name, len(rs), len(want))
		}
	}
	// Whatever it is, it can be written to, or that fails with an error.
	err = b.Write([]store.Record{
		{Kind: store.RecordPut, Queue: "/queue/a", Seq: 1000, Msg: storetest.Message(t, "/queue/a", []byte("more"))},
		{Kind: store.RecordAck, Queue: "/queue/b", Seq: 1, Last: 100},
	})
	if err != nil && !strings.Contains(err.Error(), "damaged") {
		t.Errorf("Write: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if !start || told {
		return told
	}
	return false
}

func damagedBit(data []byte, at int, bit byte) []byte {
	c := bytes.Clone(data)
	c[at] ^= bit
	return c
}

// TestFlippedBits flips bits in every kind of page.
func TestFlippedBits(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	f := newFlipped(t, rnd)
	told := 0
	for i := range *flips {
		at := rnd.IntN(f.used)
		switch i % 4 {
		case 0: // the beginning of a page, where its structure is
			at = at&^4095 + rnd.IntN(64)
		case 1:
			at = rnd.IntN(2)*4096 + rnd.IntN(80) // the heads
		}
		bit := byte(1) << rnd.IntN(8)
		t.Run(fmt.Sprintf("byte %d, bit %#x", at, bit), func(t *testing.T) {
			data := damagedBit(f.data, at, bit)
			if f.check(t, data, false) {
				told++
			}
			f.check(t, data, true)
		})
	}
	t.Logf("%d of %d were told", told, *flips)
	if told == 0 {
		t.Error("none was noticed")
	}
}

// TestCut cuts the file anywhere: that is told, or changes nothing.
func TestCut(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	f := newFlipped(t, rnd)
	told := 0
	for range 60 {
		at := 1 + rnd.IntN(f.used-1)
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			if f.check(t, f.data[:at], false) {
				told++
			}
			f.check(t, f.data[:at], true)
		})
	}
	if told < 30 {
		t.Errorf("%d cuts of 60 were told", told)
	}
}

// TestNonsense fills pages with what belongs elsewhere.
func TestNonsense(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	f := newFlipped(t, rnd)
	for i := range 40 {
		data := bytes.Clone(f.data)
		to := rnd.IntN(f.used/4096) * 4096
		from := rnd.IntN(f.used/4096) * 4096
		page := bytes.Clone(data[from : from+4096])
		f.stale = i%3 == 1
		switch i % 3 {
		case 0:
			page = make([]byte, 4096)
		case 1:
			copy(page, data[to:to+8]) // it says that it is in the right place
		}
		copy(data[to:], page)
		t.Run(fmt.Sprintf("page %d in the place of %d", from/4096, to/4096), func(t *testing.T) {
			f.check(t, data, false)
			f.check(t, data, true)
		})
	}
}

// TestSalvage: what is damaged is named, and missing afterwards; the rest goes on, and the old file is kept.
func TestSalvage(t *testing.T) {
	f := newFlipped(t, rand.New(rand.NewPCG(3, 4)))
	at := bytes.Index(f.data, []byte("message 390 "))
	if at < 0 {
		t.Fatal("message 390 is not there")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "queues.db")
	// The newest copy of the page is the one that counts; all are damaged.
	data := bytes.ReplaceAll(f.data, []byte("message 390 "), []byte("message 39O "))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	b, err := dbm.Open(dbm.Config{Path: path, NoSync: true, StartDamaged: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"missing=1", "of queue number", "its checksum does not fit", ".damaged-"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
	rs, more, err := b.Read(nil, "/queue/a", 0, 1<<20, 1<<40)
	if err != nil || more || len(rs) != len(f.want["/queue/a"])-1 {
		t.Errorf("%d messages of %d, %v", len(rs), len(f.want["/queue/a"]), err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(path + ".damaged-*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("%q, %v", kept, err)
	}
	if was, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(was, data) {
		t.Errorf("the damaged file was not kept: %v", err)
	}
	log.Reset()
	if b, err = dbm.Open(dbm.Config{Path: path, NoSync: true, Log: slog.New(slog.NewTextHandler(&log, nil))}); err != nil || log.Len() > 0 {
		t.Fatalf("the second start: %v, %s", err, log.String())
	}
	_ = b.Close()
}

// TestVersions reads what earlier builds wrote, and goes on with it.
func TestVersions(t *testing.T) {
	for _, name := range []string{"version1.db", "version2.db"} {
		t.Run(name, func(t *testing.T) { goesOnWith(t, filepath.Join("testdata", name)) })
	}
}

func goesOnWith(t *testing.T, name string) {
	path := filepath.Join(t.TempDir(), "queues.db")
	old, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(old, make([]byte, 1<<20)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for life := range 2 {
		b, err := dbm.Open(dbm.Config{Path: path, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		rs, more, err := b.Read(nil, "/queue/a", 0, 100, 1<<20)
		if err != nil || more || len(rs) != 3+life {
			t.Fatalf("life %d: %d messages, %v", life, len(rs), err)
		}
		for i, r := range rs {
			if string(r.Msg.Body()) != fmt.Sprint("message ", r.Seq) || i == 0 && r.Attempts != 4 {
				t.Errorf("%d: %q, %d", r.Seq, r.Msg.Body(), r.Attempts)
			}
		}
		if life == 0 {
			if err := b.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: 5, Msg: storetest.Message(t, "/queue/a", []byte("message 5"))}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamageError is one that can be told from others.
func TestDamageError(t *testing.T) {
	f := newFlipped(t, rand.New(rand.NewPCG(5, 6)))
	path := filepath.Join(t.TempDir(), "queues.db")
	if err := os.WriteFile(path, f.data[:8192+100], 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := dbm.Open(dbm.Config{Path: path})
	var damage *dbm.DamageError
	if !errors.As(err, &damage) || !strings.Contains(err.Error(), "is to have") || !strings.Contains(err.Error(), "on_damage: start") {
		t.Errorf("%v", err)
	}
}
