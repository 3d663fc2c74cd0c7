package stompserver

import (
	"fmt"
	"path/filepath"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/file"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/spool"
	"stompserver/internal/vfs"
)

// A StorageError is returned by New when the store of Config.Queue cannot be opened.
type StorageError struct {
	Queue, Dir string
	Err        error
}

func (e *StorageError) Error() string {
	return fmt.Sprintf("cannot open the queues of type %s in %s: %v", e.Queue, e.Dir, e.Err)
}

func (e *StorageError) Unwrap() error { return e.Err }

// backends open the stores that keep messages on a disk, by Config.Queue.
var backends = map[string]func(Config) (store.Backend, error){
	"journal": func(c Config) (store.Backend, error) {
		fs, err := vfs.Dir(filepath.Join(c.Storage, "journal"))
		if err != nil {
			return nil, err
		}
		return journal.Open(journal.Config{FS: fs, NoSync: c.Checkpoint > 0, StartDamaged: c.OnDamage == StartDamaged, Log: c.Log})
	},
	"file": func(c Config) (store.Backend, error) {
		return file.Open(file.Config{Dir: c.Storage, NoSync: c.Checkpoint > 0, StartDamaged: c.OnDamage == StartDamaged, Log: c.Log})
	},
	"activerecord": func(c Config) (store.Backend, error) {
		at := activerecord.Database{Adapter: "sqlite3", Database: filepath.Join(c.Storage, "stompserver_development")}
		if c.DatabaseYML != "" {
			var err error
			if at, err = activerecord.ReadDatabaseYML(c.DatabaseYML, c.RailsEnv, c.Storage, c.Log); err != nil {
				return nil, err
			}
		}
		return activerecord.Open(activerecord.Config{Database: at, NoSync: c.Checkpoint > 0, StartDamaged: c.OnDamage == StartDamaged, Log: c.Log})
	},
	// dbm syncs each transaction, for bbolt's file is not whole after a power cut if it does not: so with
	// a checkpoint it has a log.
	"dbm": func(c Config) (store.Backend, error) {
		cfg := dbm.Config{Path: filepath.Join(c.Storage, "queues.db"), StartDamaged: c.OnDamage == StartDamaged, Log: c.Log}
		if c.Checkpoint > 0 {
			return dbm.OpenLogged(cfg)
		}
		return dbm.Open(cfg)
	},
}

// brief are those that never wait for anything but one write and one sync: no other server.
var brief = map[string]bool{"journal": true, "file": true, "dbm": true}

// Durable reports whether messages of that type of queue outlive the process.
func Durable(queue string) bool { return backends[queue] != nil }

// openStore opens the store of cfg. Failed is called when it fails for good.
func openStore(cfg Config, failed func(error)) (store.Store, error) {
	tellOthers(cfg)
	open := backends[cfg.Queue]
	if open == nil {
		return spool.New(), nil
	}
	bad := func(err error) error { return &StorageError{Queue: cfg.Queue, Dir: cfg.Storage, Err: err} }
	if err := vfs.MakeDir(cfg.Storage); err != nil {
		return nil, bad(err)
	}
	b, err := open(cfg)
	if err != nil {
		return nil, bad(err)
	}
	st, err := spool.Open(spool.Config{
		Backend: b, Memory: cfg.memoryLimit() / 2, Checkpoint: cfg.Checkpoint, Brief: brief[cfg.Queue],
		Damaged: cfg.OnDamage == StartDamaged, Failed: failed, Log: cfg.Log,
	})
	if err != nil {
		_ = b.Close()
		return nil, bad(err)
	}
	return st, nil
}
