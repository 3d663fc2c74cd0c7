package auth_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"stompserver/internal/auth"
)

func set(login, secret string) func(*auth.File) error {
	return func(f *auth.File) error {
		_, err := f.Set(login, secret)
		return err
	}
}

// holds fails unless the file at path has this text and mode and nothing stands beside it.
func holds(t *testing.T, path, want string, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("the file holds %q, want %q", got, want)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != mode {
		t.Errorf("the file has mode %v, want %v", info.Mode(), mode)
	}
	beside, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(beside) != 1 {
		t.Errorf("the directory holds %v", beside)
	}
}

func TestEdit(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".passwd")
	if err := auth.Edit(path, set("a", "1")); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "a:1\n", 0o600)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := auth.Edit(path, set("b", "2")); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "a:1\nb:2\n", 0o640)

	no := errors.New("no")
	err := auth.Edit(path, func(f *auth.File) error {
		f.Remove("a")
		return no
	})
	if err != no {
		t.Errorf("error is %v, want that of the change", err)
	}
	holds(t, path, "a:1\nb:2\n", 0o640)
}

func TestEditFollowsLinks(t *testing.T) {
	path := write(t, "a:1\n")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := auth.Edit(link, set("b", "2")); err != nil {
		t.Fatal(err)
	}
	holds(t, path, "a:1\nb:2\n", 0o600)
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info, err)
	}
}

// A file of another user stays that user's, or the server could not read it any more.
func TestEditKeepsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const uid, gid = 54321, 54322
	owner := func(path string) string {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v", info.Sys())
	}
	want := fmt.Sprintf("Uid:%d Gid:%d", uid, gid)

	path := write(t, "a:1\n")
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := auth.Edit(path, set("b", "2")); err != nil {
		t.Fatal(err)
	}
	if got := owner(path); !strings.Contains(got, want) {
		t.Errorf("owner of the edited file is not %s: %s", want, got)
	}
	holds(t, path, "a:1\nb:2\n", 0o600)

	dir := t.TempDir()
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, ".passwd")
	if err := auth.Edit(path, set("b", "2")); err != nil {
		t.Fatal(err)
	}
	if got := owner(path); !strings.Contains(got, want) {
		t.Errorf("owner of the new file is not that of its directory, %s: %s", want, got)
	}
	holds(t, path, "b:2\n", 0o600)
}

func TestEditsWaitForEachOther(t *testing.T) {
	path := write(t, "")
	var wg sync.WaitGroup
	const n = 16
	for i := range n {
		wg.Go(func() {
			if err := auth.Edit(path, set(fmt.Sprintf("u%d", i), "x")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	f, err := auth.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if all, _ := f.Entries(); len(all) != n {
		t.Errorf("%d of %d users are there: %v", len(all), n, all)
	}
}

func TestEditErrors(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none", ".passwd")
	err := auth.Edit(none, set("a", "1"))
	if err == nil || !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "password file "+none+": ") {
		t.Errorf("without its directory: %v", err)
	}
	dir := t.TempDir()
	err = auth.Edit(dir, set("a", "1"))
	if err == nil || !strings.HasSuffix(err.Error(), dir+": not a regular file") {
		t.Errorf("on a directory: %v", err)
	}
}
