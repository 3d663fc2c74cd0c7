package syscalls

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const trace = `2520  pwrite64(8</d/queues.db>, "a\0\1\"\\,)\n", 8, 4096) = 8
2520  fdatasync(8</d/queues.db> <unfinished ...>
2521  write(12<TCP:[127.0.0.1:35163->127.0.0.1:55854]>, "RECEIPT\nreceipt-id:1\n\n\0\n", 24) = 24
2525  --- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=2518, si_uid=0} ---
2520  <... fdatasync resumed>)          = -1 EIO (Input/output error) (INJECTED)
2520  openat(AT_FDCWD</w>, "/d/new", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 9</d/new>
2520  write(1</dev/null<char 1:3>>, "x"..., 300) = 300
2520  mmap(NULL, 1073741824, PROT_READ, MAP_SHARED, 8</d/queues.db>, 0) = 0x7f1d63005000
2525  exit_group(0)                     = ?
2520  fsync(9</d/new> <unfinished ...>
2525  +++ exited with 0 +++
`
	calls, err := Parse(strings.NewReader(trace))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range calls {
		fd, path, _ := c.FD(0)
		got = append(got, fmt.Sprintf("%d %d-%d %s %d %s %d args = %d %s %v %s", c.Thread, c.Begin, min(c.End, 99), c.Name, fd, path, len(c.Args), c.Result, c.Errno, c.Injected, c.Path))
	}
	want := []string{
		"2520 1-1 pwrite64 8 /d/queues.db 4 args = 8  false ",
		"2521 3-3 write 12 TCP:[127.0.0.1:35163->127.0.0.1:55854] 3 args = 24  false ",
		"2520 2-5 fdatasync 8 /d/queues.db 1 args = -1 EIO true ",
		"2520 6-6 openat -100 /w 4 args = 9  false /d/new",
		"2520 7-7 write 1 /dev/null<char 1:3> 3 args = 300  false ",
		"2520 8-8 mmap 0  6 args = 139764191744000  false ",
		"2525 9-9 exit_group 0  1 args = -1  false ",
		"2520 10-99 fsync 9 /d/new 1 args = -1  false ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if b, whole, err := calls[0].Bytes(1); err != nil || !whole || string(b) != "a\x00\x01\"\\,)\n" {
		t.Errorf("%q, %v, %v", b, whole, err)
	}
	if b, whole, err := calls[4].Bytes(1); err != nil || whole || string(b) != "x" {
		t.Errorf("%q, %v, %v", b, whole, err)
	}
	for _, bad := range []string{"x write(1) = 1\n", "1 <... write resumed>) = 1\n", "1 write(1, \"a) = 1\n", "1 write(1)\n", "1 write(1) = b\n"} {
		if calls, err := Parse(strings.NewReader(bad)); err == nil {
			t.Errorf("%q gives %+v", bad, calls)
		}
	}
}

// quote is how strace writes a string.
func quote(b []byte) string {
	var s strings.Builder
	s.WriteByte('"')
	for i, c := range b {
		switch at := strings.IndexByte("\n\t\v\f\r\"\\", c); {
		case at >= 0:
			s.WriteByte('\\')
			s.WriteByte(`ntvfr"\`[at])
		case c >= ' ' && c < 0x7f:
			s.WriteByte(c)
		case i+1 < len(b) && b[i+1] >= '0' && b[i+1] <= '9':
			fmt.Fprintf(&s, "\\%03o", c)
		default:
			fmt.Fprintf(&s, "\\%o", c)
		}
	}
	return s.String() + `"`
}

// FuzzParse: whatever bytes are written, and wherever another thread comes between, they are read back.
func FuzzParse(f *testing.F) {
	f.Add([]byte("a\x00\x01\"\\,)\n1"), "/d/a<b>", false)
	f.Add([]byte(`<unfinished ...>`), "TCP:[1->2]", true)
	f.Add([]byte(`\x41" <... write resumed>`), "", true)
	f.Fuzz(func(t *testing.T, data []byte, raw string, split bool) {
		_, _ = Parse(strings.NewReader(raw)) // whatever that is
		_, _ = Parse(bytes.NewReader(data))
		_, _ = Unquote(raw)
		line := fmt.Sprintf("1 write(7</d/f>, %s, %d", quote(data), len(data))
		if split {
			line += " <unfinished ...>\n2  close(3) = 0\n1 <... write resumed>"
		}
		calls, err := Parse(strings.NewReader(line + fmt.Sprintf(") = %d\n", len(data))))
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(calls, func(c Call) bool { return c.Name == "write" })
		if i < 0 {
			t.Fatalf("no write in %+v", calls)
		}
		b, whole, err := calls[i].Bytes(1)
		if err != nil || !whole || !bytes.Equal(b, data) || calls[i].Result != int64(len(data)) {
			t.Errorf("%q is read as %q, %v, %v", data, b, whole, err)
		}
	})
}

// TestLink: a file with two names is left by a cut as one, by those names that are sure, or may be.
func TestLink(t *testing.T) {
	const trace = `1  mkdirat(AT_FDCWD</w>, "/d/a", 0700) = 0
1  mkdirat(AT_FDCWD</w>, "/d/b", 0700) = 0
1  openat(AT_FDCWD</w>, "/d/a/one", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 9</d/a/one>
1  pwrite64(9</d/a/one>, "content", 7, 0) = 7
1  linkat(AT_FDCWD</w>, "/d/a/one", AT_FDCWD</w>, "/d/b/two", 0) = 0
1  syncfs(8</d>) = 0
1  linkat(AT_FDCWD</w>, "/d/a/one", AT_FDCWD</w>, "/d/b/three", 0) = 0
`
	calls, err := Parse(strings.NewReader(trace))
	if err != nil {
		t.Fatal(err)
	}
	disk, err := Replay(calls, "/d")
	if err != nil {
		t.Fatal(err)
	}
	late := 0
	for seed := range uint64(40) {
		dir := t.TempDir()
		if err := disk.Cut(disk.Lines+1, rand.New(rand.NewPCG(seed, 1)), dir); err != nil {
			t.Fatal(err)
		}
		first, err := os.Stat(filepath.Join(dir, "a", "one"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"two", "three"} {
			path := filepath.Join(dir, "b", name)
			other, err := os.Stat(path)
			if name == "three" && os.IsNotExist(err) {
				continue
			}
			if b, e := os.ReadFile(path); err != nil || e != nil || string(b) != "content" || !os.SameFile(first, other) {
				t.Fatalf("%s holds %q, %v, %v", name, b, err, e)
			}
			if name == "three" {
				late++
			}
		}
	}
	if late == 0 || late == 40 {
		t.Errorf("a link that was not synced is left %d times of 40", late)
	}
}
