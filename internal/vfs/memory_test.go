package vfs

import (
	"errors"
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
