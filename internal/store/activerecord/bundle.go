package activerecord

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"

	mysqldriver "github.com/go-sql-driver/mysql"
)

// A bundle is statements for MySQL that are sent together: each by itself would take a round trip.
type bundle struct {
	s    *Store
	most int // bytes of values

	text strings.Builder
	args []driver.NamedValue
	size int
	n    int // statements
	sent int // bundles
}

// bundleBytes is how many bytes of values are sent together, unless one has more.
const bundleBytes = 4 << 20

// preparedFrom is how many rows are worth a round trip of their own: the server does not have to read them
// out of a text, and we need not write that.
const preparedFrom = 16

// together does a group in two round trips, if it is not large: all that is to be done, and COMMIT. Where many
// rows are put it is three: the fence, those rows, and the rest with COMMIT.
func together(ctx context.Context, s *Store, g *group) error {
	b := &bundle{s: s, most: bundleBytes}
	if s.statement > 0 {
		b.most = min(b.most, s.statement/4) // escapes double it
	}
	s.bundle = b
	err := s.exec(ctx, s.d.begin)
	if err == nil {
		err = s.exec(ctx, fenceText, g.number, s.owner, g.number-1)
	}
	if err == nil {
		err = s.apply(ctx, g)
	}
	commits := err == nil && b.sent > 0 // the fence has held
	if commits {
		err = s.exec(ctx, "COMMIT")
	}
	if err == nil {
		err = b.send(ctx)
	}
	s.bundle = nil
	switch {
	case !commits:
		return s.end(ctx, err)
	case err != nil:
		return s.end(ctx, &commitError{err})
	}
	return nil
}

// apart runs a statement between bundles.
func (b *bundle) apart(ctx context.Context, query string, args []any) error {
	if err := b.send(ctx); err != nil {
		return err
	}
	_, err := b.s.prepared(ctx, query, args...)
	var my *mysqldriver.MySQLError
	if errors.As(err, &my) && my.Number == noMorePrepared {
		return b.add(ctx, query, args)
	}
	return err
}

// noMorePrepared says that all clients of the server together have as many prepared statements as they may.
const noMorePrepared = 1461

// add has a statement sent with the next bundle.
func (b *bundle) add(ctx context.Context, query string, args []any) error {
	size := len(query)
	for _, a := range args {
		switch v := a.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
	}
	if b.size > 0 && b.size+size > b.most {
		if err := b.send(ctx); err != nil {
			return err
		}
	}
	if b.size > 0 {
		b.text.WriteByte(';')
	}
	b.text.WriteString(query)
	for _, a := range args {
		b.args = append(b.args, driver.NamedValue{Ordinal: len(b.args) + 1, Value: a})
	}
	b.size += size
	b.n++
	return nil
}

// send sends what was added. The server stops at the first statement that fails. The first bundle
// begins with the fence, which has to change its row.
func (b *bundle) send(ctx context.Context) error {
	if b.size == 0 {
		return nil
	}
	var rows []int64
	err := b.s.conn.Raw(func(conn any) error {
		res, err := conn.(driver.ExecerContext).ExecContext(ctx, b.text.String(), b.args)
		if err == nil {
			rows = res.(mysqldriver.Result).AllRowsAffected()
		}
		return err
	})
	if errors.Is(err, driver.ErrSkip) && b.n == 1 { // too large for a packet with its values in the text
		args := make([]any, len(b.args))
		for i, a := range b.args {
			args[i] = a.Value
		}
		_, err = b.s.conn.ExecContext(ctx, b.text.String(), args...)
	}
	b.text.Reset()
	b.args, b.size, b.n = nil, 0, 0
	if b.sent++; err == nil && b.sent == 1 && (len(rows) < 2 || rows[1] != 1) {
		return errStale
	}
	return err
}
