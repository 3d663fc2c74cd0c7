package journal_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

const smallSegment = 16 << 10

// TestDamage flips bits of all files, and cuts them: that is told, or changes nothing; with
// StartDamaged no message is there that was not, and none with another body.
func TestDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(crashFlags.Seed(t), 9))
	w := &storetest.Writer{Rand: r, Names: names}
	whole := &vfs.Memory{}
	all := storetest.State{} // every message that ever was, with any number of tries
	now := storetest.State{}
	for range 4 {
		j, err := journal.Open(journal.Config{FS: whole, SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			var rs []store.Record
			rs, now = w.Group(t, now)
			if err := j.Write(rs); err != nil {
				t.Fatal(err)
			}
			for _, rec := range rs {
				if rec.Kind == store.RecordPut {
					if all[rec.Queue] == nil {
						all[rec.Queue] = map[store.Seq]string{}
					}
					all[rec.Queue][rec.Seq] = string(rec.Msg.Body())
				}
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := whole.List()
	if err != nil {
		t.Fatal(err)
	}
	told, same := 0, 0
	for _, name := range files {
		for range 40 {
			fs := whole.Clone()
			f, err := fs.Open(name, false)
			if err != nil {
				t.Fatal(err)
			}
			size, err := f.Size()
			if err != nil {
				t.Fatal(err)
			}
			if size == 0 {
				break
			}
			at := r.Int64N(size)
			what := "cut"
			if r.IntN(4) > 0 {
				what = "flipped"
				b := make([]byte, 1)
				if _, err := f.ReadAt(b, at); err != nil {
					t.Fatal(err)
				}
				b[0] ^= 1 << r.IntN(8)
				if _, err := f.WriteAt(b, at); err != nil {
					t.Fatal(err)
				}
			} else if err := f.Truncate(at); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			j, err := journal.Open(journal.Config{FS: fs.Clone(), SegmentSize: smallSegment})
			var got storetest.State
			if err == nil {
				got, err = storetest.StateOf(j, names...)
				_ = j.Close()
			}
			switch {
			case err != nil:
				told++
			case got.String() == now.String():
				same++
			default:
				t.Errorf("%s %s at %d of %d: nothing is told, and there is\n%s\nwant\n%s", name, what, at, size, got, now)
			}
			j, err = journal.Open(journal.Config{FS: fs, SegmentSize: smallSegment, StartDamaged: true})
			if err != nil {
				t.Errorf("%s %s at %d of %d: StartDamaged: %v", name, what, at, size, err)
				continue
			}
			for _, queue := range names {
				rs, _, err := j.Read(nil, queue, 0, 1<<20, 1<<40)
				if err != nil {
					t.Errorf("%s %s at %d of %d: StartDamaged: Read: %v", name, what, at, size, err)
				}
				for _, rec := range rs {
					if body := string(rec.Msg.Body()); body != all[queue][rec.Seq] {
						t.Errorf("%s %s at %d of %d: message %d of %s is %q", name, what, at, size, rec.Seq, queue, body)
					}
				}
			}
			_ = j.Close()
		}
	}
	t.Logf("%d files: %d times told, %d times without effect", len(files), told, same)
	if told == 0 {
		t.Error("no damage was told")
	}
}

// TestVersion: a segment of another version is refused whatever is asked for, but one whose version
// has a flipped bit is damaged like any.
func TestVersion(t *testing.T) {
	fs := &vfs.Memory{}
	j, err := journal.Open(journal.Config{FS: fs, SegmentSize: smallSegment})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := fs.List()
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	change := func(fs *vfs.Memory, salt byte) {
		t.Helper()
		f, err := fs.Open(files[0], false)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for at, flip := range map[int64]byte{10: 1, 33: salt} {
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, at); err != nil {
				t.Fatal(err)
			}
			b[0] ^= flip
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	flipped, other := fs.Clone(), fs.Clone()
	change(flipped, 0)
	change(other, 1) // what another version writes has another checksum
	for _, test := range []struct {
		name   string
		fs     *vfs.Memory
		damage bool
		want   string
	}{
		{"a flipped bit", flipped, false, "damage"},
		{"a flipped bit, start", flipped, true, ""},
		{"another version", other, false, "it has version 65537 of the format, known is 1"},
		{"another version, start", other, true, "it has version 65537 of the format, known is 1"},
	} {
		j, err := journal.Open(journal.Config{FS: test.fs, SegmentSize: smallSegment, StartDamaged: test.damage})
		if err == nil {
			_ = j.Close()
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// TestCutNearItsHead cuts a segment at each byte about its head: that is told, and is no panic.
func TestCutNearItsHead(t *testing.T) {
	whole := &vfs.Memory{}
	j, err := journal.Open(journal.Config{FS: whole, SegmentSize: smallSegment})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: 1, Msg: storetest.Message(t, "/queue/a", []byte("x"))}}); err != nil {
		t.Fatal(err)
	}
	for size := range int64(200) {
		fs := whole.Clone()
		files, err := fs.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, ".journal") {
				fs.Truncate(name, size)
			}
		}
		if _, err := journal.Open(journal.Config{FS: fs.Clone(), SegmentSize: smallSegment}); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("cut at %d: %v", size, err)
		}
		j, err := journal.Open(journal.Config{FS: fs, SegmentSize: smallSegment, StartDamaged: true})
		if err != nil {
			t.Errorf("cut at %d, with StartDamaged: %v", size, err)
			continue
		}
		if err := j.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: 7, Msg: storetest.Message(t, "/queue/a", []byte("y"))}}); err != nil {
			t.Errorf("cut at %d, with StartDamaged: %v", size, err)
		}
	}
}

// TestStartOnFullDisk: a start makes do with the room that there is, and acks with it.
func TestStartOnFullDisk(t *testing.T) {
	fs := &vfs.Memory{}
	j, err := journal.Open(journal.Config{FS: fs, SegmentSize: smallSegment})
	if err != nil {
		t.Fatal(err)
	}
	for seq := range store.Seq(5) {
		if err := j.Write([]store.Record{{Kind: store.RecordPut, Queue: "/queue/a", Seq: seq + 1, Msg: storetest.Message(t, "/queue/a", []byte("x"))}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("reserve"); err != nil { // as one that was used up
		t.Fatal(err)
	}
	for i, room := range []int64{5 << 20, 2 << 20, 600 << 10} {
		fs.Room = room + int64(i)*smallSegment
		j, err := journal.Open(journal.Config{FS: fs, SegmentSize: 8 << 20})
		if err != nil {
			t.Fatalf("with %d bytes: %v", room, err)
		}
		seq := store.Seq(i + 1)
		if err := j.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: seq, Last: seq}}); err != nil {
			t.Errorf("with %d bytes: %v", room, err)
		}
		if rs, _, err := j.Read(nil, "/queue/a", 0, 10, 1<<20); err != nil || len(rs) != 4-i {
			t.Errorf("with %d bytes: %d messages, %v", room, len(rs), err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		_ = fs.Remove("reserve")
	}
}
