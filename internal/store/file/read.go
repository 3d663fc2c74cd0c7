package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Read implements store.Backend.
func (f *File) Read(dst []store.Record, queue string, after store.Seq, max int, size int64) (rs []store.Record, more bool, err error) {
	f.files.RLock() // no file goes away meanwhile
	defer f.files.RUnlock()
	type place struct {
		seq   store.Seq
		msg   *message.Message
		name  string
		tries uint32
	}
	var places []place
	folder := ""
	f.mu.Lock()
	if q := f.queues[queue]; q != nil {
		folder = q.folder
		for i := q.find(after + 1); i < len(q.slots) && len(places) <= max; i++ {
			s := q.slots[i]
			if s.size == 0 {
				continue
			}
			p := place{seq: s.seq, tries: q.tries[s.seq]}
			if pending := q.pending[s.seq]; pending != nil {
				p.msg = pending.msg
			} else {
				p.name = f.nameOf(q, s.seq)
			}
			places = append(places, p)
		}
	}
	f.mu.Unlock()
	for i, p := range places {
		if i >= max || size <= 0 {
			return dst, true, nil
		}
		m := p.msg
		if m == nil {
			if m, err = f.readMessage(path{folder, p.name}, queue); err != nil {
				err = fmt.Errorf("file: message %d of %s: %w", p.seq, queue, err)
				if !f.cfg.StartDamaged || !errors.Is(err, errDamaged) {
					return dst, false, err
				}
				f.log.Error("a damaged message is left out", "err", err)
				continue
			}
		}
		dst = append(dst, store.Record{Kind: store.RecordPut, Queue: queue, Seq: p.seq, Attempts: p.tries, Msg: m})
		size -= int64(m.Size())
	}
	return dst, false, nil
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
