package activerecord

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A Database says where the table is, in the words of a database.yml.
type Database struct {
	Adapter          string // sqlite3, postgresql, mysql2
	Database         string // a file, or a name
	Host             string
	Port             string
	Socket           string
	Username         string
	Password         string
	SSLMode          string // as PostgreSQL or MySQL call it
	SSLCA            string // files
	SSLCert          string
	SSLKey           string
	SchemaSearchPath string // of PostgreSQL
}

// adapters are the names of Rails, and what they are here.
var adapters = map[string]string{
	"sqlite3": sqlite, "sqlite": sqlite,
	"postgresql": postgresql, "postgres": postgresql, "postgis": postgresql,
	"mysql2": mysql, "mysql": mysql, "trilogy": mysql,
}

const (
	sqlite     = "sqlite3"
	postgresql = "postgresql"
	mysql      = "mysql2"
)

// idle are keys of Rails that say nothing here.
var idle = []string{
	"pool", "min_connections", "max_connections", "max_threads", "timeout", "checkout_timeout", "reaping_frequency", "idle_timeout", "connect_timeout",
	"encoding", "charset", "collation", "reconnect", "prepared_statements", "statement_limit", "min_messages", "strict", "flags", "gssencmode",
	"template", "advisory_locks", "keepalive", "max_age", "read_timeout", "write_timeout", "migrations_paths", "schema_dump", "database_tasks",
}

// set takes a key over; it reports false for one that has no effect.
func (d *Database) set(key, value string) bool {
	var at *string
	switch strings.TrimPrefix(key, ":") {
	case "adapter":
		at = &d.Adapter
	case "database":
		at = &d.Database
	case "host", "hostname":
		at = &d.Host
	case "port":
		at = &d.Port
	case "socket":
		at = &d.Socket
	case "username", "user":
		at = &d.Username
	case "password":
		at = &d.Password
	case "sslmode", "ssl_mode":
		at, value = &d.SSLMode, strings.TrimPrefix(value, ":")
	case "sslca", "ssl_ca", "sslrootcert":
		at = &d.SSLCA
	case "sslcert", "ssl_cert":
		at = &d.SSLCert
	case "sslkey", "ssl_key":
		at = &d.SSLKey
	case "schema_search_path":
		at = &d.SchemaSearchPath
	default:
		return false
	}
	*at = value
	return true
}

// ReadDatabaseYML reads a database.yml, flat as the Ruby server's or with a section for each
// environment as Rails has them; env, or else development, is chosen, and of several databases
// in it the one called primary. Variables of the environment are put in as ERB has it. Relative
// files of SQLite are below dir, those of keys and certificates beside the file. An error names
// file and key; keys that have no effect are logged.
func ReadDatabaseYML(file, env, dir string, log *slog.Logger) (Database, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Database{}, err
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	r := ymlReader{file: file, at: file, log: log}
	d, err := r.read(data, env)
	if err != nil {
		return Database{}, fmt.Errorf("%s: %w", r.at, err)
	}
	if d.Adapter == sqlite && !filepath.IsAbs(d.Database) {
		d.Database = filepath.Join(dir, d.Database)
	}
	for _, name := range []*string{&d.SSLCA, &d.SSLCert, &d.SSLKey} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(filepath.Dir(file), *name)
		}
	}
	return d, nil
}

// A ymlReader reads one file.
type ymlReader struct {
	file string
	at   string // file, and section
	erb  erb
	log  *slog.Logger
}

