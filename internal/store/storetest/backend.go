package storetest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// RunBackend checks a backend alone: open opens the same place again. What a crash leaves is
// not played here.
func RunBackend(t *testing.T, open func(t testing.TB, place string) store.Backend) {
	for _, c := range []struct {
		name string
		run  func(*stage)
	}{
		{"an empty one", emptyBackend},
		{"what was written is read, before and after a restart", readBack},
		{"pages", pages},
		{"marks and tries", marksAndTries},
		{"what is not there is removed in vain", vainAcks},
		{"odd names and bodies", oddRecords},
		{"Read beside Write", readBeside},
		{"a random walk beside a reference", walkBackend},
	} {
		t.Run(c.name, func(t *testing.T) {
			place := t.TempDir()
			s := &stage{T: t, open: func() store.Backend { return open(t, place) }}
			s.b = s.open()
			c.run(s)
			if err := s.b.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// A stage is one backend under test.
type stage struct {
	*testing.T
	b    store.Backend
	open func() store.Backend
}

func (s *stage) restart() {
	s.Helper()
	if err := s.b.Close(); err != nil {
		s.Fatalf("Close: %v", err)
	}
	s.b = s.open()
}

func (s *stage) write(rs ...store.Record) {
	s.Helper()
	if err := s.b.Write(rs); err != nil {
		s.Fatalf("Write: %v", err)
	}
}

func (s *stage) put(queue string, seq store.Seq, body string) store.Record {
	return store.Record{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: Message(s, queue, []byte(body))}
}

func ack(queue string, first, last store.Seq) store.Record {
	return store.Record{Kind: store.RecordAck, Queue: queue, Seq: first, Last: last}
}

// holds checks what all of a queue is.
func (s *stage) holds(queue string, want ...string) {
	s.Helper()
	rs, more, err := s.b.Read(nil, queue, 0, 1<<20, 1<<40)
	if err != nil || more {
		s.Fatalf("Read: more is %v, error %v", more, err)
	}
	var got []string
	for _, r := range rs {
		g := fmt.Sprintf("%d:%s", r.Seq, r.Msg.Body())
		if r.Attempts > 0 {
			g += fmt.Sprintf(":%d", r.Attempts)
		}
		got = append(got, g)
		if r.Msg.Destination() != queue || r.Kind != store.RecordPut {
			s.Errorf("%s holds a %v for %s", queue, r.Kind, r.Msg.Destination())
		}
	}
	if !slices.Equal(got, want) {
		s.Fatalf("%s holds %q, want %q", queue, got, want)
	}
}

func (s *stage) info(queue string) store.Info {
	s.Helper()
	infos, err := s.b.Queues()
	if err != nil {
		s.Fatalf("Queues: %v", err)
	}
	for _, i := range infos {
		if i.Name == queue {
			return i
		}
	}
	return store.Info{}
}

func emptyBackend(s *stage) {
	for range 2 {
		infos, err := s.b.Queues()
		if err != nil || len(infos) > 0 {
			s.Errorf("an empty one holds %v, %v", infos, err)
		}
		s.holds("/queue/a")
		s.write()
		s.restart()
	}
}

func readBack(s *stage) {
	s.write(s.put("/queue/a", 1, "x"), s.put("/queue/b", 7, "y"), s.put("/queue/a", 2, ""))
	s.write(s.put("/queue/a", 5, "z"), ack("/queue/a", 1, 1))
	for range 2 {
		s.holds("/queue/a", "2:", "5:z")
		s.holds("/queue/b", "7:y")
		s.restart()
	}
	i := s.info("/queue/a")
	if i.First != 2 || i.Last != 5 || i.Count != 2 || i.Marked != 0 || i.Bytes <= 0 {
		s.Errorf("%+v", i)
	}
	s.write(ack("/queue/a", 2, 5), ack("/queue/b", 7, 7))
	s.holds("/queue/a")
	s.restart()
	s.holds("/queue/b")
	infos, err := s.b.Queues()
	if err != nil {
		s.Fatal(err)
	}
	var last store.Seq
	for _, i := range infos {
		last = max(last, i.Last)
		if i.Count != 0 || i.Bytes != 0 {
			s.Errorf("%+v", i)
		}
	}
	if last < 7 {
		s.Errorf("the last Seq was 7, told is %d", last)
	}
	s.write(s.put("/queue/a", 8, "again"))
	s.restart()
	s.holds("/queue/a", "8:again")
}

func pages(s *stage) {
	var rs []store.Record
	for i := range 300 {
		rs = append(rs, s.put("/queue/a", store.Seq(2*i+1), fmt.Sprint(i)))
	}
	s.write(rs...)
	s.write(s.put("/queue/A", 1, "another"), s.put("/queue/aa", 1, "another"))
	one := int64(rs[0].Msg.Size())
	for _, c := range []struct {
		after       store.Seq
		max         int
		size        int64
		first, last store.Seq
		more        bool
	}{
		{0, 10, 1 << 30, 1, 19, true},
		{1, 10, 1 << 30, 3, 21, true},
		{2, 1, 1 << 30, 3, 3, true},
		{0, 1000, 0, 0, 0, true},
		{0, 0, 1 << 30, 0, 0, true},
		{599, 10, 0, 0, 0, false},
		{0, 1000, one, 1, 1, true},
		{0, 1000, one + 1, 1, 3, true},
		{579, 10, 1 << 30, 581, 599, false},
		{580, 11, 1 << 30, 581, 599, false},
		{598, 10, 1 << 30, 599, 599, false},
		{599, 10, 1 << 30, 0, 0, false},
		{1 << 50, 10, 1 << 30, 0, 0, false},
	} {
		prefix := []store.Record{{Queue: "kept"}}
		got, more, err := s.b.Read(prefix, "/queue/a", c.after, c.max, c.size)
		if err != nil {
			s.Fatal(err)
		}
		if got[0].Queue != "kept" {
			s.Error("Read does not append")
		}
		var first, last store.Seq
		if got = got[1:]; len(got) > 0 {
			first, last = got[0].Seq, got[len(got)-1].Seq
		}
		if first != c.first || last != c.last || more != c.more {
			s.Errorf("%+v: got %d to %d, more %v", c, first, last, more)
		}
	}
}

func marksAndTries(s *stage) {
	s.write(s.put("/queue/a", 1, "x"), s.put("/queue/a", 2, "y"), store.Record{Kind: store.RecordMark, Queue: "/queue/a", Seq: 2})
	s.restart()
	if i := s.info("/queue/a"); i.Marked != 2 {
		s.Errorf("%+v", i)
	}
	s.write(
		store.Record{Kind: store.RecordMark, Queue: "/queue/a", Seq: 0},
		store.Record{Kind: store.RecordAttempts, Queue: "/queue/a", Seq: 2, Attempts: 7},
		store.Record{Kind: store.RecordAttempts, Queue: "/queue/a", Seq: 9, Attempts: 7},
	)
	s.restart()
	s.holds("/queue/a", "1:x", "2:y:7")
	if i := s.info("/queue/a"); i.Marked != 0 {
		s.Errorf("%+v", i)
	}
	s.write(store.Record{Kind: store.RecordAttempts, Queue: "/queue/a", Seq: 2, Attempts: 8})
	s.holds("/queue/a", "1:x", "2:y:8")
	s.write(store.Record{Kind: store.RecordAttempts, Queue: "/queue/a", Seq: 2}) // it was not, after all
	s.holds("/queue/a", "1:x", "2:y")
	s.restart()
	s.holds("/queue/a", "1:x", "2:y")
	s.write(ack("/queue/a", 2, 2), s.put("/queue/a", 3, "z"))
	s.restart()
	s.holds("/queue/a", "1:x", "3:z")
}

func vainAcks(s *stage) {
	s.write(ack("/queue/none", 1, 5), store.Record{Kind: store.RecordMark, Queue: "/queue/none", Seq: 3})
	s.write(s.put("/queue/a", 10, "x"), s.put("/queue/a", 20, "y"))
	s.write(ack("/queue/a", 1, 15), ack("/queue/a", 1, 15), ack("/queue/a", 11, 19), ack("/queue/a", 21, 1<<40))
	s.restart()
	s.holds("/queue/a", "20:y")
}

func oddRecords(s *stage) {
	huge := make([]byte, 10<<20)
	for i := range huge {
		huge[i] = byte(i * i >> 3)
	}
	names := []string{"/queue/", "/queue/a b", "/queue/ä/../b", "/queue/a:b\\c", "/queue/%2e", "/queue/\xff\xfe"}
	for _, name := range names {
		s.write(s.put(name, 1, ""), s.put(name, 2, "\x00\r\n\xff"), s.put(name, 3, string(huge)))
	}
	s.restart()
	for _, name := range names {
		s.holds(name, "1:", "2:\x00\r\n\xff", "3:"+string(huge))
	}
}

// readBeside reads all the time while it is written: what is read is whole.
func readBeside(s *stage) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := store.Seq(1); i < 300; i++ {
			if err := s.b.Write([]store.Record{s.put("/queue/a", 2*i, "one"), s.put("/queue/a", 2*i+1, "two"), ack("/queue/a", 2*(i-5), 2*(i-5)+1)}); err != nil {
				s.Errorf("Write: %v", err)
				return
			}
		}
	}()
	for {
		rs, _, err := s.b.Read(nil, "/queue/a", 0, 1000, 1<<30)
		if err != nil {
			s.Fatal(err)
		}
		if len(rs)%2 != 0 || len(rs) > 10 {
			s.Fatalf("%d messages: half of a Write is seen", len(rs))
		}
		for i, r := range rs {
			if want := []string{"one", "two"}[i%2]; string(r.Msg.Body()) != want || i > 0 && r.Seq != rs[i-1].Seq+1 {
				s.Fatalf("message %d is %d:%s", i, r.Seq, r.Msg.Body())
			}
		}
		select {
		case <-done:
			return
		default:
		}
	}
}

func walkBackend(s *stage) {
	r := random(newHarness(s.T, nil))
	var ref Reference
	next := map[string]store.Seq{}
	names := []string{"/queue/a", "/queue/b", "/queue/c"}
	for step := range 400 {
		var rs []store.Record
		for range r.IntN(8) {
			name := names[r.IntN(len(names))]
			switch r.IntN(5) {
			case 0, 1, 2:
				next[name] += 1 + store.Seq(r.IntN(3))
				rec := s.put(name, next[name], string(make([]byte, r.IntN(2000))))
				rec.Msg = message.Text(name, fmt.Sprint(step, r.Uint64()), int64(step))
				rs = append(rs, rec)
				if r.IntN(4) == 0 { // as a topic with durable subscriptions does
					for _, other := range names {
						next[other]++
						rec.Queue, rec.Seq = other, next[other]
						rs = append(rs, rec)
					}
				}
			case 3:
				first := store.Seq(r.IntN(int(next[name]) + 2))
				rs = append(rs, ack(name, first, first+store.Seq(r.IntN(4))))
			case 4:
				rs = append(rs, store.Record{Kind: store.RecordMark, Queue: name, Seq: store.Seq(r.IntN(int(next[name]) + 1))})
			}
		}
		s.write(rs...)
		if err := ref.Write(rs); err != nil {
			s.Fatal(err)
		}
		if r.IntN(20) == 0 {
			s.restart()
			s.sameInfos(&ref)
		}
		s.sameAs(&ref, names[r.IntN(len(names))], r)
	}
}

func (s *stage) sameAs(ref *Reference, queue string, r *rand.Rand) {
	s.Helper()
	after, n, size := store.Seq(r.IntN(50)), 1+r.IntN(40), int64(1+r.IntN(4000))
	want, wantMore, _ := ref.Read(nil, queue, after, n, size)
	got, gotMore, err := s.b.Read(nil, queue, after, n, size)
	if err != nil {
		s.Fatal(err)
	}
	if len(got) != len(want) || gotMore != wantMore {
		s.Fatalf("Read(%s, %d, %d, %d) gives %d, more %v; want %d, %v", queue, after, n, size, len(got), gotMore, len(want), wantMore)
	}
	for i := range got {
		if got[i].Seq != want[i].Seq || string(got[i].Msg.Body()) != string(want[i].Msg.Body()) || got[i].Msg.Arrived() != want[i].Msg.Arrived() {
			s.Fatalf("Read gives %d:%s, want %d:%s", got[i].Seq, got[i].Msg.Body(), want[i].Seq, want[i].Msg.Body())
		}
	}
}

// sameInfos compares what is told at start of queues that are not empty.
func (s *stage) sameInfos(ref *Reference) {
	s.Helper()
	full := func(b store.Backend) map[string]store.Info {
		infos, err := b.Queues()
		if err != nil {
			s.Fatal(err)
		}
		m := map[string]store.Info{}
		for _, i := range infos {
			if i.Count > 0 {
				i.Bytes, i.Enqueued, i.Dequeued = 0, 0, 0
				if i.Marked < i.First { // it is of what went; a queue that was empty may be forgotten with it
					i.Marked = 0
				}
				m[i.Name] = i
			}
		}
		return m
	}
	if got, want := full(s.b), full(ref); !reflect.DeepEqual(got, want) {
		s.Fatalf("Queues: %+v, want %+v", got, want)
	}
}
