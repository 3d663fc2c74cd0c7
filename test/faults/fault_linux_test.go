package faults

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stompserver/test/syscalls"
)

var everyCall = flag.Bool("faults.all", false, "have TestFaults fail every call of each kind, and not one or two")

// A fault is a kind of call that fails, and how.
type fault struct {
	calls string
	err   string
	words string // what the system says of that
	files bool   // those of the store alone: others make such calls too
	most  int    // which call fails at most, where not all are to
}

var faultsPlayed = []fault{
	{"pwrite64", "EIO", "input/output error", false, 30},
	{"pwrite64", "ENOSPC", "no space left on device", false, 30},
	{"fsync,fdatasync", "EIO", "input/output error", false, 12},
	{"fsync,fdatasync", "ENOSPC", "no space left on device", false, 12},
	{"syncfs", "EIO", "input/output error", false, 2},
	{"syncfs", "ENOSPC", "no space left on device", false, 2},
	{"ftruncate", "EIO", "input/output error", false, 3},
	{"ftruncate,fallocate", "ENOSPC", "no space left on device", false, 3},
	{"openat,?open", "EMFILE", "too many open files", true, 8},
	{"openat,?open", "EIO", "input/output error", true, 8},
	{"?rename,renameat,?unlink,unlinkat,mkdirat,?mkdir", "EIO", "input/output error", false, 4},
	{"pread64", "EIO", "input/output error", true, 8},
	{"mmap", "ENOMEM", "cannot allocate memory", true, 2},
}

func (f *fault) String() string { return strings.ReplaceAll(f.calls, "?", "") + " " + f.err }

func (f *fault) syncs() bool { return strings.Contains(f.calls, "sync") }

// filesOf are the names below the storage directory that a store opens, as far as they are known before.
var filesOf = map[string][]string{
	"journal":      {"", "journal", "journal/lock", "journal/new", "journal/000000000001.journal", "journal/reserve"},
	"file":         {"", "qinfo", "stompserver.state", "stompserver.state.new", "stompserver.redo-000000000001", "stompserver.made", "stompserver.reserve", "stompserver.lock"},
	"dbm":          {"", "queues.db", "queues.db.new"},
	"dbm -c 1":     {"", "queues.db", "queues.db.new", "queues.db.log-1", "queues.db.log-2"},
	"activerecord": {"", "stompserver_development", "stompserver_development-wal", "stompserver_development-shm", "stompserver_development-journal", "stompserver_development.lock"},
}

// TestFaults fails system calls of the server, one of each thread. It tells of it in words, or goes on; what it
// confirmed is there at the next start, and after a sync that failed it confirms nothing.
func TestFaults(t *testing.T) {
	needStrace(t)
	n := seedOf(t)
	for _, queue := range storesAndFlags {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			for i, f := range faultsPlayed {
				t.Run(f.String(), func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(n, uint64(i)))
					if !*everyCall {
						playFault(t, queue, &f, 1+rnd.IntN(f.most), rnd.Uint64())
						return
					}
					k := 1
					for playFault(t, queue, &f, k, rnd.Uint64()) && !t.Failed() {
						k++
					}
					t.Logf("%d calls failed", k-1)
				})
			}
		})
	}
}

