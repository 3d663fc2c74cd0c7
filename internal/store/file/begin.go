package file

import (
	"errors"
	"fmt"
	"slices"
)

// begin has the log go on where it ended; or begin anew, with what is in it now, if it is of before
// there was a chain, is damaged, or says what is not so any more.
func (r *recovery) begin(trusted bool) error {
	f := r.f
	goesOn := trusted && len(r.before) == 0 && len(r.problems) == 0 && r.state.version >= 3
	if !goesOn || len(f.chain) == 0 {
		r.forgetEmpty()
	}
	f.turn.Lock()
	for _, d := range f.dead { // where the end of the log is missing
		f.number = max(f.number, d.group)
	}
	f.synced = f.number
	var err error
	old := len(f.chain)
	switch {
	case !goesOn:
		f.salt = newSalt()
		err = r.rewrite()
	case old == 0:
		err = f.roll(0, true)
	default:
		if f.redo, err = f.fs.Open(f.current().name, false); err == nil {
			err = f.redo.Sync() // a process that was killed may not have come to that
		}
	}
	f.turn.Unlock()
	if err == nil && !goesOn { // nothing will say any more that they are acked
		if err = f.removeDead(); err == nil {
			err = f.syncAll(nil)
		}
	}
	if err != nil {
		return f.begun(err)
	}
	if !goesOn || old == 0 || r.state.clean || r.state.version < 4 { // now it is not clean any more, and of this version
		first := f.chain[0]
		if !goesOn {
			first = f.chain[old]
		}
		if err := f.writeState(false, first.number, first.first); err != nil {
			return f.begun(err)
		}
	}
	if !goesOn {
		err = f.giveUp(old)
	}
	for _, name := range slices.Concat(r.before, r.useless) {
		if err == nil {
			if err = f.fs.Remove(name); isMissing(err) {
				err = nil
			}
		}
	}
	return f.begun(err)
}

func (f *File) begun(err error) error {
	if err == nil || f.failed() != nil {
		return err
	}
	return fmt.Errorf("file: %w", err)
}

// forgetEmpty drops queues without messages, so that names do not gather for ever. No log may be
// about them.
func (r *recovery) forgetEmpty() {
	for name, q := range r.f.queues {
		if q.count == 0 {
			r.f.floor = max(r.f.floor, q.last)
			delete(r.f.queues, name)
		}
	}
	clear(r.f.ids)
	for _, q := range r.f.queues {
		r.f.ids[q.id] = q
	}
}

// rewrite begins a new log, with the messages of the old one that have no file, in the order of that: so
// what lies there once is written once.
func (r *recovery) rewrite() error {
	f := r.f
	if err := f.roll(0, true); err != nil {
		return err
	}
	rd := f.reader()
	defer rd.done()
	var some []held
	size := int64(0)
	flush := func() error {
		defer func() { some, size = some[:0], 0 }()
		return f.keep(some)
	}
	all := f.byPlace(0, everywhere)
	for i := 0; i < len(all); {
		n := alongside(all[i:])
		m, err := rd.message(all[i].at, near(all[i:]))
		switch {
		case errors.Is(err, errDamaged) && f.cfg.StartDamaged:
			for _, h := range all[i : i+n] {
				f.log.Error("a damaged message is left out", "destination", h.q.name, "seq", uint64(h.seq), "err", err)
				h.q.remove(h.seq, h.seq, func(s slot) { f.lives(s, -1) })
			}
		case err != nil:
			return err
		default:
			for _, h := range all[i : i+n] {
				h.msg = m
				some = append(some, h)
			}
			size += int64(m.Size())
		}
		if i += n; size >= carryAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(some) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	return f.syncLog()
}
