//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"stompserver/scripts/internal/trial"
)

// A kind is a queue type, and for activerecord the database.
type kind struct {
	key, title string
	queue      string
	database   func(ctx context.Context, dir string) (*database, error) // nil: none, or SQLite
}

var kinds = []*kind{
	{key: "memory", title: "memory", queue: "memory"},
	{key: "journal", title: "journal", queue: "journal"},
	{key: "file", title: "file", queue: "file"},
	{key: "dbm", title: "dbm", queue: "dbm"},
	{key: "sqlite", title: "activerecord, SQLite", queue: "activerecord"},
	{key: "postgresql", title: "activerecord, PostgreSQL", queue: "activerecord", database: postgres},
	{key: "mariadb", title: "activerecord, MariaDB", queue: "activerecord", database: mariadb},
}

// A runner is a stompserver with one kind of store.
type runner struct {
	*trial.Process
	kind *kind
	o    *options
	db   *database
	dir  string
	port int
}

// open starts the database, if there is one, and then the server.
func (r *runner) open(ctx context.Context) (err error) {
	if r.dir, err = os.MkdirTemp(r.o.dir, r.kind.key+"-"); err != nil {
		return err
	}
	if r.kind.database != nil {
		if err := os.Chmod(r.dir, 0o711); err != nil {
			return err
		}
		if r.db, err = r.kind.database(ctx, r.dir); err != nil {
			return err
		}
	}
	return r.start(ctx)
}

func (r *runner) start(ctx context.Context) (err error) {
	if r.port, err = trial.FreePort(); err != nil {
		return err
	}
	args := []string{"-p", strconv.Itoa(r.port), "-b", "127.0.0.1", "-w", r.dir, "-q", r.kind.queue}
	if r.db != nil {
		yml := filepath.Join(r.dir, "database.yml")
		if err := os.WriteFile(yml, []byte(r.db.yml), 0o600); err != nil {
			return err
		}
		args = append(args, "-y", yml)
	}
	r.Process, err = trial.Start(ctx, exec.Command(r.o.tool, args...), r.dir, 5*time.Minute, trial.Accepts(r.port))
	return err
}

// fresh is a server of the same kind with nothing in it.
func (r *runner) fresh(ctx context.Context) (*runner, error) {
	own := &runner{kind: r.kind, o: r.o}
	if err := own.open(ctx); err != nil {
		own.close()
		return nil, fmt.Errorf("%s: %w", r.kind.key, err)
	}
	return own, nil
}

// close ends it and removes what it wrote.
func (r *runner) close() {
	r.Stop(time.Minute)
	if r.db != nil {
		r.db.Stop(time.Minute)
	}
	if r.dir != "" {
		_ = os.RemoveAll(r.dir)
	}
}

func (r *runner) addr() string { return "127.0.0.1:" + strconv.Itoa(r.port) }
func (r *runner) url() string  { return "stomp://" + r.addr() }
func (r *runner) pid() string  { return strconv.Itoa(r.Cmd.Process.Pid) }

// cpu is the processor time it has used, in seconds, at a hundredth's precision.
func (r *runner) cpu() float64 {
	text, err := os.ReadFile("/proc/" + r.pid() + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// rss is the memory that is resident, in bytes.
func (r *runner) rss() float64 {
	text, err := os.ReadFile("/proc/" + r.pid() + "/statm")
	if err != nil {
		return 0
	}
	var size, resident float64
	_, _ = fmt.Sscan(string(text), &size, &resident)
	return resident * float64(os.Getpagesize())
}
