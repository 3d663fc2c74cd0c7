package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"stompserver"
	"stompserver/internal/auth"
)

// A passwdCommand edits a password file. It needs no server; a running one reads the file
// again when it changes.
type passwdCommand struct {
	g *globals

	file   string // --file
	config string // --config
	stdin  bool   // --stdin
}

func newPasswdCommand(g *globals) *cobra.Command {
	p := &passwdCommand{g: g}
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "Edit the password file",
		Long: `Edit the password file that --auth reads.

Passcodes are kept as hashes (argon2id). Comments, order, mode and owner of the file are
kept. It is .passwd in etcdir, else in working_dir, as the configuration file and the
environment set them, or what --file names. A running server reads it again when it changes.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("passwd needs a word more: add, list, remove, verify, convert or hash")
			}
			return fmt.Errorf("passwd %s is not known: it takes add, list, remove, verify, convert and hash", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil }, // Args lets nothing pass
	}
	cmd.PersistentFlags().StringVar(&p.file, "file", "", "the password `file`")
	cmd.PersistentFlags().StringVarP(&p.config, "config", "C", "", "the configuration `file` that says where it is (default stompserver.conf)")

	add := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user, or give one a new passcode",
		Args:  words(1, 1),
		RunE:  p.run(p.add),
	}
	remove := &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a user",
		Args:  words(1, 1),
		RunE:  p.run(p.remove),
	}
	verify := &cobra.Command{
		Use:   "verify NAME",
		Short: "Tell whether a passcode is the user's (exit code 0, else 77)",
		Long: `Tell whether a passcode is the user's (exit code 0, else 77).

A user who is not in the file is looked for in the directory of ldap.url, where there is one and
the file was not named by --file; exit code 69 says that it does not answer.`,
		Args: words(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error { return p.verify(cmd.Context(), args[0]) },
	}
	convert := &cobra.Command{
		Use:   "convert [NAME]",
		Short: "Replace plain passcodes by hashes, of one user or of all",
		Args:  words(0, 1),
		RunE:  p.run(p.convert),
	}
	list := &cobra.Command{
		Use:   "list",
		Short: "List the users and how their passcodes are kept",
		Args:  words(0, 0),
		RunE:  p.run(p.list),
	}
	hash := &cobra.Command{
		Use:   "hash",
		Short: "Print the hash of a passcode, for users in the configuration file",
		Args:  words(0, 0),
		RunE:  func(*cobra.Command, []string) error { return p.hash() },
	}
	for _, c := range []*cobra.Command{add, verify, hash} {
		c.Flags().BoolVar(&p.stdin, "stdin", false, "read the passcode from standard input, one line")
	}
	for _, c := range []*cobra.Command{add, remove, verify, convert} {
		c.Flags().BoolVar(&g.Quiet, "quiet", g.Quiet, "print errors only")
	}
	list.Flags().BoolVar(&g.JSON, "json", g.JSON, "print JSON, one object a line")
	cmd.AddCommand(add, list, remove, verify, convert, hash)
	return cmd
}

// run finds the file and calls do with it and NAME, if there is one.
func (p *passwdCommand) run(do func(path, name string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		path, err := p.path()
		if err != nil {
			return err
		}
		return do(path, strings.Join(args, ""))
	}
}

// path is where the password file is or, if there is none yet, is to be.
func (p *passwdCommand) path() (string, error) {
	if p.file != "" {
		return p.file, nil
	}
	s, err := stompserver.Load(stompserver.LoadOptions{File: p.config, Env: os.Environ()})
	if err != nil {
		return "", &exitError{exitConfig, err}
	}
	for _, path := range s.Config.PasswdFiles {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return s.Config.PasswdFiles[0], nil
}

func (p *passwdCommand) add(path, name string) error {
	if err := auth.CheckLogin(name); err != nil {
		return &exitError{exitUsage, err}
	}
	passcode, err := p.newPasscode("New passcode of " + show(name) + ": ")
	if err != nil {
		return err
	}
	if strings.TrimSpace(passcode) != passcode {
		fmt.Fprintln(p.g.Stderr, "stompserver: note: STOMP 1.0 clients cannot send a passcode that begins or ends with a blank")
	}
	hash, err := auth.Hash(passcode)
	if err != nil {
		return err
	}
	if p.file == "" { // else a mistyped directory should not come to be
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return &exitError{exitIO, err}
		}
	}
	replaced := false
	err = auth.Edit(path, func(f *auth.File) error {
		replaced, err = f.Set(name, hash)
		return err
	})
	if err != nil {
		return &exitError{exitIO, err}
	}
	if replaced {
		p.say("gave %s a new passcode in %s", show(name), path)
	} else {
		p.say("added %s to %s", show(name), path)
	}
	return nil
}

func (p *passwdCommand) hash() error {
	passcode, err := p.newPasscode("New passcode: ")
	if err != nil {
		return err
	}
	hash, err := auth.Hash(passcode)
	if err == nil {
		_, err = fmt.Fprintln(p.g.Stdout, hash)
	}
	if err != nil {
		return &exitError{exitIO, err}
	}
	return nil
}

func (p *passwdCommand) remove(path, name string) error {
	if _, err := p.read(path); err != nil { // Edit would make the file
		return err
	}
	err := auth.Edit(path, func(f *auth.File) error {
		if !f.Remove(name) {
			return unknownUser(path, name)
		}
		return nil
	})
	if e := (*exitError)(nil); err != nil && !errors.As(err, &e) {
		err = &exitError{exitIO, err}
	}
	if err == nil {
		p.say("removed %s from %s", show(name), path)
	}
	return err
}

func (p *passwdCommand) verify(ctx context.Context, name string) error {
	path, err := p.path()
	if err != nil {
		return err
	}
	directory, err := p.directory()
	if err != nil {
		return err
	}
	var entries []auth.Entry
	f, err := p.read(path)
	switch {
	case err == nil:
		entries, _ = f.Entries()
	case directory == nil || !errors.Is(err, fs.ErrNotExist):
		return err
	}
	passcode, err := p.askPasscode("Passcode of " + show(name) + ": ")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Login != name {
			continue
		}
		if problem := problemOf(e); problem != "" {
			return &exitError{exitRefused, fmt.Errorf("%s:%d: %s cannot log in: %s", path, e.Line, show(name), problem)}
		}
		if !auth.Verify(e.Secret, passcode) {
			return &exitError{exitRefused, fmt.Errorf("that is not the passcode of %s", show(name))}
		}
		p.say("that is the passcode of %s", show(name))
		return nil
	}
	if directory != nil {
		return p.verifyBy(ctx, directory, name, passcode)
	}
	e := unknownUser(path, name)
	e.Code = exitRefused
	return e
}

// directory is that of the configuration, unless the file alone was asked about.
func (p *passwdCommand) directory() (*auth.Directory, error) {
	if p.file != "" {
		return nil, nil
	}
	s, err := stompserver.Load(stompserver.LoadOptions{File: p.config, Env: os.Environ()})
	if err != nil {
		return nil, &exitError{exitConfig, err}
	}
	d, err := s.Config.OpenDirectory()
	if err != nil {
		return nil, &exitError{exitConfig, err}
	}
	return d, nil
}

// verifyBy asks the directory.
func (p *passwdCommand) verifyBy(ctx context.Context, d *auth.Directory, name, passcode string) error {
	defer d.Close()
	id, err := d.Authenticate(ctx, name, passcode)
	switch {
	case errors.Is(err, auth.ErrDenied):
		return &exitError{exitRefused, fmt.Errorf("the directory does not let %s in with that passcode, and the file has no such user", show(name))}
	case err != nil:
		return &exitError{exitUnavailable, err}
	}
	called := ""
	if id.Name != name {
		called = ", whose name is " + show(id.Name)
	}
	p.say("that is the passcode of %s in the directory%s", show(name), called)
	return nil
}

func (p *passwdCommand) list(path, _ string) error {
	f, err := p.read(path)
	if err != nil {
		return err
	}
	entries, problems := f.Entries()
	for _, pr := range problems {
		fmt.Fprintf(p.g.Stderr, "stompserver: %s:%d: %s\n", path, pr.Line, pr.What)
	}
	if p.g.JSON {
		out := json.NewEncoder(p.g.Stdout)
		for _, e := range entries {
			kind, _ := auth.KindOf(e.Secret)
			u := struct {
				Name    string    `json:"name"`
				Kind    auth.Kind `json:"kind,omitempty"`
				Line    int       `json:"line"`
				Problem string    `json:"problem,omitempty"` // why the user cannot log in
			}{e.Login, kind, e.Line, problemOf(e)}
			if err := out.Encode(u); err != nil {
				return &exitError{exitIO, err}
			}
		}
		return nil
	}
	out := tabwriter.NewWriter(p.g.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "NAME\tPASSCODE")
	for _, e := range entries {
		kind, _ := auth.KindOf(e.Secret)
		text := string(kind)
		if problem := problemOf(e); problem != "" {
			text = "cannot log in: " + problem
		}
		fmt.Fprintf(out, "%s\t%s\n", show(e.Login), text)
	}
	if err := out.Flush(); err != nil {
		return &exitError{exitIO, err}
	}
	return nil
}

func (p *passwdCommand) convert(path, name string) error {
	if _, err := p.read(path); err != nil {
		return err
	}
	converted, found := 0, false
	err := auth.Edit(path, func(f *auth.File) error {
		entries, _ := f.Entries()
		told := time.Now()
		for i, e := range entries {
			if name != "" && e.Login != name {
				continue
			}
			found = true
			kind, err := auth.KindOf(e.Secret)
			if kind != auth.Plain || err != nil || e.Secret == "" {
				f.Set(e.Login, e.Secret) // lines that this one overrides may hold a plain one
				continue
			}
			hash, err := auth.Hash(e.Secret)
			if err == nil {
				_, err = f.Set(e.Login, hash)
			}
			if err != nil {
				return fmt.Errorf("%s:%d: cannot be converted: %w", path, e.Line, err)
			}
			converted++
			if !p.g.Quiet && time.Since(told) > time.Second {
				told = time.Now()
				fmt.Fprintf(p.g.Stderr, "stompserver: hashed %d of %s\n", i+1, things(len(entries), "user"))
			}
		}
		if name != "" && !found {
			return unknownUser(path, name)
		}
		return nil
	})
	if e := (*exitError)(nil); err != nil && !errors.As(err, &e) {
		err = &exitError{exitIO, err}
	}
	if err == nil {
		p.say("hashed %s in %s", things(converted, "plain passcode"), path)
	}
	return err
}

// read reads the file, which has to be there.
func (p *passwdCommand) read(path string) (*auth.File, error) {
	f, err := auth.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; make it with: stompserver passwd add NAME --file %s", err, path)
	}
	if err != nil {
		return nil, &exitError{exitIO, err}
	}
	return f, nil
}

func (p *passwdCommand) say(format string, args ...any) {
	if !p.g.Quiet {
		fmt.Fprintf(p.g.Stdout, format+"\n", args...)
	}
}

// problemOf says why the user of e cannot log in; empty if they can.
func problemOf(e auth.Entry) string {
	if _, err := auth.KindOf(e.Secret); err != nil {
		return err.Error()
	}
	if e.Secret == "" {
		return "the passcode is empty"
	}
	return ""
}

func unknownUser(path, name string) *exitError {
	return &exitError{exitFailed, fmt.Errorf("there is no user %s in %s", show(name), path)}
}

// show is a name for people's eyes: one that could upset a terminal is quoted.
func show(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}
