package vfs

import (
	"errors"
	"path/filepath"
	"testing"
)

func TestKernelsThatReport(t *testing.T) {
	for release, want := range map[string]bool{
		"": false, "4.4.0": false, "5.7.19-arch": false, "5.8": true, "5.8.0-rc1": true, "5.15.0-91-generic": true, "6.1.0": true, "10.0": true,
		"5.x": false, "unknown": false,
	} {
		if got := reports(release); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}

// TestSyncAll syncs a directory of the system, or says that it does not know how.
func TestSyncAll(t *testing.T) {
	d, err := Dir(filepath.Join(t.TempDir(), "d"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.MakeFolder("a"); err != nil {
		t.Fatal(err)
	}
	f, err := d.Folder("a").Open("b", true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 2 {
		if _, err := f.WriteAt([]byte("x"), 0); err != nil {
			t.Fatal(err)
		}
		if err := d.SyncAll([]string{"a", "none"}); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			t.Fatal(err)
		}
	}
	if err := (&whole{}).sync("/proc", nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("of /proc: %v", err)
	}
}
