package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// A wanted message is one to be read.
type wanted struct {
	slot
	name  string // of its file
	tries uint32
}

// A messageID says which message.
type messageID struct {
	queue string
	seq   store.Seq
}

func (w *wanted) id(queue string) messageID { return messageID{queue, w.seq} }

// Read implements store.Backend.
func (f *File) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	f.files.RLock() // no file goes away meanwhile
	defer f.files.RUnlock()
	all, folder := f.wanted(queue, after, max+1)
	rd := f.reader()
	defer rd.done()
	for i := range all {
		if i >= max || size <= 0 {
			return dst, true, nil
		}
		w := &all[i]
		var m *message.Message
		if w.at != 0 {
			m, err = rd.message(w.at, together(all[i:]))
		} else {
			m, err = rd.small(path{folder, w.name}, queue, int64(w.size))
		}
		if err != nil {
			err = fmt.Errorf("file: message %d of %s: %w", w.seq, queue, err)
			if !f.cfg.StartDamaged || !errors.Is(err, errDamaged) {
				return dst, false, err
			}
			if _, told := f.leftOut.LoadOrStore(w.id(queue), true); !told {
				f.log.Error("a damaged message is left out", "err", err)
			}
			continue
		}
		dst = append(dst, store.Record{Kind: store.RecordPut, Queue: queue, Seq: w.seq, Attempts: w.tries, Msg: m})
		size -= int64(m.Size())
	}
	return dst, false, nil
}

// wanted lists at most n messages of a queue that follow after.
func (f *File) wanted(queue string, after store.Seq, n int) (all []wanted, folder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q := f.queues[queue]
	if q == nil {
		return nil, ""
	}
	for i := q.find(after + 1); i < len(q.slots) && len(all) < n; i++ {
		s := q.slots[i]
		if s.size == 0 {
			continue
		}
		w := wanted{slot: s, tries: q.tries[s.seq]}
		if s.at == 0 {
			w.name = f.nameOf(q, s.seq)
		}
		all = append(all, w)
	}
	return all, q.folder
}

// A placeReader reads messages that are in the log, wherever in it.
type placeReader struct {
	f     *File
	seg   *segment
	file  vfs.File
	whole []byte   // of a small file
	to    []target // of the record that was read last, on a walk
	logReader
}

var placeReaders = sync.Pool{New: func() any { return new(placeReader) }}

// reader returns one to read with; files is to be held for reading until it is done.
func (f *File) reader() *placeReader {
	rd := placeReaders.Get().(*placeReader)
	rd.f = f
	return rd
}

func (rd *placeReader) done() {
	rd.closeFile()
	rd.f, rd.seg = nil, nil
	rd.logReader.done()
	placeReaders.Put(rd)
}

func (rd *placeReader) closeFile() {
	if rd.file != nil {
		_ = rd.file.Close()
		rd.file = nil
	}
}

// message reads the one at a place. What lies behind that, so far, will be asked for next.
func (rd *placeReader) message(at place, ahead int64) (*message.Message, error) {
	if rd.seg == nil || rd.seg.number != at.segment() {
		if err := rd.turnTo(at.segment()); err != nil {
			return nil, err
		}
	}
	rd.ahead = ahead
	r, err := rd.record(at.offset(), rd.end)
	if err == nil && !r.isMessage() {
		err = errRecord
	}
	var m *message.Message
	if err == nil {
		m, err = rd.logReader.message(at.offset(), &r)
	}
	switch {
	case err == errRecord:
		err = fmt.Errorf("%w: %w", errDamaged, err)
		fallthrough
	case err != nil:
		return nil, fmt.Errorf("%s at %d: %w", rd.seg.name, at.offset(), err)
	}
	return m, nil
}

// turnTo opens a segment.
func (rd *placeReader) turnTo(number uint64) error {
	rd.closeFile()
	rd.f.mu.Lock()
	rd.seg = rd.f.segment(number)
	end := rd.seg.pos
	rd.f.mu.Unlock()
	file, err := rd.f.fs.Open(rd.seg.name, false)
	if err != nil {
		rd.seg = nil
		if isMissing(err) {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		return err
	}
	rd.file = file
	rd.open(file, end)
	return nil
}

// together is how much of a segment is worth being read with the first of all: up to the end of the
// last one that lies near, if it is not large.
func together(all []wanted) int64 {
	const most = readAhead
	first := all[0].at
	n := int64(all[0].size)
	for i := 1; i < len(all) && all[i].at.segment() == first.segment(); i++ {
		behind := int64(all[i].at) - int64(first)
		if all[i].at < first || behind > n+most/4 || behind+int64(all[i].size) > most {
			break
		}
		n = behind + int64(all[i].size)
	}
	return min(n, most)
}

// readMessage reads the file of a message of queue. A file that is not there is damage.
func (f *File) readMessage(p path, queue string) (*message.Message, error) {
	file, err := f.fs.Folder(p.folder).Open(p.name, false)
	if isMissing(err) {
		return nil, fmt.Errorf("%s/%s: %w: its file is missing", p.folder, p.name, errDamaged)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s, err := sourceOf(file)
	if err != nil {
		return nil, err
	}
	m, err := parseFile(s, queue, p.name)
	if err == errShort {
		if s.first, err = readAll(file); err == nil {
			s.size = int64(len(s.first))
			m, err = parseFile(s, queue, p.name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", p.folder, p.name, err)
	}
	return m, nil
}

// smallFile is how long a file may be that is read with one call. Its size is not known before, but that of its
// message is.
const smallFile = 16 << 10

// small reads the file of a message that has so many bytes.
func (rd *placeReader) small(p path, queue string, size int64) (*message.Message, error) {
	if size > smallFile/2 {
		return rd.f.readMessage(p, queue)
	}
	if rd.whole == nil {
		rd.whole = make([]byte, smallFile)
	}
	n, err := rd.f.fs.Folder(p.folder).First(p.name, rd.whole)
	if err == nil && n < len(rd.whole) {
		m, err := parseFile(source{first: rd.whole[:n], size: int64(n)}, queue, p.name)
		if err == nil {
			return m, nil
		}
	}
	return rd.f.readMessage(p, queue) // it is larger, or this tells for sure what is wrong
}

// firstBytes is how much of a file is read before it is known how long its parts are.
const firstBytes = 2 * vfs.ShareFrom

// sourceOf reads the beginning of a file.
func sourceOf(file vfs.File) (s source, err error) {
	if s.size, err = file.Size(); err != nil {
		return s, err
	}
	s.first, s.rest = make([]byte, min(s.size, firstBytes)), file
	n, err := file.ReadAt(s.first, 0)
	if err == io.EOF {
		err = nil
	}
	s.first = s.first[:n]
	return s, err
}
