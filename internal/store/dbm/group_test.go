package dbm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/group"
	"stompserver/internal/vfs"
)

// laidOut is a group as it is in a file.
func laidOut(rs []store.Record, g group.Head) []byte {
	var e encoder
	e.encode(rs)
	layout.Put(&e.out, g)
	var b []byte
	_ = e.out.Each(0, func(piece []byte) error {
		b = append(b, piece...)
		return nil
	})
	return append(b, make([]byte, layout.Aligned(int64(len(b)))-int64(len(b)))...)
}

// FuzzGroup makes records of bytes: what is laid out is read as it was. The bytes themselves are no records, or such.
func FuzzGroup(f *testing.F) {
	f.Add([]byte("abcdefgh"), uint32(3))
	f.Add(laidOut([]store.Record{{Kind: store.RecordAck, Queue: "q", Seq: 1, Last: 2}}, group.Head{Salt: 1, Number: 1}), uint32(0))
	f.Add(laidOut([]store.Record{{Kind: store.RecordPut, Queue: "q", Seq: 1, Msg: message.Text("q", "x", 1)}}, group.Head{Salt: 1, Number: 1})[group.HeadSize:], uint32(7))
	f.Fuzz(func(t *testing.T, data []byte, how uint32) {
		_, _ = parseRecords(data)
		var rs []store.Record
		queue := func(n byte) string { return fmt.Sprintf("/queue/%x", data[:min(len(data), int(n)%5)]) }
		for i, c := range data {
			seq := store.Seq(how) * store.Seq(i+1)
			r := store.Record{Kind: store.Kind(c % 4), Queue: queue(c / 4), Seq: seq}
			switch r.Kind {
			case store.RecordPut:
				size := int(c)
				if c > 250 {
					size += vfs.ShareFrom
				}
				r.Msg = message.Text(r.Queue, string(bytes.Repeat([]byte{c}, size)), int64(i))
				if n := len(rs); n > 0 && c&64 > 0 && rs[n-1].Kind == store.RecordPut {
					r.Msg = rs[n-1].Msg
				}
			case store.RecordAck:
				r.Last = seq + store.Seq(c)
			case store.RecordAttempts:
				r.Attempts = uint32(c)
			}
			if rs = append(rs, r); len(rs) == 100 {
				break
			}
		}
		b := laidOut(rs, group.Head{Salt: 1, Number: uint64(how), Synced: 3})
		g, ok := layout.Parse(b)
		if !ok || layout.Aligned(layout.End(0, &g)) != int64(len(b)) {
			t.Fatalf("the group is %+v, %v", g, ok)
		}
		got, err := parseRecords(b[layout.Records(0):layout.End(0, &g)])
		if err != nil || len(got) != len(rs) {
			t.Fatalf("%d records, %v, want %d", len(got), err, len(rs))
		}
		for i := range got {
			if (got[i].Msg == nil) != (rs[i].Msg == nil) || got[i].Msg != nil && !bytes.Equal(got[i].Msg.AppendRecord(nil), rs[i].Msg.AppendRecord(nil)) {
				t.Fatalf("record %d has another message", i)
			}
			if i > 0 && rs[i].Msg != nil && (rs[i].Msg == rs[i-1].Msg) != (got[i].Msg == got[i-1].Msg) {
				t.Errorf("record %d has a message of its own, or has none", i)
			}
			a, b := got[i], rs[i]
			if a.Msg, b.Msg = nil, nil; !reflect.DeepEqual(a, b) {
				t.Fatalf("record %d is %+v, want %+v", i, a, b)
			}
		}
	})
}

// FuzzScanLog puts groups and nonsense behind each other: those are found that are whole, at their places.
func FuzzScanLog(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5})
	f.Add([]byte{200, 1, 201, 2, 202})
	f.Fuzz(func(t *testing.T, how []byte) {
		var b []byte
		var want []uint64
		number := uint64(0)
		for i, c := range how[:min(len(how), 200)] {
			switch {
			case c < 128:
				number++
				piece := laidOut([]store.Record{{Kind: store.RecordMark, Queue: string(how[:i%7]), Seq: store.Seq(c)}}, group.Head{Salt: 9, Number: number})
				if c >= 100 {
					piece[group.HeadSize] ^= c
				} else {
					want = append(want, number)
				}
				b = append(b, piece...)
			case c < 200:
				b = append(b, make([]byte, 8*int(c-127))...)
			default:
				b = append(b, layout.Magic...)
				b = binary.LittleEndian.AppendUint32(b, uint32(c))
				b = append(b, how[i:min(len(how), i+8)]...)
				b = append(b, make([]byte, (8-len(b)%8)%8)...)
			}
		}
		found, _, problems := scanLog(b, 0, &logMark{salt: 9}, func(uint64, int64) {})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		var got []uint64
		for _, g := range found {
			got = append(got, g.Number)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("found %v, want %v", got, want)
		}
	})
}
