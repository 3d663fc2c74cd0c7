package dbm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"stompserver/internal/message"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// salvage puts what is whole of a damaged file in its place, and keeps that beside it.
func salvage(cfg *Config, f *os.File, size int64, damaged *survey) error {
	if damaged.lost {
		return fmt.Errorf("the file is damaged: %s. Nothing in it can be read: restore it from a copy, or move it away to start without its messages", damaged.damage.Problems[0])
	}
	whole := cfg.Path + ".whole"
	if err := os.Remove(whole); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	kept, err := copyWhole(whole, f, size, damaged)
	if err != nil {
		_ = os.Remove(whole)
		return fmt.Errorf("the file is damaged, and what is whole could not be written: %w", err)
	}
	aside := cfg.Path + time.Now().UTC().Format(".damaged-20060102-150405.000")
	if err := os.Link(cfg.Path, aside); err != nil {
		return fmt.Errorf("the file is damaged, and could not be kept under another name: %w", err)
	}
	_ = f.Close() // Windows renames nothing over an open file
	if err := os.Rename(whole, cfg.Path); err != nil {
		return err
	}
	if err := syncDir(cfg.Path); err != nil {
		return err
	}
	missing := uint64(0)
	for _, r := range damaged.records {
		missing += r.count - min(r.count, damaged.held[r.id])
	}
	cfg.Log.Error("the file was damaged; what is whole was kept", "store", cfg.Path, "messages", kept, "missing", missing,
		"damaged", aside, "problems", damaged.damage.Problems)
	return nil
}

// copyWhole makes a file of all that is whole in another.
func copyWhole(path string, f io.ReaderAt, from int64, damaged *survey) (kept int, err error) {
	d, err := openFile(Config{Path: path, NoSync: true})
	if err != nil {
		return 0, err
	}
	names, taken := make(map[uint64]string), make(map[string]bool)
	for name, r := range damaged.records {
		names[r.id] = name
	}
	var rs, tries []store.Record
	size := 0
	flush := func() {
		if rs = append(rs, tries...); err == nil && len(rs) > 0 {
			err = d.Write(rs)
		}
		rs, tries, size = rs[:0], tries[:0], 0
	}
	// What several queues have comes together, and stays so.
	add := func(r store.Record) {
		if n := len(rs); n > 0 && rs[n-1].Msg == r.Msg {
			size += 100
		} else {
			if size > 8<<20 {
				flush()
			}
			size += r.Msg.Size() + 100
		}
		rs = append(rs, r)
	}
	look(f, from, func(id uint64, seq store.Seq, m *message.Message, attempts uint32) {
		name := names[id]
		if name == "" { // the record of its queue is damaged
			// It may be one of several that have m, which then says a topic.
			if name = m.Destination(); !strings.HasPrefix(name, "/queue") || damaged.records[name] != nil || taken[name] {
				name = fmt.Sprint("/queue/recovered/", id)
			}
			names[id], taken[name] = name, true
		}
		kept++
		add(store.Record{Kind: store.RecordPut, Queue: name, Seq: seq, Msg: m})
		if attempts > 0 {
			tries = append(tries, store.Record{Kind: store.RecordAttempts, Queue: name, Seq: seq, Attempts: attempts})
		}
	})
	flush()
	d.floor = max(d.floor, damaged.floor)
	for name, r := range damaged.records {
		q := d.queues[name]
		if q == nil {
			d.floor = max(d.floor, r.last) // so that no Seq is used twice
			continue
		}
		q.last, q.marked = max(q.last, r.last), max(q.marked, r.marked)
	}
	if err == nil {
		err = d.db.Update(func(tx *bbolt.Tx) error {
			queues := tx.Bucket(queuesBucket)
			for name, r := range d.queues {
				if err := queues.Put([]byte(name), r.append([]byte(name))); err != nil {
					return err
				}
			}
			mark := damaged.mark
			if mark == nil {
				mark = &logMark{unknown: true}
			}
			meta := tx.Bucket(metaBucket)
			return errors.Join(meta.Put(floorKey, appendFloor(d.floor)), meta.Put(logKey, mark.append()))
		})
	}
	return kept, errors.Join(err, d.Close())
}

// makeFile makes an empty file, all of it and durable, or none. Two processes that do so at a time: one
// has the other's, or an error.
func makeFile(path string) error {
	if st, err := os.Stat(path); err == nil && st.Size() > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // an open file has no other name there: bbolt makes it in its place
	}
	if err := vfs.MakeDir(filepath.Dir(path)); err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(fresh, 0o600, &bbolt.Options{Timeout: patience, NoFreelistSync: true})
	if err != nil {
		return err
	}
	defer db.Close() // it is locked until it has its name
	if st, err := os.Stat(path); err == nil && st.Size() > 0 {
		return os.Remove(fresh)
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncDir(path)
}

// syncDir makes durable the names beside path.
func syncDir(path string) error {
	fs, err := vfs.Dir(filepath.Dir(path))
	if err != nil {
		return err
	}
	return fs.SyncDir()
}
