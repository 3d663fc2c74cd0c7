package dbm

import "go.etcd.io/bbolt"

// TakeApart has bodies of from bytes and more taken apart, and a transaction have so many bytes of
// parts.
func (d *DBM) TakeApart(from, part, atOnce int) { d.sizes = sizes{from, part, atOnce} }

// FailAt has transactions fail by what fail says of each. What it lets pass is done.
func (d *DBM) FailAt(fail func() error) {
	d.update = func(do func(*bbolt.Tx) error) error {
		return d.transact(func(tx *bbolt.Tx) error {
			if err := do(tx); err != nil {
				return err
			}
			return fail()
		})
	}
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
