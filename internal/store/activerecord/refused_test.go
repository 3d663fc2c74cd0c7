//go:build unix

package activerecord_test

import (
	"bytes"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"stompserver/internal/store"
	"stompserver/internal/store/activerecord"
)

// refuses checks that of rs those are refused that are wanted, that the others are not, and
// that the store goes on.
func refuses(t *testing.T, b *activerecord.Store, want []int, rs ...store.Record) {
	t.Helper()
	var refused *store.RefusedError
	if err := b.Write(rs); !errors.As(err, &refused) || !slices.Equal(refused.Records, want) {
		if refused != nil {
			t.Fatalf("%v are refused, want %v: %v", refused.Records, want, refused)
		}
		t.Fatalf("Write: %v", err)
	}
	for i := len(want) - 1; i >= 0; i-- {
		rs = slices.Delete(rs, want[i], want[i]+1)
	}
	write(t, b, rs...)
}

// tooLarge is of a server that takes statements of 64 MiB.
func tooLarge(t *testing.T, s *server) {
	b := open(t, s.database(t, t.TempDir()))
	long := "/queue/" + strings.Repeat("x", 300)
	refuses(t, b, []int{1, 3, 4, 5},
		text(t, "/queue/a", 1, "small"),
		text(t, "/queue/a", 2, strings.Repeat("\xff", 50<<20)), // base64
		text(t, "/queue/a", 3, strings.Repeat("'", 40<<20)),    // each is two in the text of a statement
		text(t, "/queue/a", 4, strings.Repeat(`"`, 40<<20)),
		text(t, "/queue/a", 5, strings.Repeat("x", 64<<20)),
		text(t, long, 1, "a long name"),
		store.Record{Kind: store.RecordMark, Queue: long, Seq: 1},
		text(t, "/queue/a", 6, "small"),
	)
	for seq, want := range map[store.Seq]int{1: 5, 3: 40 << 20, 6: 5} {
		rs, _, err := b.Read(nil, "/queue/a", seq-1, 1, 1)
		if err != nil || len(rs) != 1 || rs[0].Seq != seq || len(rs[0].Msg.Body()) != want {
			t.Fatalf("message %d: %d messages, %v", seq, len(rs), err)
		}
	}
	// As near to the limit as it goes: it is taken or refused, and nothing ends.
	for seq, n := store.Seq(7), 64<<20-160<<10; n <= 64<<20; seq, n = seq+1, n+32<<10 {
		err := b.Write([]store.Record{text(t, "/queue/a", seq, strings.Repeat("x", n))})
		var refused *store.RefusedError
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		write(t, b, store.Record{Kind: store.RecordAck, Queue: "/queue/a", Seq: seq, Last: seq})
	}
	closeIt(t, b)
}

// noText has a database whose encoding lacks characters.
func noText(t *testing.T, s *server) {
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"); err != nil {
		t.Fatal(err)
	}
	at := s.At
	at.Database = "latin"
	b := open(t, activerecord.Config{Database: at})
	refuses(t, b, []int{1, 3}, text(t, "/queue/a", 1, "Grüße"), text(t, "/queue/a", 2, "☃"), text(t, "/queue/a", 3, "x"), text(t, "/queue/a", 4, "☃☃"))
	if got, want := bodies(t, b, "/queue/a"), "1:Grüße 3:x"; got != want {
		t.Errorf("it holds %s, want %s", got, want)
	}
	closeIt(t, b)
}

// largePages reads pages of large messages: they are cut by bytes, and memory with them.
func largePages(t *testing.T, at place) {
	b := open(t, at(t, t.TempDir()))
	body := string(bytes.Repeat([]byte("x"), 1<<20))
	for i := range 8 {
		write(t, b, text(t, "/queue/a", store.Seq(i+1), body))
	}
	for after := store.Seq(0); after < 8; {
		rs, more, err := b.Read(nil, "/queue/a", after, 512, 3<<20)
		if err != nil || len(rs) == 0 || len(rs) > 3 || more != (rs[len(rs)-1].Seq < 8) {
			t.Fatalf("behind %d: %d messages, more %v, %v", after, len(rs), more, err)
		}
		after = rs[len(rs)-1].Seq
	}
	closeIt(t, b)
}

func TestLargePages(t *testing.T) {
	largePages(t, func(t testing.TB, place string) activerecord.Config { return inSQLite(place) })
}
