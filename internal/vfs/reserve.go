package vfs

// A Reserve is room on a disk that is kept by a file, for what has to go on when the disk is full. It is
// for one goroutine at a time.
type Reserve struct {
	FS   FS
	Name string
	Size int64

	held bool
}

// Keep takes the room, if it is not held already. An error that IsFull says that there is none.
func (r *Reserve) Keep() error {
	if r.held {
		return nil
	}
	f, err := r.FS.Open(r.Name, true)
	if err == nil {
		err = f.Allocate(r.Size)
		if e := f.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		_ = r.FS.Remove(r.Name)
		return err
	}
	r.held = true
	return nil
}

// Give makes the room free, and reports whether it was held.
func (r *Reserve) Give() bool {
	was := r.held
	r.held = false
	return was && r.FS.Remove(r.Name) == nil
}
