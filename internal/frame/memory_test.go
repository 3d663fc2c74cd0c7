package frame_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"stompserver/internal/frame"
)

// TestLargeBody has a body that comes in many pieces: it is owned, and whole, and a promise
// alone costs nothing.
func TestLargeBody(t *testing.T) {
	const size = 5 << 20
	body := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	head := fmt.Sprintf("SEND\ndestination:/queue/a\ncontent-length:%d\n\n", size)
	d := decoder(frame.V12, frame.Limits{})
	var f frame.Frame
	for round := range 2 {
		d.Filled(copy(d.Space(), head))
		if err := d.Decode(&f); err != frame.ErrMore {
			t.Fatal(err)
		}
		d.Idle()
		if held := d.Held(); held > 512 {
			t.Errorf("a promise of %d bytes holds %d", size, held)
		}
		in := append(append([]byte{}, body...), 0)
		for len(in) > 0 {
			d.Idle()
			n := copy(d.Space(), in)
			d.Filled(n)
			in = in[n:]
			err := d.Decode(&f)
			if len(in) > 0 && err != frame.ErrMore || len(in) == 0 && err != nil {
				t.Fatalf("%d left: %v", len(in), err)
			}
			if held := d.Held(); held > 4*(size-len(in)+16<<10)+512 && round == 0 {
				t.Fatalf("%d bytes hold %d", size-len(in), held)
			}
		}
		if !f.Owned || !bytes.Equal(f.Body, body) || cap(f.Body) < size+2 {
			t.Fatalf("owned %v, %d bytes, cap %d", f.Owned, len(f.Body), cap(f.Body))
		}
		if v := f.Header.Value("destination"); v != "/queue/a" {
			t.Errorf("destination %q", v)
		}
	}
	if got, err := decodeAll(d, []byte("ACK\n\n\x00"), all); err != nil || len(got) != 1 {
		t.Errorf("after it: %v, %v", got, err)
	}
}

func TestIdleKeepsLittle(t *testing.T) {
	d := decoder(frame.V12, frame.Limits{})
	d.Filled(copy(d.Space(), "SEND\ndestination:/queue/a\nk:"))
	var f frame.Frame
	if err := d.Decode(&f); err != frame.ErrMore {
		t.Fatal(err)
	}
	d.Idle()
	if d.Held() > 512 {
		t.Errorf("28 bytes hold %d", d.Held())
	}
	d.Filled(copy(d.Space(), "v\n\nbody\x00"))
	if err := d.Decode(&f); err != nil || spell(&f) != `SEND "destination"="/queue/a" "k"="v" | "body"` {
		t.Errorf("got %v, %s", err, spell(&f))
	}
	d.Idle()
	if d.Held() != 0 {
		t.Errorf("nothing holds %d", d.Held())
	}
}

// TestEverySize has bodies around the sizes at which memory is chosen otherwise, two in a
// row, in pieces and as fast as Space takes them, with and without waits.
func TestEverySize(t *testing.T) {
	for _, size := range []int{16<<10 - 40, 32 << 10, 64<<10 - 120, 64<<10 - 50, 64<<10 - 49, 64<<10 - 48, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200 << 10, 256<<10 - 1} {
		for _, pad := range []int{0, 100, 20 << 10} {
			body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			sized := fmt.Sprintf("SEND\nid:1\ncontent-length:%d\npad:%s\n\n%s\x00\n", size, strings.Repeat("p", pad), body)
			open := fmt.Sprintf("SEND\nid:2\npad:%s\n\n%s\x00\n", strings.Repeat("p", pad), body)
			in := []byte(sized + open + sized + sized)
			for _, piece := range []int{1 << 30, 50000, 7000} {
				for _, idle := range []bool{false, true} {
					d := decoder(frame.V12, frame.Limits{})
					n := 0
					var f frame.Frame
					for rest := in; len(rest) > 0; {
						if idle {
							d.Idle()
						}
						k := copy(d.Space(), rest[:min(piece, len(rest))])
						d.Filled(k)
						rest = rest[k:]
						for d.Decode(&f) == nil {
							n++
							if !bytes.Equal(f.Body, body) || len(f.Header.Value("pad")) != pad {
								t.Fatalf("size %d, pad %d, piece %d, idle %v: frame %d differs", size, pad, piece, idle, n)
							}
							if f.Owned && cap(f.Body) < size+2 {
								t.Fatalf("size %d: owned, but cap %d", size, cap(f.Body))
							}
						}
					}
					if n != 4 || d.Buffered() != 0 {
						t.Fatalf("size %d, pad %d, piece %d, idle %v: %d frames, %d bytes left", size, pad, piece, idle, n, d.Buffered())
					}
				}
			}
		}
	}
}

