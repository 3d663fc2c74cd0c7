// Package activerecord keeps queues in the table of the Ruby server, ar_messages, in SQLite,
// PostgreSQL or MySQL. A row is a message: frame is the YAML that a Rails model with
// "serialize :frame" reads, stomp_id the message-id in the form of the Ruby server.
//
// Six columns are added, which may be NULL, so that the Ruby server can still write: queue
// and seq order the messages; size is what one takes in memory, by which pages are cut;
// attempts is how often one was handed out; stored is its stored form (message.AppendRecord),
// for the few that YAML cannot tell whole, such as those with a header twice; checksum is a
// CRC-32C of all of these but attempts. A row without a checksum is taken over at the start,
// in the order of the ids, and gets a place if it has none. One whose checksum does not fit is
// damaged: it is not handed out, and stays where it is whatever is removed around it.
//
// A message that several queues have, and one that is large, is a row of no queue, whose seq is
// 0. Its places are rows of stompserver_copies, which name it by its id; it goes with the last of them.
//
// The table stompserver_queues has the highest seq used and the mark of each queue, and a row
// "floor", which no forgotten queue had a seq above. stompserver_server says who has it all.
package activerecord

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"stompserver/internal/heap"
	"stompserver/internal/ruby/messageid"
	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// Config says where the table is. The zero value of each field but Database is its default.
type Config struct {
	Database Database

	// StartDamaged has rows that are not what was written left out, and logged. Otherwise
	// Open fails with a *DamageError, and Read stops in front of one.
	StartDamaged bool

	// NoSync has Write return before the disk confirms it, where the database can do that
	// for one client (MySQL cannot); Sync is to be called.
	NoSync bool

	// Patience is how long a database that is away is waited for before that is told by
	// Away; default one minute. Without Away it is how long it is waited for at all.
	Patience time.Duration

	Log *slog.Logger // default: none
}

// A Store is a store.Backend.
type Store struct {
	cfg   Config
	d     *dialect
	db    *sql.DB
	host  string // in stomp_id
	owner string // in stompserver_server
	lock  io.Closer

	reserve *vfs.Reserve // of SQLite

	// What follows belongs to Write.
	conn      *sql.Conn // holds the lock of the database; nil when it was lost
	stmts     map[string]*sql.Stmt
	bundle    *bundle // in which exec gathers what it is given; nil: it does it
	session   int64   // number of the last conn
	claimed   bool    // we have signed
	writes    int64   // number of the last Write
	longest   int     // bytes of a row at most
	statement int     // bytes of a statement at most; 0: no limit

	telling sync.Mutex // guards what follows
	told    func(error)
	away    bool      // a call has waited for longer than patience, and none has succeeded since
	giveUp  time.Time // when calls that wait fail; zero: never

	mu      sync.Mutex // guards what follows
	queues  map[string]state
	floor   store.Seq
	damaged map[string][]damagedRow
}

// A state is what is known of a queue: what stompserver_queues has of it, and up to which seq there may
// be rows of its own, and copies. Who is behind that need not ask for them.
type state struct{ last, marked, row, copied store.Seq }

// A damagedRow is one that is to stay.
type damagedRow struct{ id, seq, size int64 }

var (
	_ store.Backend = (*Store)(nil)
	_ store.Syncer  = (*Store)(nil)
	_ store.Remote  = (*Store)(nil)
)

const floorName = "floor"

// Open connects to the database, makes the tables or what they lack, and reads all rows.
func Open(cfg Config) (_ *Store, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Patience <= 0 {
		cfg.Patience = time.Minute
	}
	d := dialects[cfg.Database.Adapter]
	if d == nil {
		return nil, fmt.Errorf("adapter %q is not known", cfg.Database.Adapter)
	}
	s := &Store{cfg: cfg, d: d, host: messageid.Host(), owner: newOwner(), queues: make(map[string]state), damaged: make(map[string][]damagedRow)}
	defer func() {
		if err != nil {
			_ = s.close()
			err = fmt.Errorf("%s: %w", cfg.Database, err)
		}
	}()
	if s.db, err = d.open(cfg.Database, cfg.NoSync); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if d.lock == nil {
		if err := s.lockFile(ctx); err != nil {
			return nil, err
		}
		if err := s.checkLog(); err != nil {
			return nil, err
		}
	}
	for _, step := range []func(context.Context) error{s.connect, s.create, s.claim, s.syncNames, s.load, s.scan, s.forget, s.shorten} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := s.conn.ExecContext(ctx, anotherRow); err != nil {
		return nil, err
	}
	heap.Collect() // there may have been large rows
	return s, nil
}

// syncNames makes the names of SQLite's files durable. SQLite does that, too, when it syncs its write-ahead
// log for the first time; but it goes on if that fails.
func (s *Store) syncNames(context.Context) error {
	if s.lock == nil {
		return nil
	}
	fs, err := vfs.Dir(filepath.Dir(s.cfg.Database.Database))
	if err != nil {
		return err
	}
	s.reserve = &vfs.Reserve{FS: fs, Name: filepath.Base(s.cfg.Database.Database) + ".reserve", Size: reserveSize}
	_ = s.reserve.Keep() // if there is no room now, what is put is refused
	return fs.SyncDir()
}

// shorten empties a log of SQLite that a kill has left long: SQLite would use it again, and keep its length.
func (s *Store) shorten(context.Context) error {
	if s.lock == nil {
		return nil
	}
	st, err := os.Stat(s.cfg.Database.Database + "-wal")
	if err != nil || st.Size() < longLog {
		return nil
	}
	_, err = s.emptyLog() // unless somebody reads, or there is no room: that is no reason not to start
	return err
}

// longLog is twice as long as a log becomes where no transaction is large.
const longLog = 8 << 20

// reserveSize is enough for what a write-ahead log holds that SQLite has not moved to its file.
const reserveSize = 8 << 20

// lockFile takes the lock of a file of SQLite.
func (s *Store) lockFile(ctx context.Context) (err error) {
	s.lock, err = lockFile(s.cfg.Database)
	if !errors.Is(err, vfs.ErrLocked) {
		return err
	}
	c, e := s.db.Conn(ctx)
	if e != nil {
		return inUse("")
	}
	defer c.Close()
	owner, _, e := s.signed(ctx, c)
	if e != nil {
		owner = ""
	}
	return inUse(owner)
}

// Sync makes durable what was written without.
func (s *Store) Sync() error {
	if !s.cfg.NoSync || s.d.sync == nil {
		return nil
	}
	if err := s.withConn(func(ctx context.Context) error { return s.d.sync(ctx, s) }); err != nil {
		return fmt.Errorf("%s: %w", s.cfg.Database, err)
	}
	return nil
}

// Close implements store.Backend.
func (s *Store) Close() error {
	var err error
	if s.conn != nil {
		err = s.Sync()
	}
	return errors.Join(err, s.close())
}

func (s *Store) close() error {
	var err error
	if s.conn != nil && s.d.unlock != "" { // the end of a connection is noticed later
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_, _ = s.conn.ExecContext(ctx, s.d.unlock)
		cancel()
	}
	s.disconnect()
	if s.reserve != nil {
		s.reserve.Give() // there is room then for what is in the write-ahead log
	}
	if s.db != nil {
		err = s.db.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
