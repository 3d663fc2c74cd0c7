package frame_test

import (
	"fmt"
	"strings"
	"testing"

	"stompserver/internal/frame"
)

// wire is a SEND of 100 bytes as clients of each kind spell it.
var wire = []struct {
	name string
	v    frame.Version
	in   string
}{
	{"1.2", frame.V12, "SEND\ndestination:/queue/bench\ncontent-length:100\n\n"},
	{"1.2 CRLF", frame.V12, "SEND\r\ndestination:/queue/bench\r\ncontent-length:100\r\n\r\n"},
	{"1.2 escapes", frame.V12, "SEND\ndestination:/queue/bench\ncontent-length:100\nurl:http\\c//a\n\n"},
	{"1.1 eight headers", frame.V11, "SEND\ndestination:/queue/bench\ncontent-length:100\ncontent-type:text/plain\npersistent:true\npriority:4\nreceipt:77\nexpires:0\ncorrelation-id:8d7f1c\n\n"},
	{"1.0", frame.V10, "SEND\ndestination:/queue/bench\ncontent-length: 100\n\n"},
	{"1.0 to NUL", frame.V10, "SEND\ndestination:/queue/bench\n\n"},
}

// feed decodes frames that are there a read buffer at a time.
func feed(b *testing.B, v frame.Version, one string, each func(f *frame.Frame)) {
	in := strings.Repeat(one, 60<<10/len(one))
	d := decoder(v, frame.Limits{})
	var f frame.Frame
	b.SetBytes(int64(len(one)))
	b.ReportAllocs()
	left := 0
	for b.Loop() {
		if left == 0 {
			d.Filled(copy(d.Space(), in))
			left = 60 << 10 / len(one)
		}
		if err := d.Decode(&f); err != nil {
			b.Fatal(err)
		}
		left--
		each(&f)
	}
}

func BenchmarkDecodeSend(b *testing.B) {
	for _, w := range wire {
		b.Run(w.name, func(b *testing.B) {
			feed(b, w.v, w.in+strings.Repeat("x", 100)+"\x00\n", func(*frame.Frame) {})
		})
	}
}

func message() *frame.Frame {
	f := &frame.Frame{Command: frame.Message, Body: []byte(strings.Repeat("x", 100))}
	f.Header.Add("subscription", "0")
	f.Header.Add("message-id", "q1-90111")
	f.Header.Add("redelivered", "false")
	f.Header.Add("destination", "/queue/bench")
	f.Header.Add("content-length", "100")
	f.Header.Add("timestamp", "1795418394273")
	return f
}

func BenchmarkAppendMessage(b *testing.B) {
	f := message()
	out := frame.Append(nil, frame.V12, f)
	b.SetBytes(int64(len(out)))
	b.ReportAllocs()
	for b.Loop() {
		out = frame.Append(out[:0], frame.V12, f)
	}
}

// BenchmarkSendToMessage is the codec's part in a message's way: a SEND in, a MESSAGE out.
func BenchmarkSendToMessage(b *testing.B) {
	m := message()
	var out []byte
	feed(b, frame.V12, wire[0].in+strings.Repeat("x", 100)+"\x00\n", func(f *frame.Frame) {
		m.Header[3].Value, m.Body = f.Header[0].Value, f.Body
		if len(out) > 32<<10 {
			out = out[:0]
		}
		out = frame.Append(out, frame.V12, m)
	})
}

// BenchmarkLargeBody has the bytes come as from a socket, 256 KiB at most a read. Copying
// them in takes the place of the read and is part of the figure.
func BenchmarkLargeBody(b *testing.B) {
	for _, size := range []int{40 << 10, 100 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			in := fmt.Appendf(nil, "SEND\ndestination:/queue/a\ncontent-length:%d\n\n", size)
			in = append(append(in, make([]byte, size)...), 0, '\n')
			d := decoder(frame.V12, frame.Limits{})
			var f frame.Frame
			b.SetBytes(int64(size))
			b.ReportAllocs()
			rest := in
			for b.Loop() {
				for d.Decode(&f) != nil {
					s := d.Space()
					n := copy(s, rest[:min(len(rest), 256<<10)])
					d.Filled(n)
					if rest = rest[n:]; len(rest) == 0 {
						rest = in
					}
				}
			}
		})
	}
}
