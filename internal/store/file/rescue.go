package file

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// A walk finds messages by the groups and the records before them. What these hide, because they are damaged,
// is found by its place, which the index has.

// byPlace lists the messages that are in the log alone, from a place on and before another, in the order of
// the log.
func (f *File) byPlace(from, to place) (all []held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.queues {
		for i := range q.slots {
			if s := &q.slots[i]; s.size > 0 && s.at != 0 && s.at >= from && s.at < to {
				all = append(all, f.hold(q, s))
			}
		}
	}
	slices.SortFunc(all, func(a, b held) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.q.id, b.q.id), cmp.Compare(a.seq, b.seq))
	})
	return all
}

// near is how much of the log is worth being read with the first of all.
func near(all []held) int64 {
	if n := alongside(all); n < len(all) && int64(all[n].at-all[0].at) < readAhead/4 {
		return readAhead
	}
	return 0
}

// readPlaces reads the first of all, as far as that is no more than size bytes; n tells how many these are.
// Of one that is damaged its bytes are read if damaged is set. Lost are those of which there is no telling
// where they begin and end. Called with work held.
func (f *File) readPlaces(all []held, size int64, damaged bool) (read, lost []held, n int, err error) {
	var rd placeReader
	rd.f = f
	defer rd.closeFile()
	for n < len(all) && size > 0 {
		some := all[n : n+alongside(all[n:])]
		if at := some[0].at; rd.seg == nil || rd.seg.number != at.segment() {
			err = rd.turnTo(at.segment())
		}
		var r record
		if err == nil {
			rd.ahead = near(all[n:])
			r, err = rd.record(some[0].at.offset(), rd.end)
		}
		if err == nil && !r.isMessage() {
			err = errRecord
		}
		if err == nil {
			err = f.readHeld(some, &rd, &r, damaged)
		}
		switch {
		case err == nil:
			read = append(read, some...)
			size -= some[0].size()
		case err == errRecord || errors.Is(err, errDamaged):
			lost, err = append(lost, some...), nil
		default:
			return nil, nil, 0, fmt.Errorf("%s at %d: %w", segmentName(some[0].at.segment()), some[0].at.offset(), err)
		}
		n += len(some)
	}
	return read, lost, n, nil
}

// rescue carries over what the walk did not find in the segment that the log begins with, and reports whether
// that changed anything. What cannot be read is left out if that is wanted; if not the segment stays, and all
// behind it. Called with work held.
func (f *File) rescue() (some bool, err error) {
	f.mu.Lock()
	first := f.chain[0]
	stays := first.live == 0 || first == f.current() || first.number == f.rescued
	f.mu.Unlock()
	if stays {
		return false, nil
	}
	all, stuck := f.byPlace(placeOf(first.number, 0), placeOf(first.number+1, 0)), 0
	for len(all) > 0 {
		read, lost, n, err := f.readPlaces(all, carryAtOnce, true)
		if err != nil {
			return false, f.full(fmt.Errorf("file: %w", err))
		}
		all = all[n:]
		if !f.cfg.StartDamaged {
			stuck += len(lost)
			lost = nil
		}
		if err := f.carryThese(read, lost); err != nil {
			return false, err
		}
		some = some || len(read)+len(lost) > 0
	}
	if stuck > 0 {
		f.rescued = first.number
		f.log.Error("the log grows, for messages that it begins with cannot be read: a start with on_damage: start leaves them out",
			"file", first.name, "messages", stuck)
	}
	return some, nil
}

// carryThese writes messages to the end of the log, and that others are gone.
func (f *File) carryThese(all, lost []held) error {
	f.turn.Lock()
	defer f.turn.Unlock()
	if err := f.failed(); err != nil {
		return err
	}
	if all = f.still(all); len(all) > 0 {
		if err := f.keep(all); err != nil {
			return err
		}
	}
	if lost = f.still(lost); len(lost) == 0 {
		return nil
	}
	err := f.append(false, func() {
		for _, h := range lost {
			f.name(h.q)
			addNumbers(&f.out, kindAck, h.q.id, uint64(h.seq), uint64(h.seq), 1)
		}
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range lost {
		h.q.dequeued += f.ack(h.q, h.seq, h.seq, f.number)
		if _, told := f.leftOut.LoadOrStore(messageID{h.q.name, h.seq}, true); !told {
			f.log.Error("a damaged message is left out", "destination", h.q.name, "seq", uint64(h.seq))
		}
	}
	return nil
}

// fileRest gives files to all that can be read of what the walk did not find. Called with work held.
func (f *File) fileRest() (made int, err error) {
	all := f.byPlace(0, everywhere)
	for len(all) > 0 {
		read, lost, n, err := f.readPlaces(all[:min(len(all), filesAtOnce+mostTargets)], bytesAtOnce, false)
		if err != nil {
			return made, f.full(fmt.Errorf("file: %w", err))
		}
		for _, h := range lost {
			f.log.Error("a damaged message stays in the log", "destination", h.q.name, "seq", uint64(h.seq))
		}
		all = all[n:]
		if len(read) == 0 {
			continue
		}
		n, err = f.fileThese(read)
		if made += n; err != nil {
			return made, err
		}
	}
	return made, nil
}
