package file

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"stompserver/internal/store"
)

// Orphans yields the messages whose files the index does not list, which a crash of the Ruby
// server leaves: in the order of their message-ids, without a Seq. Such a message may have
// been consumed. One that is damaged is an error, and the others follow.
func (f *File) Orphans() iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		slices.SortFunc(f.orphans, func(a, b path) int {
			return cmp.Or(cmp.Compare(nameTime(a.name), nameTime(b.name)), cmp.Compare(lastNumber(a.name), lastNumber(b.name)), cmp.Compare(a.name, b.name))
		})
		for _, p := range f.orphans {
			m, err := f.readMessage(p, "")
			dest := ""
			if err == nil {
				if dest = destination(m); dest == "" {
					dest = m.Destination()
				}
				m, err = f.readMessage(p, dest)
			}
			if err != nil {
				err = fmt.Errorf("%s/%s: %w", p.folder, p.name, err)
			}
			if !yield(store.Record{Kind: store.RecordPut, Queue: dest, Msg: m}, err) {
				return
			}
		}
	}
}
