package storetest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"
	"testing"
)

// Layout checks byte by byte what a log begins with: groups, each at a multiple of align. They are in hexadecimal
// digits and spaces; SALT is the salt of the log, SUM the checksum of what stands behind it, and LINK that of
// the group before.
func Layout(t testing.TB, log []byte, salt uint64, align int, groups ...string) {
	t.Helper()
	link := make([]byte, 4)
	for i, text := range groups {
		sum := make([]byte, 4)
		fill := func() []byte {
			names := strings.NewReplacer(" ", "", "\n", "", "\t", "", "SUM", hex.EncodeToString(sum), "LINK", hex.EncodeToString(link),
				"SALT", hex.EncodeToString(binary.LittleEndian.AppendUint64(nil, salt)))
			b, err := hex.DecodeString(names.Replace(text))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		binary.LittleEndian.PutUint32(sum, crc32.Checksum(fill()[8:], crc32.MakeTable(crc32.Castagnoli)))
		want := fill()
		if got := log[:min(len(log), len(want))]; !bytes.Equal(got, want) {
			t.Fatalf("group %d is\n% x\nwant\n% x", i+1, got, want)
		}
		log = log[min(len(log), (len(want)+align-1)/align*align):]
		link = sum
	}
}
