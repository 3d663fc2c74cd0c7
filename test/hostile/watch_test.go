package hostile_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stompserver/test/process"
)

// bounds are what an attack may cost.
type bounds struct {
	ratio float64 // of the median round trip to that in calm; default 60
	rss   int64   // of memory more than before, when it is over; default 64 MiB
	files int     // of open files more than before; default 20
}

const (
	calm  = 500 * time.Millisecond // how long the client is alone
	least = 50 * time.Millisecond  // a median below it is no harm, whatever the ratio: the machine is shared
	turns = 8                      // how often in a round trip one of its two ends waits for a processor

	mostLate = 20 * time.Second // a server that takes all processors has others be late, too
)

// underAttack runs attack while a healthy client is at work, whose round trips are compared with those
// it made in calm, and holds the server to b: memory, files and processor are seen from outside. The attack
// ends by itself; what it left behind must be gone soon after.
func underAttack(t *testing.T, s *process.Server, b bounds, attack func()) {
	t.Helper()
	if b.ratio == 0 {
		b.ratio = 60
	}
	if b.rss == 0 {
		b.rss = 64 << 20
	}
	if b.files == 0 {
		b.files = 20
	}
	h := healthyProcess(t, s)
	time.Sleep(calm)
	before := h.phase(t)
	rss, _ := s.RSS()
	files, cpu, begin := s.Files(), s.CPU(), time.Now()
	attack()
	took := time.Since(begin)
	cpu = s.CPU() - cpu
	most, _ := s.RSS()
	meanwhile := h.phase(t)
	ratio := float64(meanwhile.median) / float64(max(before.median, time.Microsecond))
	t.Logf("round trips: calm %v, under attack %v, ratio %.1f; %v of processor in %v", before, meanwhile, ratio, cpu.Round(10*time.Millisecond), took.Round(10*time.Millisecond))
	if meanwhile.n == 0 {
		t.Error("the healthy client made no round trip under attack")
	}
	if ratio > b.ratio && meanwhile.median > least+turns*meanwhile.turn {
		t.Errorf("the healthy client's median round trip took %.0f times as long under attack, want at most %.0f", ratio, b.ratio)
	}
	if meanwhile.most > slow+turns*meanwhile.lateTurn {
		t.Errorf("the healthy client's slowest round trip took %v, want at most %v", meanwhile.most, slow)
	}
	var after int64
	var left int
	for end := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		after, _ = s.RSS()
		left = s.Files()
		if after-rss <= b.rss && left-files <= b.files || time.Now().After(end) {
			break
		}
	}
	t.Logf("memory: %d MiB before, %d at its end, %d after; files: %d before, %d after", rss>>20, most>>20, after>>20, files, left)
	if after-rss > b.rss {
		t.Errorf("%d MiB more are held afterwards, want at most %d", (after-rss)>>20, b.rss>>20)
	}
	if left-files > b.files {
		t.Errorf("%d more files are open afterwards, want at most %d", left-files, b.files)
	}
}

// A healthy client is a process of its own: the attack is not to take its turns.
type healthyClient struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// healthyEnv has the program be a healthy client of the server at that address.
const healthyEnv = "STOMP_TEST_HEALTHY"

func healthyProcess(t *testing.T, s *process.Server) *healthyClient {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), healthyEnv+"="+s.Addr())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	h := &healthyClient{in, bufio.NewReader(out)}
	if line, err := h.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the healthy client: %q, %v", line, err)
	}
	return h
}

// phase returns what the round trips since the last one took.
func (h *healthyClient) phase(t *testing.T) (got times) {
	t.Helper()
	if _, err := io.WriteString(h.in, "\n"); err != nil {
		t.Fatal(err)
	}
	line, err := h.out.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, &got.n, &got.median, &got.late, &got.most, &got.turn, &got.lateTurn)
	}
	if err != nil {
		t.Fatalf("the healthy client: %q, %v", line, err)
	}
	return got
}

// beHealthy makes round trips, and tells on each line of standard input what they took; a round
// trip that is under way counts as long as it has lasted.
func beHealthy(addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c := &conn{nc, nil, bufio.NewReader(nc)}
	if _, err := io.WriteString(nc, "CONNECT\naccept-version:1.2\nhost:h\n\n\x00SUBSCRIBE\nid:h\ndestination:/queue/watched\nack:client\nreceipt:sub\n\n\x00"); err != nil {
		return err
	}
	for range 2 {
		if _, err := c.read(); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	var mu sync.Mutex
	var seen, turns []time.Duration
	begun := time.Now()
	failed := make(chan error, 1)
	go func() {
		for {
			mu.Lock()
			begun = time.Now()
			mu.Unlock()
			if err := c.tripTo("/queue/watched"); err != nil {
				failed <- err
				return
			}
			mu.Lock()
			seen = append(seen, time.Since(begun))
			mu.Unlock()
			const pause = 2 * time.Millisecond // it is not here to load the server
			slept := time.Now()
			time.Sleep(pause)
			mu.Lock()
			turns = append(turns, time.Since(slept)-pause)
			mu.Unlock()
		}
	}()
	lines := make(chan error)
	go func() {
		in := bufio.NewReader(os.Stdin)
		for {
			_, err := in.ReadString('\n')
			lines <- err
		}
	}()
	for {
		select {
		case err := <-failed:
			return err
		case err := <-lines:
			if err != nil {
				return nil // the test is over
			}
		}
		mu.Lock()
		if d := time.Since(begun); d > 10*time.Millisecond {
			seen = append(seen, d)
		}
		t, w := spread(seen), spread(turns)
		seen, turns = nil, nil
		mu.Unlock()
		fmt.Println(t.n, int64(t.median), int64(t.late), int64(t.most), int64(w.median), int64(w.most))
	}
}

// lateness measures, until it is asked, how late the machine has those be who wait for a processor, in each of
// the turns of a round trip: that is none of the server's doing, unless it is very much.
func lateness() (late func() time.Duration) {
	const pause = 2 * time.Millisecond
	stop, most := make(chan struct{}), make(chan time.Duration)
	go func() {
		worst := time.Duration(0)
		for {
			slept := time.Now()
			select {
			case <-time.After(pause):
				worst = max(worst, time.Since(slept)-pause)
			case <-stop:
				most <- worst
				return
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return min(turns*<-most, mostLate)
	}
}

// A times is what round trips took. Turn and lateTurn are what the machine had the client itself wait for a processor
// meanwhile, by the median and at most: that is none of the server's doing.
type times struct {
	n                  int
	median, late, most time.Duration
	turn, lateTurn     time.Duration
}

func (t times) String() string {
	return fmt.Sprintf("%d: median %v, 99%% %v, slowest %v", t.n, t.median.Round(time.Microsecond), t.late.Round(time.Microsecond), t.most.Round(time.Microsecond))
}

func spread(ds []time.Duration) (t times) {
	if len(ds) == 0 {
		return t
	}
	s := slices.Sorted(slices.Values(ds))
	return times{n: len(s), median: s[len(s)/2], late: s[len(s)*99/100], most: s[len(s)-1]}
}

// swarm does it for a time, n at once.
func swarm(n int, d time.Duration, do func(i int)) {
	var running atomic.Int32
	done := make(chan struct{})
	end := time.Now().Add(d)
	running.Store(int32(n))
	for i := range n {
		go func() {
			for time.Now().Before(end) {
				do(i)
			}
			if running.Add(-1) == 0 {
				close(done)
			}
		}()
	}
	<-done
}
