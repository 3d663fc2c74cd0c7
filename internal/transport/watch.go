package transport

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long files that change are left alone: a certificate and its key are two of them,
// and an editor writes in steps.
const settle = 200 * time.Millisecond

// patience is how long at most, where there is never an end to what happens beside them.
const patience = time.Second

// WatchFiles calls changed when something happened to files, or beside them, until ctx ends, and
// once at first: it may have happened since they were read. It returns at once, with an error, if
// that cannot be seen.
func WatchFiles(ctx context.Context, files []string, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	for _, f := range files {
		// The directory: editors and orchestrators put another file in the place of the old.
		if err := w.Add(filepath.Dir(f)); err != nil {
			return err
		}
	}
	timer := time.NewTimer(0)
	var last time.Time // when they have been left alone long enough; zero: nothing happened
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return nil
			}
			// Also of what a link of ours leads by, such as ..data of Kubernetes.
			if e.Op != fsnotify.Chmod {
				now := time.Now()
				if last.IsZero() {
					last = now.Add(patience)
				}
				timer.Reset(min(settle, last.Sub(now)))
			}
		case err := <-w.Errors:
			return err
		case <-timer.C:
			last = time.Time{}
			changed()
		}
	}
}