// TestBodyWithoutEnd has a body without content-length grow to its limit: the memory for it
// grows no further.
func TestBodyWithoutEnd(t *testing.T) {
	for _, l := range []frame.Limits{{Body: 1 << 20}, {Frame: 1 << 20}} {
		d := decoder(frame.V12, l)
		d.Filled(copy(d.Space(), "SEND\ndestination:/queue/a\n\n"))
		var f frame.Frame
		var err error
		for sent := 0; err == nil || err == frame.ErrMore; sent += 1000 {
			if sent > 2<<20 {
				t.Fatal("no limit")
			}
			err = d.Decode(&f)
			d.Idle()
			if held := d.Held(); held > max(4*sent, 512) || held > 1<<20+100 {
				t.Fatalf("%d bytes hold %d", sent, held)
			}
			s := d.Space()
			d.Filled(min(1000, len(s)))
			for i := range s[:min(1000, len(s))] {
				s[i] = 'x'
			}
		}
		if _, ok := err.(*frame.LimitError); !ok {
			t.Errorf("got %v", err)
		}
	}
}

// TestTrickle has a client send a byte at a time, and the decoder wait in between: the
// memory that goes through its hands is a few times what came.
func TestTrickle(t *testing.T) {
	in := "SEND\ndestination:/queue/a\nlong:" + strings.Repeat("x", 20000) + "\n\n" + strings.Repeat("y", 50000) + "\x00\n"
	d := decoder(frame.V12, frame.Limits{})
	var f frame.Frame
	frames := 0
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range len(in) {
		d.Idle()
		d.Filled(copy(d.Space(), in[i:i+1]))
		if err := d.Decode(&f); err == nil {
			frames++
		} else if err != frame.ErrMore {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if frames != 1 {
		t.Errorf("%d frames", frames)
	}
	// The pool loses rooms to the collector, and under the race detector at random.
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 && !raceDetector {
		t.Errorf("%d bytes allocated for %d", n, len(in))
	}
}

// TestHalfOpen has many connections that stopped inside a frame, some behind a promise.
func TestHalfOpen(t *testing.T) {
	const many = 2000
	var before, after runtime.MemStats
	ds := make([]frame.Decoder, many)
	var f frame.Frame
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range ds {
		d := &ds[i]
		d.Init(frame.Limits{})
		d.Filled(copy(d.Space(), "SEND\ndestination:/queue/a\ncontent-length:50000000\n\nabc"[:25+i%30]))
		if err := d.Decode(&f); err != frame.ErrMore {
			t.Fatal(err)
		}
		d.Idle()
	}
	f = frame.Frame{}
	runtime.GC()
	runtime.GC() // the second frees what the pool held
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > many*600 {
		t.Errorf("each holds %d bytes", n/many)
	}
	runtime.KeepAlive(ds)
}

// TestHeldCountsRooms has a beginning of a frame that is so large that it keeps the room.
func TestHeldCountsRooms(t *testing.T) {
	d := decoder(frame.V12, frame.Limits{})
	d.Filled(copy(d.Space(), "SEND\n\n"+strings.Repeat("x", 40<<10)))
	var f frame.Frame
	if err := d.Decode(&f); err != frame.ErrMore {
		t.Fatal(err)
	}
	d.Idle()
	if d.Held() != 64<<10 {
		t.Errorf("holds %d", d.Held())
	}
}

func TestNoAllocation(t *testing.T) {
	in := strings.Repeat("SEND\ndestination:/queue/a\nreceipt:12\ncontent-length:5\n\nhello\x00\n", 10)
	d := decoder(frame.V12, frame.Limits{})
	var f frame.Frame
	if n := testing.AllocsPerRun(100, func() {
		d.Filled(copy(d.Space(), in))
		for d.Decode(&f) == nil {
		}
	}); n > 0 {
		t.Errorf("%v allocations for ten frames", n)
	}
}
