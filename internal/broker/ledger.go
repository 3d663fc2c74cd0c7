package broker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"stompserver/internal/destination"
	"stompserver/internal/frame"
	"stompserver/internal/message"
	"stompserver/internal/store"
)

// A ledger is a small table that survives restarts on every store: a queue of the store with
// one message for each key, all of which the broker holds. What is written to it is as safe
// as a message, and no store learns of it.
type ledger struct {
	b     *Broker
	name  string
	by    string // the header of a row that has its key
	st    store.Queue
	alarm alarm
	fresh chan struct{} // there may be more to fetch; for open

	mu   sync.Mutex // guards what follows
	rows map[string]row
	left map[string]int // keys that were dropped before their row was known, and how often
}

type row struct {
	seq store.Seq
	m   *message.Message
}

// keyHeader is the header of a row that has its key.
const keyHeader = "key"

// openLedger opens the named ledger with all its rows, or makes it.
func (b *Broker) openLedger(name string) (*ledger, error) { return b.openLedgerBy(name, keyHeader) }

// openLedgerBy is openLedger for one whose rows have their key in another header.
func (b *Broker) openLedgerBy(name, by string) (*ledger, error) {
	l := &ledger{b: b, by: by, name: destination.QueuePrefix + "$" + name, rows: make(map[string]row), left: make(map[string]int)}
	l.alarm.ring = func(int64, *Wake) int64 {
		l.collect()
		return 0
	}
	l.fresh = make(chan struct{}, 1)
	var err error
	l.st, err = b.store.Queue(l.name, l.ready)
	if err != nil {
		return nil, fmt.Errorf("broker: %s: %w", l.name, err)
	}
	for l.st.Stats().Ready > 0 {
		if err := l.collect(); err != nil {
			return nil, fmt.Errorf("broker: %s: %w", l.name, err)
		}
		if l.st.Stats().Ready > 0 {
			<-l.fresh
		}
	}
	return l, nil
}

func (l *ledger) ready() {
	select {
	case l.fresh <- struct{}{}:
	default:
	}
	l.collect()
}

// collect takes what was put into the table. A newer row of a key takes the place of an older.
func (l *ledger) collect() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		ds, err := l.st.Fetch(nil, 256)
		if err != nil {
			if !errors.Is(err, store.ErrClosed) {
				l.b.cfg.Log.Error("fetch failed", "destination", l.name, "err", err)
			}
			return err
		}
		if len(ds) == 0 {
			return nil
		}
		for _, d := range ds {
			key, _ := d.Msg.Header(l.by)
			old, again := l.rows[key]
			if _, gone := d.Msg.Header(removed); gone {
				delete(l.rows, key)
				l.ack(old.seq, d.Seq)
				continue
			}
			if again {
				l.ack(old.seq)
			}
			if n := l.left[key]; n > 0 && !again {
				if l.left[key]--; n == 1 {
					delete(l.left, key)
				}
				l.ack(d.Seq)
				continue
			}
			l.rows[key] = row{d.Seq, d.Msg}
		}
	}
}

// ack takes rows out of the store, in one batch; 0 is none.
func (l *ledger) ack(seqs ...store.Seq) {
	op := NewOp(nil)
	op.Relax()
	for _, seq := range seqs {
		if seq != 0 {
			op.batch.Ack(l.st, seq)
		}
	}
	l.b.store.Commit(&op.batch)
}

// put adds a row to op's batch: key, and fields as pairs of name and value. It is in the table
// when op is done.
func (l *ledger) put(op *Op, key string, fields ...string) {
	l.putRow(op, note(l.name, key, fields))
}

// putRow adds a row that is made already.
func (l *ledger) putRow(op *Op, row *message.Message) {
	op.batch.Put(l.st, row)
	op.Finally(func(error) { l.b.clock.set(&l.alarm, time.Now().UnixMilli()) })
}

// removed is the header of a row that takes the one of its key out of the table, with op's batch. It
// goes by itself when it has done so.
const removed = "$removed"

// remove adds to op's batch that the table has no row of that key.
func (l *ledger) remove(op *Op, key string) {
	row := note(l.name, key, []string{removed, "true"})
	if l.by != keyHeader {
		row = row.Redirect(l.name, l.by, key)
	}
	l.putRow(op, row)
	op.batch.AckRange(l.st, 1, 0) // nothing, but with that the row is not seen, and not gone, before it is stored
}

// delete removes a row by itself.
func (l *ledger) delete(key string) {
	op := NewOp(nil)
	op.Relax()
	l.remove(op, key)
	l.b.store.Commit(&op.batch)
}

// set writes a row by itself.
func (l *ledger) set(key string, fields ...string) {
	op := NewOp(nil)
	l.put(op, key, fields...)
	l.b.store.Commit(&op.batch)
}

// drop removes a row, also one that was put and is not known yet.
func (l *ledger) drop(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.rows[key]; ok {
		delete(l.rows, key)
		l.ack(r.seq)
		return
	}
	l.left[key]++
}

// all calls f for each row. F must not use the ledger.
func (l *ledger) all(f func(key string, m *message.Message)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, r := range l.rows {
		f(key, r.m)
	}
}

// note makes the message of a row.
func note(dest, key string, fields []string) *message.Message {
	f := &frame.Frame{Command: frame.Send}
	f.Header.Add(keyHeader, key)
	for i := 0; i+1 < len(fields); i += 2 {
		f.Header.Add(fields[i], fields[i+1])
	}
	m, err := message.New(f, dest, message.At(time.Now().UnixMilli()))
	if err != nil {
		panic(err) // the fields are the broker's own
	}
	return m
}
