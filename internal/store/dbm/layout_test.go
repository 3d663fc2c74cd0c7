package dbm_test

import (
	"encoding/binary"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// TestLayout has the bytes of the log.
func TestLayout(t *testing.T) {
	fs := &vfs.Memory{}
	cfg := inDir(t.TempDir())
	cfg.LogFS = fs
	l, err := dbm.OpenLogged(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, rs := range [][]store.Record{
		{{Kind: store.RecordPut, Queue: "/q", Seq: 7, Msg: message.Text("/q", "hello", 1)}, {Kind: store.RecordMark, Queue: "/q", Seq: 7}},
		{{Kind: store.RecordAck, Queue: "/q", Seq: 7, Last: 7}},
	} {
		if err := l.Write(rs); err != nil {
			t.Fatal(err)
		}
	}
	names, err := fs.List()
	if err != nil || len(names) < 1 {
		t.Fatal(names, err)
	}
	file, err := fs.Open(names[0], false)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1<<10)
	if _, err := file.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	storetest.Layout(t, b, binary.LittleEndian.Uint64(b[8:]), 8,
		`626c6f67 SUM SALT 0100000000000000 0000000000000000 4d00000000000000
			01 022f71  02 01 00 07 3a00000000000000 01000002 02 2f71 2d 64657374696e6174696f6e3a2f710a636f6e74656e742d6c656e6774683a350a74696d657374616d703a310a0a 68656c6c6f  04 00 07`,
		`626c6f67 SUM SALT 0200000000000000 0000000000000000 0800000000000000
			01 022f71  03 00 07 00`,
	)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
