//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver mysql
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"stompserver/scripts/internal/trial"
)

// A database is a server of the measurement's own, on a socket in its directory. Its settings
// are what it comes with.
type database struct {
	*trial.Process
	driver, dsn string // of the database that the stompserver uses
	yml         string
	version     string
}

// account is who a database server runs as: not root, which it refuses.
func account(name, dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, uid, gid)
}

// serve prepares a database server's files, starts it and makes a database.
func (d *database) serve(ctx context.Context, owner, dir string, prepare, serve []string, admin string) (*database, error) {
	cred, err := account(owner, dir)
	if err != nil {
		return nil, err
	}
	command := func(args []string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred}
		return cmd
	}
	if out, err := command(prepare).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", prepare[0], err, out)
	}
	db, err := sql.Open(d.driver, admin)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	if d.Process, err = trial.Start(ctx, command(serve), dir, time.Minute, db.PingContext); err != nil {
		d.Kill()
		return nil, err
	}
	for _, name := range []string{"bench", "library"} {
		if _, err := db.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
			d.Kill()
			return nil, err
		}
	}
	return d, nil
}

func glob(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		if all, _ := filepath.Glob(name); len(all) > 0 {
			return all[len(all)-1]
		}
	}
	return ""
}

func postgres(ctx context.Context, dir string) (*database, error) {
	initdb := glob("/usr/lib/postgresql/*/bin/initdb", "initdb")
	if initdb == "" {
		return nil, errors.New("postgresql is not installed")
	}
	bin := filepath.Dir(initdb)
	data, sockets := filepath.Join(dir, "data"), dir
	d := &database{
		driver: "pgx", dsn: "host=" + sockets + " user=test dbname=bench",
		yml:     "adapter: postgresql\nhost: " + sockets + "\nusername: test\ndatabase: bench\n",
		version: trial.FirstLine(filepath.Join(bin, "postgres"), "--version"),
	}
	d, err := d.serve(ctx, "postgres", dir,
		[]string{initdb, "-D", data, "-A", "trust", "-U", "test", "-E", "UTF8", "--no-locale"},
		[]string{filepath.Join(bin, "postgres"), "-D", data, "-k", sockets, "-c", "listen_addresses="},
		"host="+sockets+" user=test dbname=postgres")
	if err == nil {
		d.Interrupt = syscall.SIGINT
	}
	return d, err
}

func mariadb(ctx context.Context, dir string) (*database, error) {
	server, install := glob("mariadbd", "/usr/sbin/mariadbd"), glob("mariadb-install-db")
	if server == "" || install == "" {
		return nil, errors.New("mariadb-server is not installed")
	}
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "s")
	d := &database{
		driver: "mysql", dsn: "root@unix(" + socket + ")/bench",
		yml:     "adapter: mysql2\nsocket: " + socket + "\nusername: root\ndatabase: bench\n",
		version: trial.FirstLine(server, "--version"),
	}
	return d.serve(ctx, "mysql", dir,
		[]string{install, "--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal", "--skip-test-db"},
		[]string{server, "--no-defaults", "--datadir=" + data, "--socket=" + socket, "--skip-networking", "--pid-file=" + filepath.Join(dir, "pid")},
		"root@unix("+socket+")/")
}

// library is the DSN of a database beside the one in use.
func (d *database) library() string {
	return strings.TrimSuffix(strings.TrimSuffix(d.dsn, "bench"), "dbname=") + map[string]string{"pgx": "dbname=library", "mysql": "library"}[d.driver]
}
