package activerecord_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"stompserver/internal/store/activerecord"
)

// TestHandle: the driver tells which connection of the library it has. It need not in a version to come.
func TestHandle(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	c, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.Raw(func(conn any) error {
		if activerecord.HandleOf(conn) == 0 {
			t.Error("it does not")
		}
		return nil
	})
	for _, other := range []any{nil, 1, "x", &struct{}{}, &struct{ db string }{"x"}} {
		if activerecord.HandleOf(other) != 0 {
			t.Errorf("%T has one", other)
		}
	}
}

// TestLargeRowsAsBefore has large rows that hold their places themselves, as versions before wrote them and as
// one is that another program wrote, in files of both encodings.
func TestLargeRowsAsBefore(t *testing.T) {
	if race {
		return // there is one goroutine
	}
	for _, encoding := range []string{"UTF-8", "UTF-16le"} {
		t.Run(encoding, func(t *testing.T) {
			cfg := inSQLite(t.TempDir())
			body := strings.Repeat("é ", 5<<20/3)
			frame := strings.Replace(foreign, "good", `"`+body+`"`, 1)
			change(t, cfg, fmt.Sprintf("PRAGMA encoding = '%s'", encoding),
				"CREATE TABLE ar_messages (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, stomp_id varchar NOT NULL, frame text NOT NULL)",
				"INSERT INTO ar_messages (stomp_id, frame) VALUES ('x', '"+frame+"')")
			for range 2 {
				b := open(t, cfg)
				if got := bodies(t, b, "/queue/a"); got != "1:"+body {
					t.Errorf("it holds %d bytes, %.40q", len(got), got)
				}
				closeIt(t, b)
			}
			b := open(t, cfg)
			write(t, b, text(t, "/queue/a", 2, body), text(t, "/queue/a", 3, "x"))
			closeIt(t, b)
			b = open(t, cfg)
			if got := bodies(t, b, "/queue/a"); got != "1:"+body+" 2:"+body+" 3:x" {
				t.Errorf("it holds %d bytes", len(got))
			}
			write(t, b, ack("/queue/a", 1, 3))
			db := reachSQLite.open(t, cfg)
			rowsAre(t, db, 0, 0)
			closeIt(t, b)
		})
	}
}

// TestLargeIsNoText: what should be a large frame is another value.
func TestLargeIsNoText(t *testing.T) {
	for _, value := range []string{"7", "x'00'", "zeroblob(8000000)", "''"} {
		cfg := inSQLite(t.TempDir())
		b := open(t, cfg)
		write(t, b, text(t, "/queue/a", 1, strings.Repeat("x", 5<<20)))
		change(t, cfg, "UPDATE ar_messages SET frame = "+value)
		if rs, _, err := b.Read(nil, "/queue/a", 0, 9, 1<<30); err == nil || len(rs) > 0 || !strings.Contains(err.Error(), "on_damage: start") {
			t.Errorf("%s: %d messages, %v", value, len(rs), err)
		}
		closeIt(t, b)
		if _, err := activerecord.Open(cfg); err == nil || !strings.Contains(err.Error(), "the row with id 1 is damaged") {
			t.Errorf("%s: %v", value, err)
		}
	}
}
