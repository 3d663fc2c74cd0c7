package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stompserver/internal/client"
	"stompserver/internal/frame"
	"stompserver/test/process"
)

// smallDisk mounts one of so many bytes. That takes the rights of an administrator.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("%sno small disk can be mounted, which takes root: mount: %v", forbidden, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes what is left of a disk.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, unix.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk fills the disk: who sends is told, who takes messages goes on, there is room again after that,
// and what was confirmed is there after a kill.
func TestFullDisk(t *testing.T) {
	size := map[string]string{"journal": "150m", "file": "220m", "dbm": "48m", "dbm -c 1": "110m", "activerecord": "48m"}
	for _, queue := range storesAndFlags {
		t.Run(queue, func(t *testing.T) {
			dir := smallDisk(t, size[queue])
			queue, flags := flagsOf(queue)
			settings := []string{"STOMPSERVER_QUEUE=" + queue}
			if len(flags) > 0 {
				settings = append(settings, "STOMPSERVER_CHECKPOINT="+flags[1])
			}
			s := process.StartIn(t, dir, settings...)
			held := make(map[string]bool) // confirmed, and not acknowledged
			n := 0
			send := func(c *client.Conn, size int) error {
				n++
				body := fmt.Sprintf("%d %s", n, strings.Repeat("x", size))
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				err := c.SendConfirmed(ctx, "/queue/a", nil, []byte(body))
				if err == nil {
					held[body] = true
				}
				return err
			}
			dial := func() *client.Conn {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				c, err := client.Dial(ctx, "stomp://"+s.Addr(), client.Options{})
				if err != nil {
					t.Fatalf("%v\n%s", err, s.Log())
				}
				return c
			}
			// Large messages first, and then what may find a place between them.
			for _, size := range []int{64 << 10, 3000, 10} {
				c := dial()
				var err error
				for err == nil && n < 50_000 {
					err = send(c, size)
				}
				var told *client.ServerError
				if !errors.As(err, &told) || told.Code != "storage-full" {
					t.Fatalf("after %d messages: %v\n%s", n, err, s.Log())
				}
			}
			filler := filepath.Join(dir, "filler")
			fill(t, filler)
			take := func(most int) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c := dial()
				defer c.Close()
				sub, err := c.Subscribe(ctx, "/queue/a", client.SubscribeOptions{Ack: "client-individual"})
				if err != nil {
					t.Fatal(err)
				}
				for range most {
					m, err := sub.Next(ctx)
					if err != nil {
						t.Fatalf("taking: %v\n%s", err, s.Log())
					}
					if !held[string(m.Body)] {
						t.Fatalf("got %.20q, which was not confirmed, or was acknowledged", m.Body)
					}
					f := &frame.Frame{Command: frame.Ack}
					f.Header.Add("id", m.Header.Value("ack"))
					if err := c.Request(ctx, f); err != nil {
						t.Fatalf("acknowledging: %v\n%s", err, s.Log())
					}
					delete(held, string(m.Body))
				}
			}
			all := len(held)
			t.Logf("%d messages", all)
			take(all / 3)
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			take(all / 3)
			var err error
			for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if err = send(dial(), 1000); err == nil {
					break
				}
			}
			if err != nil {
				t.Errorf("there is room again, and no SEND passes: %v\n%s", err, s.Log())
			}
			if said := s.Log(); !strings.Contains(said, "no room left") {
				t.Errorf("the log does not say that the disk was full:\n%s", said)
			}
			s.Kill(t)
			var log bytes.Buffer
			b, err := open(queue, filepath.Join(dir, ".stompserver"), &log, len(flags) > 0)
			if err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			defer b.Close()
			got, err := holds(b, "/queue/a")
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range got["/queue/a"] {
				if held[body] {
					delete(held, body)
				}
			}
			if len(held) > 0 {
				t.Errorf("%d confirmed messages are lost", len(held))
			}
		})
	}
}
