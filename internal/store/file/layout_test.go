package file_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/store/storetest"
	"stompserver/internal/vfs"
)

// TestLayout has the bytes of the log.
func TestLayout(t *testing.T) {
	disk := &vfs.Memory{}
	f := openWith(t, onMemory(disk))
	for _, rs := range [][]store.Record{
		{{Kind: store.RecordPut, Queue: "/q", Seq: 7, Msg: message.Text("/q", "hello", 1)}, {Kind: store.RecordMark, Queue: "/q", Seq: 7}},
		{{Kind: store.RecordAck, Queue: "/q", Seq: 7, Last: 7}},
	} {
		if err := f.Write(rs); err != nil {
			t.Fatal(err)
		}
	}
	b := contentOf(t, disk, "stompserver.redo-000000000001")
	prefix := b[42:][:b[41]] // of the names of files
	storetest.Layout(t, b, binary.LittleEndian.Uint64(b[8:]), 64,
		fmt.Sprintf(`726c6f67 SUM SALT 0100000000000000 0000000000000000 %02x000000 00000000
			0a %02x %x  01 01 022f71 025f71  07 01 07 3a000000 3040cd5c 01000002 02 2f71 2d 64657374696e6174696f6e3a2f710a636f6e74656e742d6c656e6774683a350a74696d657374616d703a310a0a 68656c6c6f  04 01 07`, 82+len(prefix), len(prefix), prefix),
		`726c6f67 SUM SALT 0200000000000000 0100000000000000 05000000 LINK
			0b 01 07 07 01`,
	)
}
