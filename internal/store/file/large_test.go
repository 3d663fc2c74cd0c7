package file_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/vfs"
)

// TestLargeBecomesAFile: a large body is copied from the log to its file as it was, without being in
// memory, and one that is damaged is not.
func TestLargeBecomesAFile(t *testing.T) {
	body := make([]byte, 9<<20+17)
	for i := range body {
		body[i] = byte(i / 1000)
	}
	value := strings.Repeat("v", 3000)
	m, err := message.New(&frame.Frame{Header: frame.Header{{Name: []byte("x-long"), Value: []byte(value)}}, Body: body}, "/queue/b", message.At(7))
	if err != nil {
		t.Fatal(err)
	}
	queues := []string{"/queue/a", "/queue/b", "/dsub/c", "/dsub/d"}
	var rs []store.Record
	for _, q := range queues {
		rs = append(rs, store.Record{Kind: store.RecordPut, Queue: q, Seq: 1, Msg: m})
	}
	same := func(t *testing.T, f *file.File) {
		t.Helper()
		for _, q := range queues {
			got, _, err := f.Read(nil, q, 0, 10, 1)
			if err != nil || len(got) != 1 || !bytes.Equal(got[0].Msg.AppendRecord(nil), m.AppendRecord(nil)) {
				t.Fatalf("%s: %d messages, %v, or another one", q, len(got), err)
			}
		}
	}
	t.Run("memory", func(t *testing.T) {
		f := openWith(t, file.Config{Dir: t.TempDir(), NoSync: true, Unattended: true})
		if err := f.Write(rs); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := f.Tend(true); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
			t.Errorf("a body of %d MiB becomes a file with %d KiB of memory", len(body)>>20, n>>10)
		}
		same(t, f)
		closed(t, f)
	})
	t.Run("a crash", func(t *testing.T) {
		disk := &vfs.Memory{}
		f := openWith(t, onMemory(disk))
		if err := f.Write(rs); err != nil {
			t.Fatal(err)
		}
		if err := f.Tend(true); err != nil {
			t.Fatal(err)
		}
		if n := messageFiles(t, disk); n != len(queues) {
			t.Errorf("%d files", n)
		}
		disk = disk.Crash(rand.New(rand.NewPCG(1, 2)))
		f = openWith(t, onMemory(disk))
		same(t, f)
		closed(t, f)
		same(t, openWith(t, onMemory(disk)))
	})
	t.Run("damage", func(t *testing.T) {
		disk := &vfs.Memory{}
		cfg := onMemory(disk)
		var log bytes.Buffer
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		f := openWith(t, cfg)
		if err := f.Write(rs); err != nil {
			t.Fatal(err)
		}
		if err := disk.Damage(segments(t, disk)[1], 5<<20, 1); err != nil {
			t.Fatal(err)
		}
		if err := f.Tend(true); err != nil || messageFiles(t, disk) > 0 || !strings.Contains(log.String(), "a damaged message stays in the log") {
			t.Errorf("%v, %d files, told: %s", err, messageFiles(t, disk), &log)
		}
		if _, _, err := f.Read(nil, "/dsub/c", 0, 10, 1); err == nil {
			t.Error("it is delivered")
		}
	})
}