func (r *ymlReader) read(data []byte, env string) (Database, error) {
	d := Database{Adapter: sqlite}
	text, err := r.erb.takeOut(string(bytes.TrimSpace(data)))
	if err != nil {
		return d, err
	}
	if text == "" {
		text = "{}"
	}
	var doc map[string]any
	if err := yaml.Load([]byte(text), &doc); err != nil {
		return d, fmt.Errorf("this is not the YAML of a database.yml: %w", err)
	}
	if doc, err = r.section(doc, env); err != nil {
		return d, err
	}
	for _, key := range keys(doc) {
		if err := r.take(&d, key, doc[key]); err != nil {
			return d, fmt.Errorf("%s: %w", key, err)
		}
	}
	known, ok := adapters[d.Adapter]
	if !ok {
		return d, fmt.Errorf("adapter: %q is not known; it may be sqlite3, postgresql or mysql2", d.Adapter)
	}
	d.Adapter = known
	switch {
	case d.Adapter == sqlite && d.Database == "":
		d.Database = "stompserver_development"
	case d.Adapter == sqlite && (strings.HasPrefix(d.Database, ":memory:") || strings.HasPrefix(d.Database, "file:")):
		return d, fmt.Errorf("database: %q is not the name of a file", d.Database)
	case d.Database == "":
		return d, errors.New("database is missing")
	}
	return d, nil
}

// isDatabase reports whether m has the keys of one.
func isDatabase(m map[string]any) bool {
	for _, key := range []string{"adapter", "database", "url", "host"} {
		for _, k := range []string{key, ":" + key} {
			if v, ok := m[k]; ok {
				if _, nested := v.(map[string]any); !nested {
					return true
				}
			}
		}
	}
	return false
}

// section finds the database that is meant.
func (r *ymlReader) section(doc map[string]any, env string) (map[string]any, error) {
	if len(doc) == 0 || isDatabase(doc) {
		return doc, nil
	}
	if env == "" {
		env = "development"
	}
	m, ok := doc[env].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("there is no section %q (RAILS_ENV chooses it)", env)
	}
	r.at = r.file + ": " + env
	if isDatabase(m) || len(m) == 0 {
		return m, nil
	}
	primary, ok := m["primary"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("of its databases (%s) none is called primary", strings.Join(keys(m), ", "))
	}
	r.at += ": primary"
	return primary, nil
}

// take takes a key over.
func (r *ymlReader) take(d *Database, key string, value any) error {
	name := strings.TrimPrefix(key, ":")
	if slices.Contains(idle, name) {
		return nil
	}
	if name != "url" && !new(Database).set(name, "") {
		r.log.Warn("a key of database.yml has no effect", "file", r.at, "key", name)
		return nil
	}
	text := ""
	switch value := value.(type) {
	case nil:
	case map[string]any, []any:
		return errors.New("it is to be a word")
	default:
		text = fmt.Sprint(value)
	}
	text, err := r.erb.putIn(text)
	if err != nil {
		return err
	}
	if name == "url" {
		if text == "" {
			return nil
		}
		return r.url(d, text)
	}
	d.set(name, text)
	return nil
}

func keys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	// url comes last, and wins as in Rails.
	slices.SortFunc(all, func(a, b string) int {
		ua, ub := strings.TrimPrefix(a, ":") == "url", strings.TrimPrefix(b, ":") == "url"
		switch {
		case ua && !ub:
			return 1
		case ub && !ua:
			return -1
		}
		return strings.Compare(a, b)
	})
	return all
}

// url takes over what a URL such as postgresql://user:secret@host/name says.
func (r *ymlReader) url(d *Database, text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("it is not a URL") // which it would quote, with the password
	}
	d.Adapter = u.Scheme
	if adapters[u.Scheme] == sqlite {
		d.Database = u.Opaque + u.Path
		return nil
	}
	for key, values := range u.Query() {
		if !d.set(key, values[0]) && !slices.Contains(idle, key) {
			r.log.Warn("a key of the url in database.yml has no effect", "file", r.at, "key", key)
		}
	}
	for _, part := range []struct {
		at    *string
		value string
	}{{&d.Database, strings.TrimPrefix(u.Path, "/")}, {&d.Host, u.Hostname()}, {&d.Port, u.Port()}, {&d.Username, u.User.Username()}} {
		if part.value != "" {
			*part.at = part.value
		}
	}
	if p, ok := u.User.Password(); ok {
		d.Password = p
	}
	return nil
}

// String names the database without its password.
func (d Database) String() string {
	if d.Adapter == sqlite {
		return d.Database
	}
	where := d.Host
	switch {
	case d.Socket != "":
		where = d.Socket
	case where == "":
		where = "localhost"
	}
	return d.Adapter + " " + d.Database + " on " + where
}
