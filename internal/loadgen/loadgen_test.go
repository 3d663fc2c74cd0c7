package loadgen

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestStamp(t *testing.T) {
	for _, s := range []stamp{
		{},
		{tag: 1, stream: 2, seq: 3, time: 4},
		{tag: 1<<24 - 1, stream: 1<<18 - 1, seq: 1<<42 - 1, time: 1<<54 - 1},
	} {
		body := bytes.Repeat([]byte{'x'}, stampLen+5)
		s.put(body)
		if got, ok := parseStamp(body); !ok || got != s {
			t.Errorf("parseStamp(%q) = %+v, %v, want %+v", body, got, ok, s)
		}
		if !bytes.Equal(body[stampLen:], []byte("xxxxx")) {
			t.Errorf("put wrote past the stamp: %q", body)
		}
		putSeqTime(body, s.seq/2, s.time/3)
		want := stamp{s.tag, s.stream, s.seq / 2, s.time / 3}
		if got, _ := parseStamp(body); got != want {
			t.Errorf("after putSeqTime: %+v, want %+v", got, want)
		}
	}
	for _, body := range []string{"", strings.Repeat("0", stampLen-1), strings.Repeat("x", stampLen), strings.Repeat(" ", stampLen)} {
		if got, ok := parseStamp([]byte(body)); ok {
			t.Errorf("parseStamp(%q) = %+v, want none", body, got)
		}
	}
}

