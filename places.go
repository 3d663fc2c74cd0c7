package stompserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
	"stompserver/internal/store/dbm"
	"stompserver/internal/store/file"
	"stompserver/internal/store/journal"
	"stompserver/internal/store/spool"
	"stompserver/internal/transfer"
	"stompserver/internal/vfs"
)

// traces tell by names in the storage directory that a store of a type is there.
var traces = map[string][]string{
	"journal": {"journal"},
	"file":    {"qinfo", "stompserver.state", "stompserver.redo"},
	"dbm":     {"queues.db"},

	"activerecord": {"stompserver_development"},
}

// FindStores returns the types of queue whose data lie in a storage directory, in the order
// of their names.
func FindStores(storage string) []string {
	var found []string
	for queue, names := range traces {
		if slices.ContainsFunc(names, func(name string) bool {
			_, err := os.Stat(filepath.Join(storage, name))
			return err == nil
		}) {
			found = append(found, queue)
		}
	}
	slices.Sort(found)
	return found
}

// tellOthers logs a warning for data in the storage directory that cfg.Queue does not serve.
func tellOthers(cfg Config) {
	for _, other := range FindStores(cfg.Storage) {
		if other == cfg.Queue {
			continue
		}
		into := cfg.Queue
		if !Durable(into) {
			into = "journal"
		}
		cfg.Log.Warn("queues of another type lie in the storage directory and are not served", "type", other,
			"storage", cfg.Storage, "to_move_them", fmt.Sprintf("stompserver migrate --from %s --to %s", other, into))
	}
}

// A Place is where a store that outlives the process keeps queues.
type Place struct {
	Queue   string // its type, as of Config.Queue
	Storage string
	cfg     Config
}

// ParsePlace reads TYPE or TYPE:DIR; without DIR it is the storage directory of cfg. Of
// activerecord it may be a database.yml, too.
func ParsePlace(text string, cfg Config) (Place, error) {
	queue, dir, named := strings.Cut(text, ":")
	queue = strings.ToLower(queue)
	if queue == "sql" {
		queue = "activerecord"
	}
	if !Durable(queue) {
		var known []string
		for name := range backends {
			known = append(known, name)
		}
		slices.Sort(known)
		return Place{}, fmt.Errorf("%q is no type of store that keeps messages: there are %s", queue, strings.Join(known, ", "))
	}
	if named && dir == "" {
		return Place{}, fmt.Errorf("%q names no directory behind the colon", text)
	}
	cfg = cfg.withDefaults()
	switch {
	case named && queue == "activerecord" && (strings.HasSuffix(dir, ".yml") || strings.HasSuffix(dir, ".yaml")):
		cfg.DatabaseYML = dir
	case named:
		cfg.Storage, cfg.DatabaseYML = dir, ""
	}
	cfg.Queue, cfg.Checkpoint = queue, 0
	return Place{Queue: queue, Storage: cfg.Storage, cfg: cfg}, nil
}

func (p Place) String() string {
	if p.Queue == "activerecord" && p.cfg.DatabaseYML != "" {
		return p.Queue + ":" + p.cfg.DatabaseYML
	}
	return p.Queue + ":" + p.Storage
}

// open opens it, and makes it only if it may.
func (p Place) open(mayMake bool) (store.Backend, error) {
	elsewhere := p.cfg.Queue == "activerecord" && p.cfg.DatabaseYML != ""
	if !mayMake && !elsewhere && !slices.Contains(FindStores(p.Storage), p.Queue) {
		return nil, &StorageError{Queue: p.Queue, Dir: p.Storage, Err: errors.New("there is none")}
	}
	if err := vfs.MakeDir(p.Storage); err != nil {
		return nil, &StorageError{Queue: p.Queue, Dir: p.Storage, Err: err}
	}
	b, err := backends[p.Queue](p.cfg)
	if err != nil {
		return nil, &StorageError{Queue: p.Queue, Dir: p.Storage, Err: err}
	}
	return b, nil
}

// A QueueSummary tells what of a queue was carried.
type QueueSummary = transfer.Summary

// A Transfer carries stored messages while nobody serves them. The zero value is ready.
type Transfer struct {
	DryRun bool // read all, write nothing

	// Tell is called with the number of messages so far and that of all, 0 if it is not
	// known.
	Tell func(n, of int)

	Log *slog.Logger // default: none
}

func (t Transfer) tell(of int) func(n int) {
	if t.Tell == nil {
		return nil
	}
	return func(n int) { t.Tell(n, of) }
}

// Migrate copies everything of one place to another, which is empty or holds what a copy
// before this one wrote until it was broken off. Sequence numbers, order and delivery counts
// are kept; from stays as it is.
func (t Transfer) Migrate(ctx context.Context, from, to Place) (sums []QueueSummary, err error) {
	if from.Queue == to.Queue && filepath.Clean(from.String()) == filepath.Clean(to.String()) {
		return nil, fmt.Errorf("%s is where it is already", from)
	}
	from.cfg.Log, to.cfg.Log = t.Log, t.Log
	src, closeSource, err := t.source(from)
	if err != nil {
		return nil, err
	}
	defer closeWith(&err, closeSource)
	return t.into(ctx, to, src)
}

func (t Transfer) source(p Place) (transfer.Source, func() error, error) {
	if p.cfg.Log == nil {
		p.cfg.Log = slog.New(slog.DiscardHandler)
	}
	b, err := p.open(false)
	if err != nil {
		return transfer.Source{}, nil, err
	}
	src, err := transfer.Of(b)
	if err != nil {
		return src, nil, errors.Join(err, leave(b))
	}
	return src, func() error { return leave(b) }, nil
}

