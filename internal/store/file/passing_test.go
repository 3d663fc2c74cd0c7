package file_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// TestWhatPassesThroughHasNoFile: messages that are acked before half a log has gone by never have
// a file, however many logs go by; they are there after a crash nevertheless, and all have one
// after a stop.
func TestWhatPassesThroughHasNoFile(t *testing.T) {
	const queue = "/queue/a"
	disk := new(vfs.Memory)
	open := func() *file.File {
		t.Helper()
		f, err := file.Open(file.Config{Dir: "/storage", FS: disk, RedoSize: 64 << 10, Syncs: 1, Unattended: true})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	count := func() int {
		t.Helper()
		folders, err := disk.Folders()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, folder := range folders {
			names, err := disk.Folder(folder).List()
			if err != nil {
				t.Fatal(err)
			}
			n += len(names)
		}
		return n
	}
	f := open()
	const inFlight = 20
	for seq := store.Seq(1); seq <= 3000; seq++ {
		rs := []store.Record{{Kind: store.RecordPut, Queue: queue, Seq: seq, Msg: storetest.Message(t, queue, []byte(strings.Repeat("x", 1000)))}}
		if seq > inFlight {
			rs = append(rs, store.Record{Kind: store.RecordAck, Queue: queue, Seq: seq - inFlight, Last: seq - inFlight})
		}
		if err := f.Write(rs); err != nil {
			t.Fatal(err)
		}
		if err := f.Tend(false); err != nil {
			t.Fatal(err)
		}
		if n := count(); n > 0 {
			t.Fatalf("%d messages have a file when %d were sent", n, seq)
		}
	}
	infos, err := f.Queues()
	if err != nil || len(infos) != 1 || infos[0].Count != inFlight || infos[0].Enqueued != 3000 || infos[0].Dequeued != 3000-inFlight {
		t.Fatalf("%+v, %v", infos, err)
	}
	before := infos[0]
	disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
	f = open()
	if infos, err = f.Queues(); err != nil || len(infos) != 1 || infos[0] != before {
		t.Errorf("after a crash %+v, %v; before it %+v", infos, err, before)
	}
	if rs, _, err := f.Read(nil, queue, 0, 100, 1<<20); err != nil || len(rs) != inFlight || rs[0].Seq != 3000-inFlight+1 {
		t.Errorf("%d messages, %v", len(rs), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != inFlight {
		t.Errorf("after a stop %d files, want %d", n, inFlight)
	}
}
