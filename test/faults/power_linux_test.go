package faults

import (
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"stompserver/test/syscalls"
)

var cuts = flag.Int("faults.cuts", 25, "how often TestPower cuts the power, for each store")

// A recording is a run of the server, and what its players did.
type recording struct {
	disk    *syscalls.Disk
	players []*player
	when    [][]int // by player and step: the line of the trace in which it was confirmed
}

var receiptID = regexp.MustCompile(`RECEIPT\n(?:[^\n]+\n)*?receipt-id:p(\d+)-(\d+)\n`)

// record has players at work on a server with an empty directory, twice, so that a start is part of it.
func record(t *testing.T, queue string, seed uint64, steps int, flags ...string) *recording {
	t.Helper()
	dir := t.TempDir()
	rec := &recording{}
	for i := range 3 {
		p := newPlayer(i, seed)
		p.large = queue == "activerecord"
		rec.players = append(rec.players, p)
	}
	s := startWith(t, dir, queue, flags, "-s", "65536", "-e", "trace="+syscalls.Traced)
	if s.ended {
		t.Fatal(s.log())
	}
	var wg sync.WaitGroup
	errs := make([]error, len(rec.players))
	for i, p := range rec.players {
		wg.Go(func() {
			if errs[i] = p.connect(s.addr); errs[i] == nil {
				errs[i] = p.play(steps)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("%v\n%s", err, s.log())
	}
	for _, p := range rec.players {
		_ = p.conn.Close() // or the stop waits for them
	}
	if code := s.stop(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, s.log())
	}
	f, err := os.Open(s.trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	calls, err := syscalls.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	if rec.disk, err = syscalls.Replay(calls, dir); err != nil {
		t.Fatal(err)
	}
	for _, p := range rec.players {
		rec.when = append(rec.when, make([]int, len(p.steps)))
	}
	for _, note := range rec.disk.Notes {
		for _, m := range receiptID.FindAllSubmatch(note.Data, -1) {
			i, _ := strconv.Atoi(string(m[1]))
			k, _ := strconv.Atoi(string(m[2]))
			rec.when[i][k] = note.Begin
		}
	}
	for i, p := range rec.players {
		for k, line := range rec.when[i] {
			if line == 0 {
				t.Fatalf("the RECEIPT for step %d of %s is not in the trace", k, p.name)
			}
		}
	}
	return rec
}

// confirmed is how many steps of a player had been confirmed before a line.
func (r *recording) confirmed(i, line int) (n int) {
	for n < len(r.when[i]) && r.when[i][n] < line {
		n++
	}
	return n
}

// cut cuts the power at a line, and looks what is left: what was confirmed, and perhaps one step more; or,
// if that is enough, what any number of steps have made.
func (r *recording) cut(disk *syscalls.Disk, queue string, line int, rnd *rand.Rand, dir string, loose bool) error {
	if err := disk.Cut(line, rnd, dir); err != nil {
		return err
	}
	return lookInto(queue, dir, loose, r.players, func(i int, p *player, held map[string][]string) error {
		if loose {
			return p.compareAny(r.confirmed(i, line), held)
		}
		return p.compare(r.confirmed(i, line), held)
	})
}

// lineOf picks a moment, more often while the players are at work than before or after.
func (r *recording) lineOf(rnd *rand.Rand) int {
	if rnd.IntN(5) == 0 {
		return 1 + rnd.IntN(r.disk.Lines)
	}
	from, to := r.disk.Lines, 0
	for i := range r.when {
		from, to = min(from, r.when[i][0]), max(to, r.when[i][len(r.when[i])-1])
	}
	return from + rnd.IntN(to-from+1)
}

// TestPower cuts the power at random moments of a run, and opens what is left: what was confirmed is
// there, and of each step all or nothing.
func TestPower(t *testing.T) {
	needStrace(t)
	n := seedOf(t)
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			rec := record(t, queue, n, 40)
			bad := 0
			for i := range *cuts {
				rnd := rand.New(rand.NewPCG(n, uint64(i)))
				line := rec.lineOf(rnd)
				if err := rec.cut(rec.disk, queue, line, rnd, t.TempDir(), false); err != nil {
					t.Errorf("cut %d, at line %d of %d: %v", i, line, rec.disk.Lines, err)
					if bad++; bad > 5 {
						t.FailNow()
					}
				}
			}
		})
	}
}

// TestPowerCheckpoint cuts the power of a server that syncs every second: what came last may be lost, but
// what is there is of one moment for each client, and no damage.
func TestPowerCheckpoint(t *testing.T) {
	needStrace(t)
	n := seedOf(t)
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			rec := record(t, queue, n, 40, "-c", "1")
			for i := range *cuts {
				rnd := rand.New(rand.NewPCG(n, uint64(i)))
				line := rec.lineOf(rnd)
				if err := rec.cut(rec.disk, queue, line, rnd, t.TempDir(), true); err != nil {
					t.Fatalf("cut %d, at line %d of %d: %v", i, line, rec.disk.Lines, err)
				}
			}
		})
	}
}

// TestPowerWithoutSyncs plays the same with a disk that no store ever synced: if that is not noticed,
// TestPower is worth nothing.
func TestPowerWithoutSyncs(t *testing.T) {
	needStrace(t)
	n := seedOf(t)
	for _, queue := range stores {
		t.Run(queue, func(t *testing.T) {
			t.Parallel()
			rec := record(t, queue, n, 15)
			bare, lost := rec.disk.WithoutSyncs(), 0
			for i := range 30 {
				rnd := rand.New(rand.NewPCG(n, uint64(i)))
				if err := rec.cut(bare, queue, rec.lineOf(rnd), rnd, t.TempDir(), false); err != nil {
					lost++
					if lost == 1 {
						t.Logf("as it should be: %.300s", strings.ReplaceAll(err.Error(), "\n", " "))
					}
				}
			}
			if lost < 10 {
				t.Errorf("of 30 disks without a sync %d were found out", lost)
			}
		})
	}
}