func TestSettle(t *testing.T) {
	type delivery struct {
		seq         int64
		redelivered bool
	}
	run := func(from, to int64) (ds []delivery) {
		for i := from; i < to; i++ {
			ds = append(ds, delivery{seq: i})
		}
		return ds
	}
	for _, tt := range []struct {
		name      string
		sent      int64
		consumers [][]delivery
		want      tally
	}{
		{"nothing at all", 0, nil, tally{}},
		{"all in order", 3, [][]delivery{run(0, 3)}, tally{}},
		{"over the end of a page", pageBits + 10, [][]delivery{run(0, pageBits+10)}, tally{}},
		{"the last is lost", 4, [][]delivery{run(0, 3)}, tally{lost: 1}},
		{"a whole page is lost", 3 * pageBits, [][]delivery{append(run(0, pageBits), run(2*pageBits, 3*pageBits)...)}, tally{lost: pageBits}},
		{"nobody got anything", 5, [][]delivery{{}, {}}, tally{lost: 5}},
		{"twice by one", 3, [][]delivery{{{seq: 0}, {seq: 1}, {seq: 1}, {seq: 2}}}, tally{duplicated: 1}},
		{"twice by two", 3, [][]delivery{run(0, 3), {{seq: 1}}}, tally{duplicated: 1}},
		{"one lost and one twice are two faults", 3, [][]delivery{{{seq: 0}, {seq: 0}, {seq: 2}}}, tally{lost: 1, duplicated: 1}},
		{"shared, each in order", 4, [][]delivery{{{seq: 0}, {seq: 3}}, {{seq: 1}, {seq: 2}}}, tally{}},
		{"late", 3, [][]delivery{{{seq: 0}, {seq: 2}, {seq: 1}}}, tally{disorder: 1}},
		{"late, but given back before", 3, [][]delivery{{{seq: 0}, {seq: 2}, {1, true}}}, tally{}},
	} {
		var seen []*seen
		for _, ds := range tt.consumers {
			s := newSeen()
			for _, d := range ds {
				s.add(d.seq, d.redelivered)
			}
			seen = append(seen, s)
		}
		if got := settle(tt.sent, seen...); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// frames takes stream apart as a link does, given bytes in portions of n.
func frames(t *testing.T, s scanner, stream string, n int) (got []string) {
	t.Helper()
	var b []byte
	for rest := stream; ; {
		for len(b) > 0 {
			var ev event
			length, err := s.scan(b, &ev)
			if err != nil {
				t.Fatalf("scan(%q): %v", b, err)
			}
			if length == 0 || length > len(b) {
				break
			}
			if ev.kind != nothing {
				got = append(got, fmt.Sprintf("%d %d %q %q %d %v %q", ev.kind, ev.size, ev.body, ev.ack, ev.dest, ev.redelivered, ev.text))
			}
			b = b[length:]
		}
		if rest == "" {
			break
		}
		n := min(n, len(rest))
		b = append(b, rest[:n]...)
		rest = rest[n:]
	}
	if len(b) > 0 {
		t.Errorf("left over: %q", b)
	}
	return got
}

func TestScan(t *testing.T) {
	long := strings.Repeat("0", stampLen) + "rest\x00\n\nof it"
	for _, tt := range []struct {
		name    string
		scanner func() scanner
		stream  string
		want    []string
	}{
		{
			"stomp 1.2 with acks", (&stompProtocol{cfg: &Config{Version: "1.2"}, acks: true}).scanner,
			"\n\nCONNECTED\nversion:1.2\n\n\x00\nRECEIPT\nreceipt-id:sub-0\n\n\x00" +
				"MESSAGE\nack:a\\c1\nmessage-id:1\ncontent-length:2\nsubscription:3\n\nhi\x00\n" +
				"MESSAGE\nmessage-id:2\ncontent-length:" + fmt.Sprint(len(long)) + "\nack:22\nredelivered:true\n\n" + long + "\x00" +
				"ERROR\nmessage:no\ncontent-length:7\n\nbecause\x00",
			[]string{
				`3 0 "" "" 0 false ""`, `2 0 "" "" 0 false ""`, `1 2 "hi" "a\\c1" 0 false ""`,
				fmt.Sprintf(`1 %d %q "22" 0 true ""`, len(long), long[:stampLen]), `5 0 "" "" 0 false "no (because)"`,
			},
		},
		{
			"stomp 1.1 acks by message-id and subscription", (&stompProtocol{cfg: &Config{Version: "1.1"}, acks: true}).scanner,
			"MESSAGE\nsubscription:7\nmessage-id:m\ncontent-length:0\n\n\x00",
			[]string{`1 0 "" "m" 7 false ""`},
		},
		{
			"without content-length", (&stompProtocol{cfg: &Config{Version: "1.0"}}).scanner,
			"MESSAGE\nmessage-id:m\n\nbody\x00\n\nMESSAGE\nmessage-id:n\n\n\x00",
			[]string{`1 4 "body" "" 0 false ""`, `1 0 "" "" 0 false ""`},
		},
		{
			"lines that end in CR LF", (&stompProtocol{cfg: &Config{Version: "1.2"}, acks: true}).scanner,
			"\r\nMESSAGE\r\nack:1\r\ncontent-length:4\r\n\r\n\n\nab\x00\r\n",
			[]string{`1 4 "\n\nab" "1" 0 false ""`},
		},
		{
			"nats", (&natsProtocol{&Config{}}).scanner,
			"INFO {\"a\":1}\r\nPONG\r\n+OK\r\nMSG queue.a 1 4\r\na\r\nb\r\nMSG queue.a 1 _INBOX.x 0\r\n\r\nPING\r\n-ERR 'no'\r\n",
			[]string{`3 0 "" "" 0 false ""`, `1 4 "a\r\nb" "" 0 false ""`, `1 0 "" "" 0 false ""`, `4 0 "" "" 0 false ""`, `5 0 "" "" 0 false "no"`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for n := 1; n <= len(tt.stream); n++ {
				if got := frames(t, tt.scanner(), tt.stream, n); !slices.Equal(got, tt.want) {
					t.Fatalf("in portions of %d: got\n%s\nwant\n%s", n, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
				}
			}
		})
	}
	for _, bad := range []struct {
		s  scanner
		in string
	}{
		{&stompScanner{}, "HTTP/1.1 200 OK\n\n\x00"},
		{&stompScanner{}, "MESSAGE\ncontent-length:x\n\n\x00"},
		{natsScanner{}, "HTTP/1.1 200 OK\r\n"},
		{natsScanner{}, "MSG a 1 -4\r\n"},
	} {
		if n, err := bad.s.scan([]byte(bad.in), &event{}); err == nil {
			t.Errorf("scan(%q) = %d, want an error", bad.in, n)
		}
	}
}

// FuzzScan: whatever a broker sends, a scanner neither panics nor claims to need less than
// nothing, and with more bytes behind a whole frame it finds the same frame.
func FuzzScan(f *testing.F) {
	f.Add([]byte("MESSAGE\nack:1\ncontent-length:2\n\nhi\x00"), []byte("\n"))
	f.Add([]byte("MSG a 1 2\r\nhi\r\n"), []byte("PING\r\n"))
	f.Fuzz(func(t *testing.T, b, more []byte) {
		if len(b) == 0 {
			return
		}
		for _, make := range []func() scanner{
			(&stompProtocol{cfg: &Config{Version: "1.1"}, acks: true}).scanner, (&natsProtocol{&Config{}}).scanner,
		} {
			var ev, ev2 event
			n, err := make().scan(b, &ev)
			if n < 0 || len(ev.body) > stampLen {
				t.Fatalf("scan(%q) = %d, %+v", b, n, ev)
			}
			if err != nil || n == 0 || n > len(b) || ev.kind == nothing {
				continue
			}
			n2, err := make().scan(append(slices.Clone(b), more...), &ev2)
			if n2 != n || err != nil || ev2.kind != ev.kind || !bytes.Equal(ev2.body, ev.body) {
				t.Fatalf("scan(%q) = %d, %+v; with %q behind it %d, %+v, %v", b, n, ev, more, n2, ev2, err)
			}
		}
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		g := newGate(100, 10)
		if n := g.take(64, 1, stop); n != 64 {
			t.Fatalf("take(64) = %d", n)
		}
		if n := g.take(64, 10, stop); n != 30 {
			t.Fatalf("take(64) in tens = %d, want the 30 that are free", n)
		}
		var got int64
		go func() { got = g.take(64, 10, stop) }()
		synctest.Wait()
		g.give(3) // 9 free: not yet ten
		synctest.Wait()
		if got != 0 {
			t.Fatalf("took %d of 9 free ones in tens", got)
		}
		g.give(11)
		synctest.Wait()
		if got != 20 {
			t.Fatalf("took %d, want 20", got)
		}
		// Several wait, one gives: each has its share; the others end with the run.
		var took [3]int64
		for i := range took {
			took[i] = -1
			go func() { took[i] = g.take(10, 10, stop) }()
		}
		synctest.Wait()
		g.give(20)
		synctest.Wait()
		close(stop)
		synctest.Wait()
		slices.Sort(took[:])
		if want := [3]int64{0, 10, 10}; took != want {
			t.Errorf("three that wait took %v, want %v", took, want)
		}
	})
}

func TestShare(t *testing.T) {
	for _, tt := range []struct{ n, things int }{{1, 1}, {4, 4}, {4, 1}, {3, 7}, {7, 3}} {
		used := map[int]bool{}
		for i := range tt.n {
			mine := share(i, tt.n, tt.things)
			if len(mine) == 0 {
				t.Errorf("%d of %d has none of %d", i, tt.n, tt.things)
			}
			for _, m := range mine {
				used[m] = true
			}
		}
		if len(used) != tt.things {
			t.Errorf("%d share %d of %d", tt.n, len(used), tt.things)
		}
	}
}

func TestRefusals(t *testing.T) {
	load := func(c Config) Config {
		if c.Server == "" {
			c.Server = "stomp://127.0.0.1:1"
		}
		if c.Messages == 0 && c.Duration == 0 {
			c.Messages = 1
		}
		c.Consumers = max(c.Consumers, 1)
		return c
	}
	for _, tt := range []struct {
		name string
		c    Config
		want string
	}{
		{"fine", load(Config{}), ""},
		{"body without room for the stamp", load(Config{Size: 22}), "--size: at least 23 bytes: the sequence number and the time of sending travel in the body"},
		{"unknown mode", load(Config{Ack: "none"}), `--ack: auto, client or client-individual, not "none"`},
		{"unknown version", load(Config{Version: "2"}), `--protocol: 1.0, 1.1 or 1.2, not "2"`},
		{"negative", load(Config{Rate: -1}), "no number may be negative"},
		{"receipts of NATS", load(Config{Server: "nats://h", Receipts: true}), "--receipts: core NATS confirms nothing; leave it out with nats://"},
		{"acks of NATS", load(Config{Server: "nats://h", Ack: "client"}), "--ack: core NATS has no acknowledgements; only auto with nats://"},
		{"no end", Config{Server: "stomp://h", Consumers: 1}, "say how long: --messages or --duration"},
		{"two ends", load(Config{Messages: 1, Duration: 1}), "--messages and --duration: one of the two ends the run"},
		{"warm-up without time", load(Config{Warmup: 1}), "--warmup: needs --duration; with --messages all of them are measured"},
		{"unbounded", Config{Server: "stomp://h", Duration: 1}, "--consumers 0 with --duration: nothing would bound what piles up; say --messages, or --receipts"},
		{"destination of another form", load(Config{Destination: "/queue/a b"}), "--destination: without spaces, colons and backslashes, please"},
	} {
		err := tt.c.prepare()
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestCoordinatedOmission: a server that stands still for a second shows in the latencies
// of the messages that were due meanwhile, although they were sent only after it.
func TestCoordinatedOmission(t *testing.T) {
	r := &run{}
	r.to.Store(1 << 60)
	l := latencies{shard: newShards(1)[0]}
	for ms := range int64(1000) {
		l.add(r, ms*1e6, 1000e6) // due each ms, received when it moves again
	}
	for ms := int64(1000); ms < 2000; ms++ {
		l.add(r, ms*1e6, ms*1e6+1e5)
	}
	l.flush()
	p := percentiles(merge([]*shard{l.shard}))
	if p.Count != 2000 || p.P50 > 1.1 || p.P99 < 970 || p.Max < 999 || p.Max > 1001 {
		t.Errorf("%+v, want a median of 0.1 to 1 ms, p99 near 980 ms and a maximum of 1000 ms", p)
	}
	l.add(r, 1<<60, 1<<60+1)
	l.flush()
	if n := merge([]*shard{l.shard}).TotalCount(); n != 2000 {
		t.Errorf("a message sent behind the measured part was counted")
	}
}

func TestStatFields(t *testing.T) {
	name, f := statFields([]byte("12 (a) b (c)) S 1 2 3\n"))
	if name != "a) b (c)" || !slices.Equal(f, []string{"S", "1", "2", "3"}) {
		t.Errorf("statFields: %q %q", name, f)
	}
	if _, f := statFields([]byte("nonsense")); f != nil {
		t.Errorf("statFields of nonsense: %q", f)
	}
}

func BenchmarkScan(b *testing.B) {
	one := "MESSAGE\nsubscription:0\nmessage-id:q1-100000\ndestination:/queue/bench.aaaaaa\ncontent-length:100\n\n" + strings.Repeat("x", 100) + "\x00\n"
	buf := []byte(strings.Repeat(one, 100))
	s := (&stompProtocol{cfg: &Config{Version: "1.2"}}).scanner()
	b.SetBytes(int64(len(one)))
	b.ReportAllocs()
	rest := buf
	for b.Loop() {
		var ev event
		n, err := s.scan(rest, &ev)
		if err != nil {
			b.Fatal(err)
		}
		if ev.kind == nothing {
			n2, _ := s.scan(rest[n:], &ev)
			n += n2
		}
		if rest = rest[n:]; len(rest) < 2*len(one) {
			rest = buf
		}
	}
}
