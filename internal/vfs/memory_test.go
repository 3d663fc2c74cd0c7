package vfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
)

// TestMemorySyncAll: what SyncAll said yes to outlives a power cut, names and contents; what it
// failed for does not, though it says yes the next time.
func TestMemorySyncAll(t *testing.T) {
	for _, fault := range []error{nil, syscall.EIO, errors.ErrUnsupported} {
		kept := 0
		for seed := range uint64(50) {
			m := &Memory{}
			if err := m.MakeFolder("a"); err != nil {
				t.Fatal(err)
			}
			f, err := m.Folder("a").Open("b", true)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte("content"), 0); err != nil {
				t.Fatal(err)
			}
			m.Fault = func(string, string) error { return fault }
			if err := m.SyncAll([]string{"a"}); err != fault {
				t.Fatal(err)
			}
			m.Fault = nil
			if err := m.SyncAll([]string{"a"}); err != nil {
				t.Fatal(err)
			}
			after := m.Crash(rand.New(rand.NewPCG(seed, 1)))
			names, err := after.Folder("a").List()
			if err != nil || !slices.Equal(names, []string{"b"}) {
				t.Fatalf("%v: %q, %v", fault, names, err)
			}
			if f, err = after.Folder("a").Open("b", false); err != nil {
				t.Fatal(err)
			}
			if n, _ := f.Size(); n == 7 {
				kept++
			}
		}
		if want := map[bool]int{true: 50, false: 0}[fault != syscall.EIO]; kept != want {
			t.Errorf("%v: %d of 50 kept, want %d", fault, kept, want)
		}
	}
}

// TestLink: a file that has two names is there by either, begins with what it holds, and one content is left
// by a power cut.
func TestLink(t *testing.T) {
	onSystem, err := Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	m := &Memory{}
	for _, tree := range []Tree{onSystem, m} {
		for _, folder := range []string{"a", "b"} {
			if err := tree.MakeFolder(folder); err != nil {
				t.Fatal(err)
			}
		}
		f, err := tree.Folder("a").Open("one", true)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Link("a", "one", "b", "two"); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("content"), 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if err := tree.Link("a", "one", "b", "two"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a name that is there: %v", err)
		}
		if err := tree.Link("a", "none", "b", "three"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file that is not there: %v", err)
		}
		for _, room := range []int{3, 7, 20} {
			b := make([]byte, room)
			if n, err := tree.Folder("b").First("two", b); err != nil || string(b[:n]) != "content"[:min(room, 7)] {
				t.Errorf("the first %d bytes are %q, %v", room, b[:n], err)
			}
		}
		if _, err := tree.Folder("b").First("none", nil); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the first bytes of a file that is not there: %v", err)
		}
		if err := tree.Folder("a").Remove("one"); err != nil {
			t.Fatal(err)
		}
		if f, err = tree.Folder("b").Open("two", false); err != nil {
			t.Fatal(err)
		}
		var b [7]byte
		if n, err := f.ReadAt(b[:], 0); n != len(b) || string(b[:]) != "content" {
			t.Errorf("it has %q, %v", b[:n], err)
		}
		_ = f.Close()
	}
	for seed := range uint64(20) {
		d := m.Clone()
		if err := d.Link("b", "two", "a", "one"); err != nil {
			t.Fatal(err)
		}
		if err := d.SyncAll([]string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
		one, err := d.Folder("a").Open("one", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.WriteAt([]byte("CONTENT"), 0); err != nil {
			t.Fatal(err)
		}
		after := d.Crash(rand.New(rand.NewPCG(seed, 1)))
		if after.names["a/one"] != after.names["b/two"] {
			t.Fatal("a power cut left two files")
		}
	}
}
