package dbm

import (
	"go.etcd.io/bbolt"

	"stompserver/internal/store"
	"stompserver/internal/vfs"
)

// TakeApart has bodies of from bytes and more taken apart, and a transaction have so many bytes of
// parts.
func (d *DBM) TakeApart(from, part, atOnce int) { d.sizes = sizes{from, part, atOnce} }

// FailAt has transactions fail by what fail says of each. What it lets pass is done.
func (d *DBM) FailAt(fail func() error) { d.update = d.failing(fail) }

// FailAt is that for all, from the start on.
func (c Config) FailAt(fail func() error) Config {
	c.fail = fail
	return c
}

// Parts is how many parts there are.
func (d *DBM) Parts() (n int) {
	_ = d.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(partsBucket).Stats().KeyN
		return nil
	})
	return n
}

// LoseParts removes parts behind everybody's back.
func (d *DBM) LoseParts(which func(k []byte) bool) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(partsBucket)
		var keys [][]byte
		_ = b.ForEach(func(k, _ []byte) error {
			if which(k) {
				keys = append(keys, k)
			}
			return nil
		})
		for _, k := range keys {
			if err := b.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// SmallLog has files of the log of so many bytes, some of them for acks alone, and layers that cost so much.
func (c Config) SmallLog(file, acks int64, cost int) Config {
	c.logSizes = &logSizes{file, acks, cost}
	return c
}

// DB is the database behind the log.
func (l *Logged) DB() *DBM { return l.db }

// Drain has all be in the database.
func (l *Logged) Drain() error { return l.drain() }

// Stored is how many messages the database has.
func (d *DBM) Stored() (n int) {
	_ = d.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(messagesBucket).Stats().KeyN
		return nil
	})
	return n
}

// Abandon ends it as a kill would.
func (l *Logged) Abandon() {
	close(l.wake)
	<-l.done
	_ = l.files.close()
	_ = l.db.Close()
}

// Holders is how many messages several queues have.
func (d *DBM) Holders() (n int) {
	_ = d.db.View(func(tx *bbolt.Tx) error {
		n = tx.Bucket(holdersBucket).Stats().KeyN
		return nil
	})
	return n
}

// SetHolders says of a message that n queues have it.
func (d *DBM) SetHolders(id, n uint64) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		if n == 0 {
			return tx.Bucket(holdersBucket).Delete(holderKey(id))
		}
		return tx.Bucket(holdersBucket).Put(holderKey(id), appendHolders(holderKey(id), n))
	})
}

// LoseMessage removes a message, or a reference to one, behind everybody's back.
func (d *DBM) LoseMessage(id uint64, seq store.Seq) error {
	return d.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(messagesBucket).Delete(appendKey(nil, id, seq)) })
}

// HarmQueue changes the record of a queue.
func (d *DBM) HarmQueue(name string) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(queuesBucket)
		v := append([]byte(nil), b.Get([]byte(name))...)
		v[len(v)-1] ^= 1
		return b.Put([]byte(name), v)
	})
}

// NoReserve has there be no room for it any more.
func (l *Logged) NoReserve() {
	l.db.reserve = &vfs.Reserve{FS: &vfs.Memory{Room: 1}, Name: "reserve", Size: reserveSize}
}
