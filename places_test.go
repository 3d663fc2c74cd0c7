package stompserver_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"stompserver"
)

// TestCheckNamesDamagedRows: a table with damage is a report, and no failure to open it.
func TestCheckNamesDamagedRows(t *testing.T) {
	dir := t.TempDir()
	place, err := stompserver.ParsePlace("activerecord:"+dir, stompserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "stompserver_development"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"CREATE TABLE ar_messages (id integer PRIMARY KEY AUTOINCREMENT NOT NULL, stomp_id varchar NOT NULL, frame text NOT NULL)",
		"INSERT INTO ar_messages (stomp_id, frame) VALUES ('x', 'nonsense')",
	} {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := stompserver.Check(t.Context(), place)
	if err != nil || len(rep.Problems) != 1 || !strings.Contains(rep.Problems[0], "the row with id 1 is damaged") {
		t.Errorf("%+v, %v", rep, err)
	}
}
