package journal_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/vfs"
)

const smallSegment = 16 << 10

// TestEachCall has every call of the file system fail in turn, until a life passes untouched:
// with an error that goes away, with a full disk, and with a power cut.
func TestEachCall(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-journal.seed %d", seed)
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, vfs.ErrCrashed} {
		t.Run(fault.Error(), func(t *testing.T) {
			for n := 0; ; n++ {
				if !playOnce(t, seed, fault, n) {
					if n < 60 {
						t.Errorf("there were only %d calls", n)
					}
					return
				}
			}
		})
	}
}

// playOnce plays a short life in which call n fails, then a power cut. It reports whether
// there was such a call.
func playOnce(t *testing.T, seed uint64, fault error, n int) (failed bool) {
	r := rand.New(rand.NewPCG(seed, 7))
	w := &writer{r: r, next: map[string]store.Seq{}}
	fs := &vfs.Memory{}
	calls := 0
	fs.Fault = func(string, string) error {
		calls++
		if calls == n+1 || calls > n && fault == vfs.ErrCrashed {
			failed = true
			return fault
		}
		return nil
	}
	sure := state{}
	maybe := sure
	var err error
	for life := 0; life < 2 && err == nil; life++ {
		var j *journal.Journal
		if j, err = journal.Open(journal.Config{FS: fs, SegmentSize: smallSegment}); err != nil {
			break
		}
		for range 25 {
			before := maps.Clone(w.next)
			rs, after := w.group(t, sure)
			if err = j.Write(rs); errors.Is(err, store.ErrFull) {
				w.next, err = before, nil
				if got := stateOf(t, j); got.String() != sure.String() {
					t.Fatalf("call %d: a Write that found no room left\n%s\nwant\n%s", n, got, sure)
				}
				continue
			}
			if err != nil {
				maybe = after
				break
			}
			sure, maybe = after, after
		}
		if e := j.Close(); err == nil {
			err = e
		}
	}
	if err != nil && !errors.Is(err, fault) {
		t.Fatalf("call %d: %v", n, err)
	}
	fs.Fault = nil
	fs = fs.Crash(r)
	j, err := journal.Open(journal.Config{FS: fs, SegmentSize: smallSegment})
	if err != nil {
		t.Fatalf("call %d failed, and then the start: %v", n, err)
	}
	if got := stateOf(t, j).String(); got != sure.String() && got != maybe.String() {
		t.Fatalf("call %d failed; there is\n%s\nsure was\n%s\nunder way\n%s", n, got, sure, maybe)
	}
	if err := j.Close(); err != nil {
		t.Fatalf("call %d: Close: %v", n, err)
	}
	return failed
}

// TestDamage flips bits of all files, and cuts them: that is told, or changes nothing; with
// StartDamaged no message is there that was not, and none with another body.
func TestDamage(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-journal.seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 9))
	w := &writer{r: r, next: map[string]store.Seq{}}
	whole := &vfs.Memory{}
	all := state{} // every message that ever was, with any number of tries
	now := state{}
	for range 4 {
		j, err := journal.Open(journal.Config{FS: whole, SegmentSize: smallSegment})
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			var rs []store.Record
			rs, now = w.group(t, now)
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
			var got string
			if err == nil {
				got, err = readAll(j)
				_ = j.Close()
			}
			switch {
			case err != nil:
				told++
			case got == now.String():
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

// readAll is stateOf with an error.
func readAll(b store.Backend) (string, error) {
	s := state{}
	for _, name := range names {
		rs, _, err := b.Read(nil, name, 0, 1<<20, 1<<40)
		if err != nil {
			return "", err
		}
		for _, rec := range rs {
			if s[name] == nil {
				s[name] = map[store.Seq]string{}
			}
			s[name][rec.Seq] = fmt.Sprintf("%s:%d", rec.Msg.Body(), rec.Attempts)
		}
	}
	return s.String(), nil
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
