package activerecord

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzLog: no input is a panic, and what is of no transaction, or one, is no damage.
func FuzzLog(f *testing.F) {
	f.Add([]byte{}, uint32(0), byte(0))
	f.Add(bytes.Repeat([]byte{0x37, 0x7f, 0x06, 0x82}, 400), uint32(3), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, at uint32, xor byte) {
		_, _ = logProblem(bytes.NewReader(data), int64(len(data)))
		// One that is whole, of as many transactions as data has bytes.
		log := madeLog(data[:min(len(data), 20)])
		if problem, err := logProblem(bytes.NewReader(log), int64(len(log))); problem != "" || err != nil {
			t.Fatalf("a log that is whole: %s, %v", problem, err)
		}
		if xor == 0 || len(log) <= logHead {
			return
		}
		i := int(at) % len(log)
		log[i] ^= xor
		problem, err := logProblem(bytes.NewReader(log), int64(len(log)))
		if err != nil {
			t.Fatal(err)
		}
		// A frame with another salt may be left of the log before: it ends there without a word, if it is the last
		// but one or the last. So does one whose size says that it ends no transaction.
		frames := (len(log) - logHead) / (frameHead + 512)
		if broken := (i - logHead) / (frameHead + 512); (i < logHead || broken < frames-2) && problem == "" {
			t.Errorf("byte %d of a log of %d frames was changed, and nothing is said", i, frames)
		}
	})
}

// madeLog is a log with a transaction of one frame for each of data.
func madeLog(data []byte) []byte {
	log := []byte{0x37, 0x7f, 0x06, 0x82, 0, 0x2d, 0xe2, 0x18, 0, 0, 2, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}
	sum := logSum{order: binary.LittleEndian}
	sum.add(log)
	log = appendSum(log, &sum)
	for i, b := range data {
		frame := []byte{0, 0, 0, byte(i + 1), 0, 0, 0, byte(i + 1)}
		page := bytes.Repeat([]byte{b}, 512)
		sum.add(frame)
		sum.add(page)
		frame = append(frame, log[16:24]...)
		log = append(append(log, appendSum(frame, &sum)...), page...)
	}
	return log
}

func appendSum(b []byte, s *logSum) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, s.s0), s.s1)
}
