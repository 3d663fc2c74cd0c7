package activerecord

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A Database says where the table is, in the words of a database.yml.
type Database struct {
	Adapter  string // sqlite3, postgresql, mysql2
	Database string // a file, or a name
	Host     string
	Port     string
	Socket   string
	Username string
	Password string
	Encoding string
	SSLMode  string
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

// ReadDatabaseYML reads a database.yml, flat as the Ruby server's or with a section for each
// environment as Rails has them; env, or else development, is chosen. Relative files of SQLite
// are below dir. An error names file and key.
func ReadDatabaseYML(file, env, dir string) (Database, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Database{}, err
	}
	var doc map[string]any
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}")
	}
	if err := yaml.Load(data, &doc); err != nil {
		return Database{}, fmt.Errorf("%s: this is not the YAML of a database.yml: %w", file, err)
	}
	at := file
	if _, flat := doc["adapter"]; !flat && doc["url"] == nil && doc["database"] == nil {
		if env == "" {
			env = "development"
		}
		section, ok := doc[env].(map[string]any)
		if !ok && len(doc) > 0 {
			return Database{}, fmt.Errorf("%s: there is no section %q (RAILS_ENV chooses it)", file, env)
		}
		doc, at = section, file+": "+env
	}
	d := Database{Adapter: sqlite}
	for _, key := range keys(doc) {
		value := doc[key]
		text := ""
		if value != nil {
			text = fmt.Sprint(value)
		}
		switch key {
		case "adapter":
			d.Adapter = text
		case "database":
			d.Database = text
		case "host", "hostname":
			d.Host = text
		case "port":
			d.Port = text
		case "socket":
			d.Socket = text
		case "username", "user":
			d.Username = text
		case "password":
			d.Password = text
		case "encoding":
			d.Encoding = text
		case "sslmode", "ssl_mode":
			d.SSLMode = text
		case "url":
			if err := d.readURL(text); err != nil {
				return Database{}, fmt.Errorf("%s: url: %w", at, err)
			}
		}
	}
	known, ok := adapters[d.Adapter]
	if !ok {
		return Database{}, fmt.Errorf("%s: adapter: %q is not known; it may be sqlite3, postgresql or mysql2", at, d.Adapter)
	}
	d.Adapter = known
	switch {
	case d.Adapter == sqlite && d.Database == "":
		d.Database = "stompserver_development"
	case d.Database == "":
		return Database{}, fmt.Errorf("%s: database is missing", at)
	}
	if d.Adapter == sqlite && !filepath.IsAbs(d.Database) {
		d.Database = filepath.Join(dir, d.Database)
	}
	return d, nil
}

func keys(m map[string]any) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all) // url comes late, and wins as in Rails
	return all
}

// readURL takes over what a URL such as postgresql://user:secret@host/name says.
func (d *Database) readURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("it is not a URL") // which it would quote, with the password
	}
	d.Adapter = u.Scheme
	if d.Adapter == "sqlite3" || d.Adapter == "sqlite" {
		d.Database = u.Opaque + u.Path
		return nil
	}
	d.Database = strings.TrimPrefix(u.Path, "/")
	d.Host, d.Port = u.Hostname(), u.Port()
	if u.User != nil {
		d.Username = u.User.Username()
		d.Password, _ = u.User.Password()
	}
	if m := u.Query().Get("sslmode"); m != "" {
		d.SSLMode = m
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
