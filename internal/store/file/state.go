package file

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// The state is what the Ruby server's files have no place for. It is written whole, beside
// the old one, and renamed. Behind its first line, whose number is the version of the form,
// it has a CRC-32C of the rest, and that. The first version knew one log, the second two that
// took turns, the third had in its log each message for each queue by itself.
const (
	stateMagic = "stompserver state 4\n"
	stateThree = "stompserver state 3\n"
	stateTwo   = "stompserver state 2\n"
	stateOne   = "stompserver state 1\n"
)

// A digest tells one qinfo from another; that of none is zero.
type digest [16]byte

func digestOf(b []byte) (d digest) {
	if b != nil {
		sum := sha256.Sum256(b)
		copy(d[:], sum[:])
	}
	return d
}

type state struct {
	salt    uint64   // of the groups in the log that follow
	clean   bool     // the server was stopped as it should be
	prefix  string   // of the names of messages
	nextID  uint64   // for a queue
	floor   uint64   // no queue that is forgotten had a Seq above it
	digests []digest // of qinfo as we wrote it, or were about to: another is by another
	queues  []*queue

	segment uint64 // with which the log begins
	first   uint64 // the number of the first group in that
	group   uint64 // and of the last of which all but where messages are is in here

	version int
	log     int // of the second version: which of the two
}

func newSalt() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

func (s *state) append(dst []byte) []byte {
	dst = append(dst, stateMagic...)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, s.salt)
	flags := byte(0)
	if s.clean {
		flags = 1
	}
	dst = appendString(append(dst, flags), s.prefix)
	for _, n := range []uint64{s.segment, s.first, s.group} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, s.nextID), s.floor)
	dst = binary.AppendUvarint(dst, uint64(len(s.digests)))
	for i := range s.digests {
		dst = append(dst, s.digests[i][:]...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.queues)))
	for _, q := range s.queues {
		dst = q.append(dst)
	}
	putSum(dst[at:])
	return dst
}

// putSum fills in the checksum that b begins with.
func putSum(b []byte) { binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli)) }

func (q *queue) append(dst []byte) []byte {
	dst = appendString(appendString(dst, q.name), q.folder)
	for _, n := range []uint64{q.id, uint64(q.last), uint64(q.marked)} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, n := range []int64{q.filed, q.enqueued, q.dequeued, q.exceptions} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = binary.AppendUvarint(dst, uint64(len(q.foreign)))
	for _, seq := range slices.Sorted(maps.Keys(q.foreign)) {
		dst = appendString(binary.AppendUvarint(dst, uint64(seq)), q.foreign[seq])
	}
	dst = binary.AppendUvarint(dst, uint64(len(q.tries)))
	for _, seq := range slices.Sorted(maps.Keys(q.tries)) {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(seq)), uint64(q.tries[seq]))
	}
	return dst
}

var errState = errors.New("it is damaged")

// A versionError is about a form that a later version writes.
type versionError struct{ line string }

func (e *versionError) Error() string { return fmt.Sprintf("its form, %q, is not known", e.line) }

func parseState(b []byte) (*state, error) {
	version := 1 + slices.IndexFunc([]string{stateOne, stateTwo, stateThree, stateMagic}, func(magic string) bool { return bytes.HasPrefix(b, []byte(magic)) })
	if version == 0 {
		if line, _, found := strings.Cut(string(b[:min(len(b), 40)]), "\n"); found && strings.HasPrefix(line, "stompserver state ") {
			return nil, &versionError{line}
		}
		return nil, errState
	}
	b = b[len(stateMagic):]
	if len(b) < 13 || crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) {
		return nil, errState
	}
	s := &state{version: version, salt: binary.LittleEndian.Uint64(b[4:]), clean: b[12]&1 != 0}
	d := decoder{b: b[13:]}
	s.prefix = d.string()
	switch version {
	case 2:
		s.log, s.group = int(d.uint()&1), d.uint() // and how many groups that began with
	case 3, 4:
		s.segment, s.first, s.group = d.uint(), d.uint(), d.uint()
	}
	s.nextID, s.floor = d.uint(), d.uint()
	for range d.count() {
		var one digest
		copy(one[:], d.take(uint64(len(one))))
		s.digests = append(s.digests, one)
	}
	for range d.count() {
		name, folder := d.string(), d.string()
		d.bad = d.bad || !isFolder(folder)
		q := newQueue(name, folder, d.uint())
		q.last, q.marked = d.seq(), d.seq()
		q.filed, q.enqueued, q.dequeued, q.exceptions = d.int(), d.int(), d.int(), d.int()
		for range d.count() {
			seq := d.seq()
			q.foreign[seq] = d.string()
		}
		for range d.count() {
			seq := d.seq()
			q.tries[seq] = uint32(d.uint())
		}
		s.queues = append(s.queues, q)
	}
	if d.bad {
		return nil, errState
	}
	return s, nil
}
