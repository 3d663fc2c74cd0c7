package journal

import (
	"math/rand/v2"
	"testing"

	"stompserver/internal/store"
)

// TestIndex plays random puts, copies and removals on an index and on a map.
func TestIndex(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		q := &queue{}
		segs := []*segment{{needs: map[*segment]bool{}}}
		want := map[store.Seq]*segment{}
		last := store.Seq(0)
		for step := range 60 {
			cur := segs[len(segs)-1]
			switch r.IntN(5) {
			case 0, 1:
				for range 1 + r.IntN(8) {
					last += 1 + store.Seq(r.IntN(2))
					q.put(cur, last, 1)
					want[last] = cur
				}
			case 2: // copy what lies in an old one, in any order
				old := segs[r.IntN(len(segs))]
				if old == cur {
					continue
				}
				for seq, seg := range want {
					if seg == old && r.IntN(3) > 0 {
						q.put(cur, seq, 1)
						want[seq] = cur
					}
				}
			case 3:
				first := store.Seq(r.IntN(int(last) + 1))
				end := first + store.Seq(r.IntN(6))
				q.remove(first, end, cur)
				for seq := first; seq <= end; seq++ {
					delete(want, seq)
				}
			case 4:
				if r.IntN(3) == 0 {
					segs = append(segs, &segment{needs: map[*segment]bool{}})
				}
			}
			got := q.after(nil, 0, 1<<20)
			if len(got) != len(want) || q.count != len(want) {
				t.Fatalf("seed %d, step %d: %d messages and a count of %d, want %d", seed, step, len(got), q.count, len(want))
			}
			live := map[*segment]int{}
			for i, p := range got {
				if want[p.seq] != p.seg || i > 0 && p.seq <= got[i-1].seq {
					t.Fatalf("seed %d, step %d: message %d is wrong, or not in order", seed, step, p.seq)
				}
				live[p.seg]++
			}
			for _, s := range segs {
				if s.live != live[s] {
					t.Fatalf("seed %d, step %d: a segment says %d are live, %d are", seed, step, s.live, live[s])
				}
			}
		}
	}
}
