package dbm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A DamageError says what of the file is not what was written.
type DamageError struct {
	Problems []string // the first ones
	Count    int
}

const mostNamed = 20

func (e *DamageError) add(format string, args ...any) {
	if e.Count++; len(e.Problems) < mostNamed {
		e.Problems = append(e.Problems, fmt.Sprintf(format, args...))
	}
}

func (e *DamageError) Error() string {
	text := strings.Join(e.Problems, "; ")
	if e.Count > len(e.Problems) {
		text += fmt.Sprintf("; and %d more", e.Count-len(e.Problems))
	}
	return "the file is damaged: " + text + ". Restore it from a copy, or start with what is whole: on_damage: start"
}

// A survey is what a file holds, as far as it can be read.
type survey struct {
	damage  DamageError
	lost    bool // nothing can be read
	records map[string]*record
	held    map[uint64]uint64 // messages by the number of their queue
	floor   store.Seq
	mark    *logMark
	version string
}

// look reads all that f has but the messages themselves. With found these too, and it is given those
// that are whole.
func look(f io.ReaderAt, size int64, found func(id uint64, seq store.Seq, m *message.Message, attempts uint32)) *survey {
	s := &survey{records: make(map[string]*record), held: make(map[uint64]uint64)}
	p := &pages{f: f, size: size, problem: s.damage.add}
	ids := make(map[uint64]string)
	parts := make(map[string][]place) // of bodies, by the keys of their messages
	var large []largeOne
	common := newCommon(s, p, found != nil)
	damaged := func(key []byte, err error) {
		s.damage.add("message %d of queue number %d: %v", keySeq(key), binary.BigEndian.Uint64(key), err)
	}
	whole := func(key []byte, m *message.Message, attempts uint32) {
		id := binary.BigEndian.Uint64(key)
		s.held[id]++
		found(id, keySeq(key), m, attempts)
	}
	p.found = func(bucket string, key []byte, at place, near []byte) {
		if bucket == string(partsBucket) {
			if len(key) != partKey {
				s.damage.add("a part of a message has the key %.40x", key)
			} else if of := string(key[:16]); found != nil && int(binary.BigEndian.Uint32(key[16:])) == len(parts[of]) {
				parts[of] = append(parts[of], at) // if one is missing the body is too short
			}
			return
		}
		if bucket == string(messagesBucket) {
			switch id := binary.BigEndian.Uint64(append(bytes.Clone(key), make([]byte, 8)...)); {
			case len(key) != 16:
				s.damage.add("a message has the key %.40x", key)
			case id == 0:
				common.at[uint64(keySeq(key))] = at
			case at.size <= mostReference && common.reference(key, at, near):
			case found == nil:
				s.held[id]++
			default:
				v, err := p.read(at)
				if err == nil && liesInParts(v) {
					large = append(large, largeOne{bytes.Clone(key), v})
					return
				}
				var m *message.Message
				var attempts uint32
				if err == nil {
					m, attempts, err = parse(key, v, nil)
				}
				if err != nil {
					damaged(key, err)
					return
				}
				whole(key, m, attempts)
			}
			return
		}
		v, err := p.read(at)
		switch {
		case err != nil:
			s.damage.add("%s: %v", bucket, err)
		case bucket == string(holdersBucket):
			id, n, err := parseHolders(key, v)
			if err != nil {
				s.damage.add("message number %.40x of several queues: %v", key, err)
				return
			}
			common.holders[id] = n
		case bucket == string(queuesBucket):
			r, err := parseQueue(key, v)
			if err == nil && ids[r.id] != "" {
				err = fmt.Errorf("it has the number of %q", ids[r.id])
			}
			if err != nil {
				s.damage.add("queue %q: %v", key, err)
				return
			}
			s.records[string(key)], ids[r.id] = r, string(key)
		case string(key) == string(versionKey):
			s.version = string(v)
		case string(key) == string(floorKey):
			if s.floor, err = parseFloor(v); err != nil {
				s.damage.add("%v", err)
			}
		case string(key) == string(logKey):
			if s.mark, err = parseLogMark(v); err != nil {
				s.damage.add("%v", err)
			}
		default:
			s.damage.add("there is something with the name %.40q", key)
		}
	}
	if s.lost = !p.head(); s.lost {
		return s
	}
	p.walk()
	common.look(parts, damaged, whole)
	for _, l := range large {
		m, attempts, err := parse(l.key, l.value, &placedParts{p, parts[string(l.key)]})
		if err != nil {
			damaged(l.key, err)
			continue
		}
		whole(l.key, m, attempts)
	}
	if s.damage.Count == 0 && (s.version == "" || !known(s.version)) {
		return s // empty, or another program's: load says so
	}
	for name, r := range s.records {
		if n := s.held[r.id]; n != r.count {
			s.damage.add("%s has %d messages that can be read, and is to have %d", name, n, r.count)
		}
	}
	for id, n := range s.held {
		if ids[id] == "" {
			s.damage.add("%d messages are of queue number %d, which is not known", n, id)
		}
	}
	return s
}

// A largeOne is a message whose body lies in parts.
type largeOne struct{ key, value []byte }

// placedParts are the parts of a body, by where they lie.
type placedParts struct {
	p      *pages
	places []place
}

func (l *placedParts) length() (n int, err error) {
	for _, at := range l.places {
		n += int(at.size)
	}
	return n, nil
}

func (l *placedParts) shared(uint64) (k, v []byte) { return nil, nil }

func (l *placedParts) read(body []byte) error {
	for _, at := range l.places {
		b, err := l.p.read(at)
		if err != nil {
			return err
		}
		body = body[copy(body, b):]
	}
	return nil
}

// check looks at the file before bbolt does. It returns nil if there is none.
func check(cfg *Config) error {
	st, err := os.Stat(cfg.Path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if err := inUse(cfg.Path); err != nil {
		return err
	}
	f, err := os.Open(cfg.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err = f.Stat(); err != nil {
		return err
	}
	begin := time.Now()
	if !cfg.StartDamaged {
		s := look(f, st.Size(), nil)
		cfg.Log.Debug("pages looked at", "store", cfg.Path, "took", time.Since(begin))
		if s.damage.Count > 0 {
			return &s.damage
		}
		return nil
	}
	s := look(f, st.Size(), func(uint64, store.Seq, *message.Message, uint32) {})
	if s.damage.Count == 0 {
		return nil
	}
	return salvage(cfg, f, st.Size(), s)
}

// inUse is an error if another process has the file open.
func inUse(path string) (err error) {
	defer guard(&err)()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: patience, ReadOnly: true})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return errInUse
	}
	if err != nil {
		return nil // it is damaged, which is told better
	}
	return db.Close()
}
