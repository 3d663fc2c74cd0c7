package faults

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// A put is a message in a queue.
type put struct{ queue, body string }

// A step is what one RECEIPT confirms.
type step struct{ puts, acks []put }

// A player is a client whose steps follow each other, each confirmed before the next, on two queues of
// its own, which are bound to a topic. It takes from the first.
type player struct {
	name  string
	rnd   *rand.Rand
	first string
	other string
	topic string
	large bool // it sends large messages too, to the other: what brings one is no write call

	mu        sync.Mutex
	steps     []step
	confirmed int
	refused   map[int]bool // steps that the server said it had no room for

	conn     net.Conn
	r        *bufio.Reader
	receipts chan string
	messages chan map[string]string
	failed   chan error
	waits    []map[string]string // delivered, and not acknowledged
	n        int
}

// A refusedError is the ERROR of a server.
type refusedError struct{ code, text string }

func (e *refusedError) Error() string { return e.code + ": " + e.text }

func newPlayer(i int, seed uint64) *player {
	return &player{
		name: fmt.Sprint("p", i), rnd: rand.New(rand.NewPCG(seed, uint64(i))),
		first: fmt.Sprint("/queue/a", i), other: fmt.Sprint("/queue/b", i), topic: fmt.Sprint("/topic/t", i), refused: make(map[int]bool),
	}
}

// patience is how long an answer may take: strace slows the server down.
const patience = time.Minute

// connect logs in and subscribes.
func (p *player) connect(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return err
	}
	p.conn, p.r = conn, bufio.NewReader(conn)
	p.receipts, p.messages, p.failed = make(chan string, 1), make(chan map[string]string, 10000), make(chan error, 1)
	p.waits = nil
	const bound = "SUBSCRIBE\nid:%s\nack:client-individual\ndestination:%s\nx-queue-name:%s\ndurable:true\nauto-delete:false\n%s\n\x00"
	queue := func(name string) string { return strings.TrimPrefix(name, "/queue/") }
	text := "CONNECT\naccept-version:1.2\nhost:localhost\n\n\x00" +
		fmt.Sprintf(bound, "1", p.topic, queue(p.other), "prefetch-count:1\n") + "UNSUBSCRIBE\nid:1\n\n\x00" +
		fmt.Sprintf(bound, "0", p.topic, queue(p.first), "receipt:sub-"+p.name+"\n")
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	receipts, messages, failed, r := p.receipts, p.messages, p.failed, p.r
	go func() { // ends with the connection
		for {
			command, f, err := readFrame(r)
			switch {
			case err != nil:
				failed <- err
				return
			case command == "ERROR":
				failed <- &refusedError{f["error-code"], f["message"] + ": " + f[""]}
				return
			case command == "RECEIPT":
				receipts <- f["receipt-id"]
			case command == "MESSAGE" && f["subscription"] == "0":
				messages <- f
			}
		}
	}()
	return p.await("sub-" + p.name)
}

func readFrame(r *bufio.Reader) (command string, f map[string]string, err error) {
	text, err := r.ReadString(0)
	if err != nil {
		return "", nil, err
	}
	head, body, _ := strings.Cut(strings.TrimLeft(strings.TrimSuffix(text, "\x00"), "\n"), "\n\n")
	command, head, _ = strings.Cut(head, "\n")
	f = map[string]string{"": body}
	for line := range strings.SplitSeq(head, "\n") {
		name, value, _ := strings.Cut(line, ":")
		f[name] = value
	}
	return command, f, nil
}

func (p *player) await(receipt string) error {
	select {
	case got := <-p.receipts:
		if got != receipt {
			return fmt.Errorf("RECEIPT %s, want %s", got, receipt)
		}
		return nil
	case err := <-p.failed:
		return err
	case <-time.After(patience):
		return fmt.Errorf("no answer to %s for %v", receipt, patience)
	}
}

// play makes so many steps, or fewer if one fails.
func (p *player) play(steps int) error {
	for range steps {
		if err := p.step(); err != nil {
			return err
		}
	}
	return nil
}

