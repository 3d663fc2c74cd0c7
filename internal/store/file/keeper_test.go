package file_test

import (
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/store"
	"stompserver/internal/store/file"
	"stompserver/internal/vfs"
)

// TestCalm: messages that have been in the log for a while get files while the store is calm, all of
// them, and none while it is busy.
func TestCalm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &vfs.Memory{}
		f := openWith(t, file.Config{Dir: "/storage", FS: disk, RedoSize: 64 << 10})
		after := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := messageFiles(t, disk); got != want {
				t.Errorf("%d files, want %d", got, want)
			}
		}
		seq := store.Seq(0)
		put := func(n store.Seq) {
			putN(t, f, "/queue/a", seq+1, seq+n, 200)
			seq += n
		}
		put(300)
		after(900*time.Millisecond, 0)
		after(5*time.Second, 300)
		for range 100 { // 2000 a second
			put(200)
			after(100*time.Millisecond, 300)
		}
		after(900*time.Millisecond, 300)
		after(10*time.Second, 20300)
		if got := segments(t, disk); len(got) > 2 {
			t.Errorf("there are %q", got)
		}
		for range 20 { // a message now and then
			put(1)
			after(100*time.Millisecond, 20300)
			if err := f.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: seq, Last: seq}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Write([]store.Record{{Kind: store.RecordAck, Queue: "/queue/a", Seq: 1, Last: 20000}}); err != nil {
			t.Fatal(err)
		}
		after(time.Second, 300)
		inOrder(t, f, "/queue/a", 20001, 20300)
		closed(t, f)
	})
}