// playFault has the k-th call fail, and reports whether there was one.
func playFault(t *testing.T, queue string, f *fault, k int, seed uint64) (failed bool) {
	t.Helper()
	dir := t.TempDir()
	traced, long := "write,"+f.calls, "120"
	if f.syncs() {
		traced, long = syscalls.Traced, "65536"
	}
	strace := []string{"-s", long, "-e", "trace=" + traced, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", f.calls, f.err, k)}
	if f.files {
		for _, name := range filesOf[queue] {
			strace = append(strace, "-P", filepath.Join(dir, ".stompserver", name))
		}
	}
	s := start(t, dir, queue, strace...)
	var players []*player
	said := make([]error, 3)
	if !s.ended {
		done := make(chan int)
		for i := range said {
			p := newPlayer(i, seed)
			p.large = queue == "activerecord"
			players = append(players, p)
			go func() {
				if said[i] = p.connect(s.addr); said[i] == nil {
					said[i] = p.play(12)
				}
				done <- i
			}()
		}
		for range said {
			<-done
		}
		for i, p := range players {
			var refused *refusedError
			if errors.As(said[i], &refused) && refused.code == "storage-full" {
				p.refused[len(p.steps)-1] = true
			}
			if said[i] != nil && strings.Contains(said[i].Error(), "no answer") {
				t.Errorf("call %d: %v\n%s", k, said[i], s.log())
			}
		}
		if f.err == "ENOSPC" || f.err == "EMFILE" {
			players = append(players, goesOn(t, s, k, seed))
		}
	}
	for _, p := range players {
		if p.conn != nil {
			_ = p.conn.Close()
		}
	}
	code := s.stop(t)
	text := s.log()
	calls := s.calls(t)
	failed = injected(t, calls, k, queue)
	switch {
	case code != 0 && code != 1 && code != 74: // 1: it could not stop as it should
		t.Errorf("call %d: exit code %d\n%s", k, code, text)
	case code != 0 && !strings.Contains(text, f.words) && !strings.Contains(text, "database") && !strings.Contains(text, "disk"):
		t.Errorf("call %d: it ends, and does not say why:\n%s", k, text)
	case code != 0 && !failed:
		t.Errorf("nothing failed, and the server ends:\n%s", text)
	}
	told := func(where string, err error) {
		if err == nil {
			return
		}
		var what []string
		for _, c := range calls {
			if c.Injected {
				what = append(what, fmt.Sprintf("%.400s(%.400q)", c.Name, c.Args))
			}
		}
		t.Fatalf("call %d: %s: %v; the clients were told: %q\nwhat failed: %q\n%s", k, where, err, said, what, text)
	}
	told("the next start", compareDir(queue, dir, players))
	if f.syncs() && failed {
		disk, err := syscalls.Replay(calls, dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint64(6) {
			left := t.TempDir()
			if err := disk.Cut(disk.Lines+1, rand.New(rand.NewPCG(seed, i)), left); err != nil {
				t.Fatal(err)
			}
			told("on a disk that lost what was not synced", compareAfterLoss(queue, left, players))
		}
	}
	return failed
}

// compareDir opens a store, and compares it with what players had confirmed.
func compareDir(queue, dir string, players []*player) error {
	name, flags := flagsOf(queue)
	return lookInto(name, dir, len(flags) > 0, players, func(_ int, p *player, held map[string][]string) error {
		return p.compare(p.confirmed, held)
	})
}

// compareAfterLoss is compareDir on a disk that lost what was not synced: where receipts do not wait there is what any
// number of steps have made.
func compareAfterLoss(queue, dir string, players []*player) error {
	name, flags := flagsOf(queue)
	if len(flags) == 0 {
		return compareDir(queue, dir, players)
	}
	return lookInto(name, dir, true, players, func(_ int, p *player, held map[string][]string) error {
		return p.compareAny(p.confirmed, held)
	})
}

// lookInto opens what there is of a store, and has compare look at what it holds of each player.
func lookInto(queue, dir string, loose bool, players []*player, compare func(i int, p *player, held map[string][]string) error) error {
	var log bytes.Buffer
	storage := filepath.Join(dir, ".stompserver")
	if err := os.MkdirAll(storage, 0o700); err != nil {
		return err
	}
	b, err := open(queue, storage, &log, loose)
	if err != nil {
		names, _ := syscalls.Files(dir)
		return fmt.Errorf("it does not start: %w; there is %s\n%s", err, names, log.String())
	}
	var queues []string
	for _, p := range players {
		queues = append(queues, p.first, p.other)
	}
	held, err := holds(b, queues...)
	for i, p := range players {
		if err == nil {
			err = compare(i, p, held)
		}
	}
	return errors.Join(err, b.Close())
}

// goesOn has another client work, unless the server has ended: what failed has passed.
func goesOn(t *testing.T, s *traced, k int, seed uint64) *player {
	t.Helper()
	p := newPlayer(9, seed)
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		select {
		case e := <-s.exit:
			s.exit <- e
			return p
		default:
		}
		if err = p.connect(s.addr); err == nil {
			if err = p.play(3); err == nil {
				return p
			}
		}
		var refused *refusedError
		switch {
		case errors.As(err, &refused) && refused.code == "storage-full" && len(p.steps) > p.confirmed:
			p.refused[p.confirmed] = true
			p.confirmed++ // it is known what became of it
		case len(p.steps) > p.confirmed: // the server is about to end
			select {
			case e := <-s.exit:
				s.exit <- e
			case <-time.After(patience):
				t.Errorf("call %d: a step failed with %v, and the server does not end\n%s", k, err, s.log())
			}
			return p
		}
	}
	t.Errorf("call %d: the server does not go on: %v\n%s", k, err, s.log())
	return p
}

// calls are those of the trace.
func (s *traced) calls(t *testing.T) []syscalls.Call {
	t.Helper()
	f, err := os.Open(s.trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls, err := syscalls.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return calls
}

// isDir reports whether a call is one for a directory.
func isDir(c *syscalls.Call) bool {
	_, path, _ := c.FD(0)
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// isBehind reports whether a call is for a file that is written to while clients are confirmed what is in a log: they
// may be for a moment more.
func isBehind(queue string, c *syscalls.Call) bool {
	_, path, _ := c.FD(0)
	_, flags := flagsOf(queue)
	return len(flags) > 0 && !strings.Contains(path, ".log-")
}

// injected reports whether a call failed. Behind the sync of a file that did each client has a RECEIPT at
// most, for what was synced before.
func injected(t *testing.T, calls []syscalls.Call, k int, queue string) (any bool) {
	t.Helper()
	sync, failed := syscalls.Never, ""
	for i := range calls {
		c := &calls[i]
		any = any || c.Injected
		if c.Injected && (c.Name == "fsync" || c.Name == "fdatasync" || c.Name == "syncfs") && c.End < sync && (c.Name == "syncfs" || !isDir(c) && !isBehind(queue, c)) {
			sync = c.End
			_, failed, _ = c.FD(0)
		}
	}
	late := make(map[string]string)
	for i := range calls {
		c := &calls[i]
		if c.Name != "write" || c.Begin <= sync {
			continue
		}
		b, _, _ := c.Bytes(1)
		for _, m := range receiptID.FindAllSubmatch(b, -1) {
			if who := string(m[1]); late[who] != "" {
				t.Errorf("call %d: the sync of %s failed, and later client %s has RECEIPTs for steps %s and %s", k, failed, who, late[who], m[2])
				return any
			} else {
				late[who] = string(m[2])
			}
		}
	}
	return any
}
