package websocket

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// TestPile: what is added is read, whatever the pieces, and lets go of its memory.
func TestPile(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var p pile
		var in, out []byte
		b := make([]byte, 3<<20)
		for range 40 {
			piece := b[:r.IntN(1+r.IntN(1<<r.IntN(20)))]
			for i := range piece {
				piece[i] = byte(r.Uint32())
			}
			p.add(piece)
			in = append(in, piece...)
			if r.IntN(3) == 0 {
				n, _ := p.Read(b[:r.IntN(1<<16)])
				out = append(out, b[:n]...)
			}
			if p.size != len(in)-len(out) || p.room > 3*p.size+2*mostPart {
				t.Fatalf("seed %d: %d bytes in room of %d, want %d", seed, p.size, p.room, len(in)-len(out))
			}
		}
		rest, err := io.ReadAll(&p)
		if err != nil || !bytes.Equal(append(out, rest...), in) || p.room != 0 {
			t.Fatalf("seed %d: %d of %d bytes, %d kept, %v", seed, len(out)+len(rest), len(in), p.room, err)
		}
	}
}