// leave closes a place that was only read.
func leave(b store.Backend) error {
	if l, ok := b.(store.Leaver); ok {
		l.Leave()
	}
	return b.Close()
}

func (t Transfer) into(ctx context.Context, to Place, src transfer.Source) (sums []QueueSummary, err error) {
	tell := t.tell(src.Count())
	if t.DryRun {
		return transfer.Look(ctx, src, tell)
	}
	if to.cfg.Log == nil {
		to.cfg.Log = slog.New(slog.DiscardHandler)
	}
	b, err := to.open(true)
	if err != nil {
		return nil, err
	}
	defer closeWith(&err, b.Close)
	return transfer.Copy(ctx, b, src, tell)
}

func closeWith(err *error, close func() error) {
	if e := close(); *err == nil {
		*err = e
	}
}

// Export writes what a place holds to w, as text: a JSON object a line.
func (t Transfer) Export(ctx context.Context, from Place, w io.Writer) (sums []QueueSummary, err error) {
	from.cfg.Log = t.Log
	src, closeSource, err := t.source(from)
	if err != nil {
		return nil, err
	}
	defer closeWith(&err, closeSource)
	return transfer.Dump(ctx, w, src, t.tell(src.Count()))
}

// Import writes what Export wrote, or another program in its format, into a place. Name is
// what r is called in errors.
func (t Transfer) Import(ctx context.Context, r io.Reader, name string, to Place) ([]QueueSummary, error) {
	to.cfg.Log = t.Log
	return t.into(ctx, to, transfer.Undump(r, name))
}

// Append is Import into a place that holds messages: those of r come behind them. It is not to
// be begun again after an error.
func (t Transfer) Append(ctx context.Context, r io.Reader, name string, to Place) ([]QueueSummary, error) {
	return t.behind(ctx, transfer.Undump(r, name), to)
}

// AppendOrphans stores the messages whose files the index of a directory of the Ruby server
// does not list, as after a crash of it, behind what another place holds. The files stay.
func (t Transfer) AppendOrphans(ctx context.Context, from, to Place) (sums []QueueSummary, err error) {
	from.cfg.Log = slog.New(slog.DiscardHandler)
	b, err := from.open(false)
	if err != nil {
		return nil, err
	}
	defer closeWith(&err, func() error { return leave(b) })
	f, ok := b.(*file.File)
	if !ok {
		return nil, fmt.Errorf("only the type file has files that its index does not list, not %s", from.Queue)
	}
	return t.behind(ctx, transfer.Source{Messages: f.Orphans()}, to)
}

func (t Transfer) behind(ctx context.Context, src transfer.Source, to Place) (sums []QueueSummary, err error) {
	if t.DryRun {
		return transfer.Look(ctx, src, t.tell(0))
	}
	to.cfg.Log = slog.New(slog.DiscardHandler)
	b, err := to.open(true)
	if err != nil {
		return nil, err
	}
	defer closeWith(&err, b.Close)
	last, err := spool.Lasts(b)
	if err != nil {
		return nil, err
	}
	return transfer.Append(ctx, b, last, src, t.tell(0))
}

// A StoreReport is what Check found.
type StoreReport struct {
	Place    Place
	Queues   []StoredQueue // that hold messages
	Problems []string      // damage
	Remarks  []string      // what is no damage, but worth a word
}

// A StoredQueue is what a store holds of one queue.
type StoredQueue struct {
	Name        string
	Messages    int
	Bytes       int64 // what the messages take in memory
	First, Last uint64
}

// Check reads all that a place holds, and verifies it as far as it has checksums. No server
// may use it meanwhile. Damage is part of the report; an error says why there is none.
func Check(ctx context.Context, p Place) (*StoreReport, error) {
	p.cfg.Log = slog.New(slog.DiscardHandler)
	if p.Queue == "journal" && slices.Contains(FindStores(p.Storage), p.Queue) {
		return checkJournal(p)
	}
	rep := &StoreReport{Place: p}
	b, err := p.open(false)
	var rows *activerecord.DamageError
	var pages *dbm.DamageError
	switch {
	case errors.As(err, &rows):
		rep.Problems = append(rep.Problems, rows.Error())
		return rep, nil
	case errors.As(err, &pages):
		rep.Problems = append(rep.Problems, pages.Error())
		return rep, nil
	}
	if err != nil {
		return nil, err
	}
	src, err := transfer.Of(b)
	if err == nil {
		rep.list(src.Queues)
		_, err = transfer.Look(ctx, src, nil)
	}
	if err != nil && ctx.Err() != nil {
		return nil, errors.Join(err, leave(b))
	}
	if err != nil {
		rep.Problems = append(rep.Problems, err.Error())
	}
	return rep, leave(b)
}

func checkJournal(p Place) (*StoreReport, error) {
	fs, err := vfs.Dir(filepath.Join(p.Storage, "journal"))
	if err != nil {
		return nil, &StorageError{Queue: p.Queue, Dir: p.Storage, Err: err}
	}
	r, err := journal.Check(journal.Config{FS: fs})
	if err != nil {
		return nil, &StorageError{Queue: p.Queue, Dir: p.Storage, Err: err}
	}
	rep := &StoreReport{Place: p, Problems: r.Problems, Remarks: r.Cut}
	rep.list(r.Queues)
	return rep, nil
}

func (r *StoreReport) list(infos []store.Info) {
	for _, i := range infos {
		if i.Name != "" && i.Count > 0 {
			r.Queues = append(r.Queues, StoredQueue{Name: i.Name, Messages: i.Count, Bytes: i.Bytes, First: uint64(i.First), Last: uint64(i.Last)})
		}
	}
	slices.SortFunc(r.Queues, func(a, b StoredQueue) int { return strings.Compare(a.Name, b.Name) })
}
