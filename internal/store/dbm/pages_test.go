package dbm

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// withShared is a file with messages that several queues have.
func withShared(t testing.TB) []byte {
	path := filepath.Join(t.TempDir(), "queues.db")
	d, err := Open(Config{Path: path, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for seq := store.Seq(1); seq <= 30; seq++ {
		m := message.Text("/topic/t", "message", int64(seq))
		var rs []store.Record
		for _, name := range []string{"a", "b", "c"} {
			rs = append(rs, store.Record{Kind: store.RecordPut, Queue: name, Seq: seq, Msg: m})
		}
		if err := d.Write(append(rs, store.Record{Kind: store.RecordAck, Queue: "b", Seq: seq - 3, Last: seq - 3})); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data[:min(len(data), len(bytes.TrimRight(data, "\x00"))&^4095+8<<12)]
}

// FuzzPages changes bytes of a file: what look calls whole, bbolt reads to its end.
func FuzzPages(f *testing.F) {
	base, err := os.ReadFile("testdata/version1.db")
	if err != nil {
		f.Fatal(err)
	}
	bases := [][]byte{base, withShared(f)}
	f.Add([]byte{})
	f.Add([]byte{0, 16, 0, 1, 0, 48, 10, 255})
	f.Add([]byte{0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, edits []byte) {
		data := bytes.Clone(bases[len(edits)%2])
		for ; len(edits) >= 4; edits = edits[4:] {
			data[int(binary.LittleEndian.Uint32(edits)&0xffffff)%len(data)] ^= edits[3]
		}
		s := look(bytes.NewReader(data), int64(len(data)), nil)
		_ = look(bytes.NewReader(data), int64(len(data)), func(uint64, store.Seq, *message.Message, uint32) {})
		if s.damage.Count > 0 {
			return
		}
		path := filepath.Join(t.TempDir(), "queues.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := Open(Config{Path: path, NoSync: true})
		if err != nil {
			if s.version != "1" && s.version != version {
				return // it says so
			}
			t.Fatalf("what was called whole: %v", err)
		}
		defer d.Close()
		infos, err := d.Queues()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			if rs, _, err := d.Read(nil, i.Name, 0, 1<<20, 1<<40); err == nil && len(rs) != i.Count {
				t.Errorf("%q has %d messages, told are %d", i.Name, len(rs), i.Count)
			}
		}
	})
}
