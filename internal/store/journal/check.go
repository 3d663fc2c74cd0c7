package journal

import (
	"fmt"

	"stompserver/internal/store"
)

// A Report is what Check found.
type Report struct {
	Segments int
	Groups   int
	Queues   []store.Info
	Problems []string // damage
	Cut      []string // unfinished writes that a start will cut off, which is no damage
}

// Check reads all of a journal and verifies every checksum. It changes nothing; no process
// may have the journal open.
func Check(cfg Config) (*Report, error) {
	j := newJournal(cfg)
	lock, err := j.fs.Lock(lockName)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer lock.Close()
	r := &recovery{j: j, deep: true}
	err = r.run()
	defer func() {
		for _, s := range j.segments {
			_ = s.file.Close()
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	rep := &Report{Segments: len(j.segments), Groups: r.groups, Problems: r.problems, Cut: r.cut}
	rep.Queues, err = j.Queues()
	return rep, err
}
