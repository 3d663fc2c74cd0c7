package journal_test

import (
	"encoding/binary"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// TestLayout has the bytes that docs/journal.md describes.
func TestLayout(t *testing.T) {
	fs := &vfs.Memory{}
	j := open(t, journal.Config{FS: fs, SegmentSize: smallSegment})
	for _, rs := range [][]store.Record{
		{{Kind: store.RecordPut, Queue: "/q", Seq: 7, Msg: message.Text("/q", "hello", 1)}, {Kind: store.RecordMark, Queue: "/q", Seq: 7}},
		{{Kind: store.RecordAck, Queue: "/q", Seq: 7, Last: 7}},
	} {
		if err := j.Write(rs); err != nil {
			t.Fatal(err)
		}
	}
	f, err := fs.Open("000000000001.journal", false)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, smallSegment)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	const head = 64 + 8 // with a snapshot that tells of nothing
	storetest.Layout(t, b[head:], binary.LittleEndian.Uint64(b[32:]), 8,
		`47524f50 SUM 4f000000 00000000 SALT 0100000000000000 0000000000000000
			01 00 022f71  02 00 07 00 ba80808000 3040cd5c 01000002 02 2f71 2d 64657374696e6174696f6e3a2f710a636f6e74656e742d6c656e6774683a350a74696d657374616d703a310a0a 68656c6c6f  04 00 07`,
		`47524f50 SUM 04000000 00000000 SALT 0200000000000000 0100000000000000
			03 00 07 00`,
	)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}
