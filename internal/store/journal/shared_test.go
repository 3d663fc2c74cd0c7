package journal_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

func files(t *testing.T, fs *vfs.Memory) []string {
	t.Helper()
	names, err := fs.List()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// onDisk is how many bytes the segments have that are not zero, roughly: how much was written.
func onDisk(t *testing.T, fs *vfs.Memory) (n int) {
	t.Helper()
	for _, name := range files(t, fs) {
		if !strings.HasSuffix(name, ".journal") {
			continue
		}
		f, err := fs.Open(name, false)
		if err != nil {
			t.Fatal(err)
		}
		size, _ := f.Size()
		b := make([]byte, size)
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		n += len(b) - bytes.Count(b, []byte{0})
	}
	return n
}

// A message that is put into many queues at once is stored once, stays so when it is copied, and goes when the
// last has acked it.
func TestStoredOnce(t *testing.T) {
	for _, queues := range []int{2, 100, 600} { // the last are more than one record names
		for _, size := range []int{0, 100, vfs.ShareFrom + 1} {
			t.Run(fmt.Sprintf("%d queues, %d bytes", queues, size), func(t *testing.T) { storedOnce(t, queues, size) })
		}
	}
}

func storedOnce(t *testing.T, queues, size int) {
	fs := &vfs.Memory{}
	cfg := journal.Config{FS: fs, SegmentSize: 1 << 20, NoSync: true}
	j := open(t, cfg)
	name := func(q int) string { return fmt.Sprintf("/dsub/%d", q) }
	body := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i%26)}, size) }
	put := func(first, n int) {
		t.Helper()
		for i := first; i < first+n; i++ {
			m := storetest.Message(t, "/topic/t", body(i))
			var rs []store.Record
			for q := range queues {
				rs = append(rs, store.Record{Kind: store.RecordPut, Queue: name(q), Seq: store.Seq(i), Msg: m})
			}
			if err := j.Write(rs); err != nil {
				t.Fatal(err)
			}
		}
	}
	ack := func(q, first, last int) {
		t.Helper()
		if err := j.Write([]store.Record{{Kind: store.RecordAck, Queue: name(q), Seq: store.Seq(first), Last: store.Seq(last)}}); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(q int, want ...int) {
		t.Helper()
		rs, more, err := j.Read(nil, name(q), 0, 1000, 1<<40)
		if err != nil || more {
			t.Fatal(more, err)
		}
		var got []int
		for _, r := range rs {
			got = append(got, int(r.Seq))
			if !bytes.Equal(r.Msg.Body(), body(int(r.Seq))) || r.Msg.Destination() != "/topic/t" {
				t.Fatalf("message %d of queue %d is another", r.Seq, q)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("queue %d holds %v, want %v", q, got, want)
		}
	}
	restart := func() {
		t.Helper()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		rep, err := journal.Check(cfg)
		if err != nil || len(rep.Problems) > 0 {
			t.Fatal(rep, err)
		}
		j = open(t, cfg)
	}
	// What passes through fills the segments, of which each keeps a little: so they are copied.
	passed, zeros := store.Seq(0), message.Text("/queue/other", string(make([]byte, 5<<10)), 0)
	pass := func(n int) {
		t.Helper()
		for range n {
			passed++
			rs := []store.Record{{Kind: store.RecordPut, Queue: "/queue/other", Seq: passed, Msg: zeros}}
			if passed%50 > 0 {
				rs = append(rs, store.Record{Kind: store.RecordAck, Queue: "/queue/other", Seq: passed, Last: passed})
			}
			if err := j.Write(rs); err != nil {
				t.Fatal(err)
			}
		}
	}
	pass(60)
	put(1, 10)
	pass(60)
	if most := (10*size*(queues+255)/256)*11/10 + 10*queues*64 + 64<<10; onDisk(t, fs) > most {
		t.Errorf("10 messages of %d bytes for %d queues take %d bytes, want %d at most", size, queues, onDisk(t, fs), most)
	}
	before := slices.DeleteFunc(files(t, fs), func(name string) bool { return !strings.HasSuffix(name, ".journal") })
	all := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for _, q := range []int{0, 1, queues / 2, queues - 1} {
		holds(q, all...)
	}
	ack(0, 1, 9)
	restart()
	holds(0, 10)
	holds(1, all...)

	// The first queue has read nearly all, the second nothing, when there is much to be copied.
	pass(3000)
	if queues == 100 && slices.Contains(files(t, fs), before[0]) {
		t.Errorf("%s is there still: nothing was copied", before[0])
	}
	holds(0, 10)
	holds(queues-1, all...)
	if most := 8*(10*size*(queues+255)/256) + 100*queues*64 + 1<<20; onDisk(t, fs) > most {
		t.Errorf("copied, 10 messages of %d bytes for %d queues take %d bytes, want %d at most", size, queues, onDisk(t, fs), most)
	}
	restart()
	holds(0, 10)
	holds(1, all...)
	holds(queues-1, all...)
	for q := range queues {
		ack(q, 1, 10)
	}
	restart()
	holds(queues - 1)
	pass(100)
	if n := len(files(t, fs)); n > 20 {
		t.Errorf("%d files are left", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
