//go:build unix

package model_test

import (
	"database/sql"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stompserver/test/databases"
)

var databasesFlag = flag.Int("model.databases", 1, "how many programs are played with the built server on each database server, whose clients they kill")

// TestKillOnDatabases is TestKill with the table in a database of another process.
func TestKillOnDatabases(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *databases.Server{
		"postgresql": databases.PostgreSQL,
		"mariadb":    func(t testing.TB) *databases.Server { return databases.MariaDB(t, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			made := 0
			play := func(patience time.Duration) func(seed uint64, program []step) (*game, error) {
				return func(seed uint64, program []step) (*game, error) {
					made++
					return playOutside(t, fresh(t, s, fmt.Sprint("place", made)), seed, program, patience)
				}
			}
			playOn(t, name, *databasesFlag, 4, player{play: play(patience), again: play(patience / 10), tries: 3, keep: true})
		})
	}
}

// fresh makes a database of that name, and returns the settings that have the table there.
func fresh(t *testing.T, s *databases.Server, name string) []string {
	t.Helper()
	db, err := sql.Open(s.Driver, s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "database.yml")
	text := fmt.Sprintf("development:\n  adapter: %s\n  host: %q\n  socket: %q\n  username: %s\n  database: %s\n", s.At.Adapter, s.At.Host, s.At.Socket, s.At.Username, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"STOMPSERVER_QUEUE=activerecord", "STOMPSERVER_DBYML=" + path}
}
