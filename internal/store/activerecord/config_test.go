package activerecord_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stompserver/internal/store/activerecord"
)

func TestDatabaseYML(t *testing.T) {
	t.Setenv("TEST_DB", "a: #b")
	t.Setenv("TEST_PASSWORD", "it's")
	for _, tt := range []struct {
		name, text, env string
		want            activerecord.Database
	}{
		{"flat", "adapter: postgresql\ndatabase: stomp\nhost: db\nport: 5433\nusername: u\npassword: 12\n", "", activerecord.Database{Adapter: "postgresql", Database: "stomp", Host: "db", Port: "5433", Username: "u", Password: "12"}},
		{"sections", "default: &d\n  adapter: mysql2\n  username: u\n  socket: /run/m.sock\nproduction:\n  <<: *d\n  database: p\ndevelopment:\n  <<: *d\n  database: d\n", "production", activerecord.Database{Adapter: "mysql2", Database: "p", Username: "u", Socket: "/run/m.sock"}},
		{"development", "development:\n  adapter: trilogy\n  database: d\n", "", activerecord.Database{Adapter: "mysql2", Database: "d"}},
		{"url", "url: postgres://u:p%40@db:5433/stomp?sslmode=require\n", "", activerecord.Database{Adapter: "postgresql", Database: "stomp", Host: "db", Port: "5433", Username: "u", Password: "p@", SSLMode: "require"}},
		{"sqlite", "adapter: sqlite3\ndatabase: x.db\n", "", activerecord.Database{Adapter: "sqlite3", Database: "/dir/x.db"}},
		{"symbols", ":adapter: sqlite3\n:database: /x.db\n", "", activerecord.Database{Adapter: "sqlite3", Database: "/x.db"}},
		{"several databases", "development:\n  primary:\n    adapter: sqlite3\n    database: /x.db\n  cache:\n    adapter: sqlite3\n    database: /y.db\n", "", activerecord.Database{Adapter: "sqlite3", Database: "/x.db"}},
		{"url last", "adapter: sqlite3\ndatabase: x\nurl: mysql2://u@db/stomp\nusername: v\n", "", activerecord.Database{Adapter: "mysql2", Database: "stomp", Host: "db", Username: "u"}},
		{"the environment", "adapter: postgresql\ndatabase: <%= ENV['TEST_DB'] %>\nhost: \"<%= ENV[\"TEST_HOST\"] || \"db\" %>\"\nusername: <%= ENV.fetch('TEST_USER', 'stomp') %>\n" +
			"password: <%= ENV.fetch(\"TEST_PASSWORD\") { 5 } %>\nport: <%= ENV.fetch \"TEST_PORT\", 5433 -%>\n<%# a remark %>\npool: <%= Integer(4) %>\n", "",
			activerecord.Database{Adapter: "postgresql", Database: "a: #b", Host: "db", Username: "stomp", Password: "it's", Port: "5433"}},
		{"the environment within", "adapter: postgresql\ndatabase: stomp_<%= ENV.fetch('TEST_NONE', 'x') %>_<%= ENV.fetch('TEST_PASSWORD') %>\n", "", activerecord.Database{Adapter: "postgresql", Database: "stomp_x_it's"}},
		{"of another section", "production:\n  password: <%= ENV.fetch('TEST_NONE') %>\n  x: <%= SecureRandom.hex %>\ndevelopment:\n  adapter: sqlite3\n  database: /x\n", "", activerecord.Database{Adapter: "sqlite3", Database: "/x"}},
		{"keys and certificates", "adapter: mysql2\ndatabase: s\nssl_mode: :verify_ca\nsslca: /ca\nsslcert: /cert\nsslkey: /key\n", "", activerecord.Database{Adapter: "mysql2", Database: "s", SSLMode: "verify_ca", SSLCA: "/ca", SSLCert: "/cert", SSLKey: "/key"}},
		{"a schema", "url: postgresql:///s?host=/run/pg&sslrootcert=/ca\nschema_search_path: stomp\n", "", activerecord.Database{Adapter: "postgresql", Database: "s", Host: "/run/pg", SSLCA: "/ca", SchemaSearchPath: "stomp"}},
		{"nothing", "", "", activerecord.Database{Adapter: "sqlite3", Database: "/dir/stompserver_development"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "database.yml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := activerecord.ReadDatabaseYML(file, tt.env, "/dir", nil)
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	for text, want := range map[string]string{
		"adapter: oracle\n":                                              `adapter: "oracle" is not known; it may be sqlite3, postgresql or mysql2`,
		"adapter: postgresql\n":                                          "database is missing",
		"test:\n  adapter: sqlite3\n":                                    `there is no section "development" (RAILS_ENV chooses it)`,
		"development:\n  a:\n    adapter: sqlite3\n  b: {}\n":            "development: of its databases (a, b) none is called primary",
		"adapter: postgresql\npassword: <%= ENV.fetch('TEST_NONE') %>\n": "password: the environment has no TEST_NONE",
		"adapter: postgresql\npassword: <%= `id` %>\n":                   "password: no Ruby is run here: of <%= `id` %> only",
		"adapter: postgresql\npassword: <%= ENV.fetch('A', `id`) %>\n":   "no Ruby is run here",
		"<% if true %>\nadapter: sqlite3\n<% end %>\n":                   "no Ruby is run here",
		"adapter: sqlite3\ndatabase: \":memory:\"\n":                     "is not the name of a file",
		"host: [a]\n":                          "host: it is to be a word",
		"a: [":                                 "this is not the YAML of a database.yml",
		"url: postgres://u:secret@%zz/stomp\n": "url: it is not a URL",
	} {
		file := filepath.Join(t.TempDir(), "database.yml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := activerecord.ReadDatabaseYML(file, "", "/dir", nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), file) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := activerecord.ReadDatabaseYML("/nowhere", "", "/", nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestUselessKeys are named.
func TestUselessKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "database.yml")
	if err := os.WriteFile(file, []byte("adapter: sqlite3\ndatabse: x\npool: 5\nencoding: utf8\nvariables:\n  a: b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := activerecord.ReadDatabaseYML(file, "", "/dir", slog.New(slog.NewTextHandler(&log, nil))); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"databse", "variables"} {
		if !strings.Contains(log.String(), "level=WARN msg=\"a key of database.yml has no effect\" file="+file+" key="+key+"\n") {
			t.Errorf("the log does not name %s:\n%s", key, log.String())
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want 2:\n%s", n, log.String())
	}
}

// FuzzDatabaseYML: a value of the environment is what it is, whatever stands around it, and
// gets no key of its own.
func FuzzDatabaseYML(f *testing.F) {
	f.Add("secret", "adapter: sqlite3\n")
	f.Add("a: b\npassword: c # \"'", "host: erb0erb\n")
	f.Add("<%= ENV['TEST_VALUE'] %>", "<%# x %>")
	f.Fuzz(func(t *testing.T, value, around string) {
		if strings.Contains(value, "\x00") || strings.Contains(around, "<%") {
			return
		}
		t.Setenv("TEST_VALUE", value)
		file := filepath.Join(t.TempDir(), "database.yml")
		read := func(text string) (activerecord.Database, error) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return activerecord.ReadDatabaseYML(file, "", "/dir", nil)
		}
		want, err1 := read(around + "\npassword: x\n")
		got, err2 := read(around + "\npassword: <%= ENV['TEST_VALUE'] %>\n")
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, and with a variable %v", err1, err2)
		}
		if err1 != nil || want.Password != "x" {
			return
		}
		if want.Password = value; got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}