func (p *player) step() error {
	for more := true; more; {
		select {
		case m := <-p.messages:
			p.waits = append(p.waits, m)
		default:
			more = false
		}
	}
	var s step
	var text strings.Builder
	receipt := fmt.Sprintf("%s-%d", p.name, len(p.steps))
	header := "receipt:" + receipt + "\n"
	send := func(to, header string, queues ...string) {
		p.n++
		body := fmt.Sprintf("%s %d ", p.name, p.n)
		switch p.rnd.IntN(12) {
		case 0:
			body += strings.Repeat("long ", 1+p.rnd.IntN(2000))
		case 1, 2, 3:
			body += strings.Repeat("x", p.rnd.IntN(2000))
		case 4, 5, 6:
			if p.large && to == p.other {
				body += strings.Repeat("large ", 200_000+p.rnd.IntN(2000))
			}
		}
		for _, q := range queues {
			s.puts = append(s.puts, put{q, body})
		}
		fmt.Fprintf(&text, "SEND\ndestination:%s\n%s\n%s\x00", to, header, body)
	}
	ack := func(header string) {
		at := 0
		if p.rnd.IntN(3) == 0 {
			at = p.rnd.IntN(len(p.waits))
		}
		m := p.waits[at]
		p.waits = slices.Delete(p.waits, at, at+1)
		s.acks = append(s.acks, put{p.first, m[""]})
		fmt.Fprintf(&text, "ACK\nid:%s\n%s\n\x00", m["ack"], header)
	}
	switch k := p.rnd.IntN(11); {
	case k < 4 && len(p.waits) > 0:
		ack(header)
	case k < 7:
		send(p.first, header, p.first)
	case k < 8:
		send(p.other, header, p.other)
	case k < 9:
		send(p.topic, header, p.first, p.other)
	default:
		const in = "transaction:t\n"
		text.WriteString("BEGIN\n" + in + "\n\x00")
		send(p.first, in, p.first)
		send(p.other, in, p.other)
		if len(p.waits) > 0 {
			ack(in)
		}
		text.WriteString("COMMIT\n" + in + header + "\n\x00")
	}
	p.mu.Lock()
	p.steps = append(p.steps, s)
	p.mu.Unlock()
	_, err := p.conn.Write([]byte(text.String()))
	if err == nil || errors.Is(err, net.ErrClosed) {
		err = p.await(receipt)
	} else if e := p.await(receipt); e != nil { // what the server said before
		err = e
	}
	if err == nil {
		p.confirmed++
	}
	return err
}

// after is what the queues hold after k of the steps.
func (p *player) after(k int) map[string][]string {
	held := make(map[string][]string)
	for i, s := range p.steps[:k] {
		if p.refused[i] {
			continue
		}
		for _, a := range s.acks {
			if at := slices.Index(held[a.queue], a.body); at >= 0 {
				held[a.queue] = slices.Delete(held[a.queue], at, at+1)
			}
		}
		for _, put := range s.puts {
			held[put.queue] = append(held[put.queue], put.body)
		}
	}
	return held
}

// compare looks whether the queues hold what the confirmed steps made of them, or one step more.
func (p *player) compare(confirmed int, got map[string][]string) error {
	var first error
	for k := confirmed; k <= min(confirmed+1, len(p.steps)); k++ {
		err := differ(p.after(k), got, p.first, p.other)
		if err == nil {
			return nil
		}
		if first == nil {
			first = fmt.Errorf("after %d steps that were confirmed: %w", confirmed, err)
		}
	}
	return first
}

// compareAny looks whether the queues hold what any number of steps made of them, up to one more than were confirmed.
func (p *player) compareAny(confirmed int, got map[string][]string) error {
	err := p.compare(confirmed, got)
	for k := confirmed; err != nil && k > 0; k-- {
		err = differ(p.after(k-1), got, p.first, p.other)
	}
	return err
}

func differ(want, got map[string][]string, queues ...string) error {
	for _, q := range queues {
		if slices.Equal(want[q], got[q]) {
			continue
		}
		count := make(map[string]int)
		for _, body := range want[q] {
			count[body]++
		}
		for _, body := range got[q] {
			count[body]--
		}
		var words []string
		for _, body := range slices.Sorted(maps.Keys(count)) {
			switch n := count[body]; {
			case n > 0:
				words = append(words, fmt.Sprintf("lost %.12q", body))
			case n < 0:
				words = append(words, fmt.Sprintf("too many %.12q", body))
			}
		}
		if words == nil {
			words = []string{"they are in another order"}
		}
		return fmt.Errorf("%s has %d messages, want %d: %s", q, len(got[q]), len(want[q]), strings.Join(words[:min(len(words), 8)], ", "))
	}
	return nil
}
