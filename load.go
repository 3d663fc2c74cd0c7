package stompserver

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// DefaultFile is the configuration file that is read, if it exists, when none is named.
const DefaultFile = "stompserver.conf"

// LoadOptions say where Load finds things.
type LoadOptions struct {
	Dir     string      // the current directory, base of File and of working_dir; default os.Getwd
	File    string      // the configuration file; "" reads DefaultFile if there is one
	Env     []string    // as of os.Environ
	Flags   []FlagValue // the flags given, in their order
	Version string      // for server_header; default "dev"
}

// A FlagValue is one flag that was given.
type FlagValue struct {
	Key   string // of the Setting
	Name  string // as it was written: "-p", "--port"
	Value string
}

// A Source says where a value comes from.
type Source struct {
	Kind string // "default", "file", "environment", "flag"
	Name string // of the file, the variable or the flag
	Line int    // in the file
}

func (s Source) String() string {
	switch s.Kind {
	case "file":
		return fmt.Sprintf("%s:%d", s.Name, s.Line)
	case "environment", "flag":
		return s.Kind + " " + s.Name
	}
	return "default"
}

// Source is where the value of t comes from.
func (s *Settings) Source(t *Setting) Source {
	if src, ok := s.sources[t.Key]; ok {
		return src
	}
	return Source{Kind: "default"}
}

// Given reports whether the setting of that key was set by anyone.
func (s *Settings) Given(key string) bool {
	_, ok := s.sources[key]
	return ok
}

// A Problem is one thing that is wrong with what was set.
type Problem struct {
	Source Source
	Text   string
}

func (p Problem) String() string {
	switch p.Source.Kind {
	case "file":
		if p.Source.Line == 0 {
			return p.Source.Name + ": " + p.Text
		}
		return p.Source.String() + ": " + p.Text
	case "environment", "flag":
		return p.Source.Name + ": " + p.Text
	}
	return p.Text
}

// A ConfigError is all that is wrong with what was set, not the first thing only.
type ConfigError struct {
	Problems []Problem
	File     string   // that was read, "" if none was
	Warnings []string // of Settings, had there been no problems
}

func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads the settings: a flag beats the environment, which beats the file, which beats
// the default. An error is a *ConfigError.
func Load(o LoadOptions) (*Settings, error) {
	l := loader{LoadOptions: o, wrong: make(map[string]bool)}
	if l.Dir == "" {
		l.Dir, _ = os.Getwd()
	}
	if l.Version == "" {
		l.Version = "dev"
	}
	l.s = defaultSettings(l.Dir, l.Version)
	env := l.readEnv()
	l.readFile()
	inFile := make(map[string]string)
	for key := range l.s.sources {
		inFile[key] = settingByKey[key].Value(l.s)
	}
	for _, v := range env {
		l.set(v.t, v.value, v.source)
	}
	l.readFlags(inFile)
	l.finish()
	if len(l.problems) > 0 {
		slices.SortStableFunc(l.problems, byPlace)
		return nil, &ConfigError{l.problems, l.s.File, l.s.Warnings}
	}
	return l.s, nil
}

// byPlace puts problems into the order in which they are mended: those of the environment,
// those of the file line by line, those of the command line.
func byPlace(a, b Problem) int {
	order := []string{"environment", "file", "flag"}
	return cmp.Or(
		cmp.Compare(slices.Index(order, a.Source.Kind), slices.Index(order, b.Source.Kind)),
		cmp.Compare(a.Source.Line, b.Source.Line))
}

type loader struct {
	LoadOptions
	s        *Settings
	problems []Problem
	wrong    map[string]bool // keys of settings that were not set, for what was to be: what follows is no news
}

func (l *loader) problem(src Source, format string, args ...any) {
	l.problems = append(l.problems, Problem{src, fmt.Sprintf(format, args...)})
}

func (l *loader) warn(format string, args ...any) {
	l.s.Warnings = append(l.s.Warnings, fmt.Sprintf(format, args...))
}

func (l *loader) set(t *Setting, value string, src Source) {
	if err := t.set(l.s, value); err != nil {
		if src.Kind == "file" {
			err = fmt.Errorf("%s: %w", t.Key, err)
		}
		l.problem(src, "%v", err)
		l.wrong[t.Key] = true
		return
	}
	l.s.sources[t.Key] = src
}

const maxFile = 1 << 20

func (l *loader) readFile() {
	name, named := l.File, l.File != ""
	if !named {
		name = DefaultFile
	}
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(l.Dir, path)
	}
	src := Source{Kind: "file", Name: name}
	data, err := readBounded(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return
	case errors.Is(err, fs.ErrNotExist):
		l.problem(src, "there is no such file")
		return
	case err != nil:
		l.problem(src, "cannot be read: %v", cause(err))
		return
	}
	l.s.File = path
	entries, problems, warnings := parseFile(name, data)
	l.problems = append(l.problems, problems...)
	l.s.Warnings = append(l.s.Warnings, warnings...)
	for _, e := range entries {
		src.Line = e.line
		l.setEntry(e, src)
	}
}

// setEntry sets what stands in a file. Of a list all items are told that are wrong by themselves, or else
// the first that is wrong beside the others, with their own lines.
func (l *loader) setEntry(e entry, src Source) {
	t, before := settingByKey[e.key], len(l.problems)
	l.set(t, e.value, src)
	if len(l.problems) == before || len(e.items) == 0 {
		return
	}
	var all []Problem
	for i, one := range e.items {
		alone := *l.s
		err := t.set(&alone, one.value)
		if err == nil {
			continue
		}
		var which *itemError
		if errors.As(err, &which) {
			which.n = i + 1
		}
		src.Line = one.line
		all = append(all, Problem{src, t.Key + ": " + err.Error()})
	}
	if len(all) > 0 {
		l.problems = append(l.problems[:before], all...)
		return
	}
	var which *itemError
	whole := *l.s
	if err := t.set(&whole, e.value); errors.As(err, &which) && which.n <= len(e.items) {
		l.problems[before].Source.Line = e.items[which.n-1].line
	}
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if len(data) > maxFile {
		return nil, fmt.Errorf("it is larger than %s", formatSize(maxFile))
	}
	return data, err
}

// cause is err without the operation and the path that os puts around it.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (l *loader) readFlags(inFile map[string]string) {
	for _, f := range l.Flags {
		t, src := settingByKey[f.Key], Source{Kind: "flag", Name: f.Name}
		if f.Value == "" {
			l.problem(src, "needs a value")
			continue
		}
		before := l.s.sources[t.Key]
		l.set(t, f.Value, src)
		old, ok := inFile[t.Key]
		if now := t.Value(l.s); ok && old != now && before.Kind == "file" {
			l.warn("%s: %s of the command line wins over %s of the file", before, f.Name+" "+now, old)
		}
	}
}

// finish does what needs all the values.
func (l *loader) finish() {
	s := l.s
	if s.Config.Debug {
		s.LogLevel = "debug"
		s.sources["log.level"] = s.sources["debug"]
	}
	header := strings.ReplaceAll(s.Config.ServerHeader, "${version}", l.Version)
	if strings.ContainsFunc(header, unicode.IsControl) {
		l.problem(s.sources["server_header"], "server_header: control characters cannot be in a header")
	}
	s.Config.ServerHeader = header
	if s.addUser && s.Config.UserHeader == "" {
		s.Config.UserHeader = "JMSXUserID"
	}
	if s.Given("session_cache") {
		l.warn("%s: session_cache is accepted and has no effect", s.sources["session_cache"])
	}
	if s.Given("dbyml") && s.Config.Queue != "activerecord" {
		l.warn("%s: dbyml has no effect with queue %s", s.sources["dbyml"], s.Config.Queue)
	}

	if h := &s.Config.HTTP; !s.Given("http.listen") {
		h.IfFree = true
		port := HTTPPort
		if s.Config.Port == AnyPort {
			port = 0
		}
		h.Listen = net.JoinHostPort(strings.Trim(s.Config.Host, "[]"), strconv.Itoa(port))
	}

	l.checkACME() // while paths are as they were written
	under := func(base string, path *string) {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(base, *path)
		}
	}
	under(l.Dir, &s.WorkingDir)
	under(s.WorkingDir, &s.EtcDir)
	under(s.WorkingDir, &s.LogDir)
	under(s.WorkingDir, &s.Config.Storage)
	under(s.WorkingDir, &s.Config.DatabaseYML)
	for _, f := range s.Config.TLS.files() {
		under(s.WorkingDir, f)
	}
	if yml := filepath.Join(s.EtcDir, "database.yml"); s.Config.DatabaseYML == "" && s.Config.Queue == "activerecord" {
		if _, err := os.Stat(yml); err == nil {
			s.Config.DatabaseYML = yml
			s.sources["dbyml"] = s.sources["etcdir"]
		}
	}
	for _, v := range l.Env {
		if env, ok := strings.CutPrefix(v, "RAILS_ENV="); ok {
			s.Config.RailsEnv = env
		}
	}
	if s.LogFile == "" && s.Daemon {
		s.LogFile = "stompserver.log"
		s.sources["log.file"] = s.sources["daemon"]
	}
	under(s.LogDir, &s.LogFile)
	under(s.LogDir, &s.PIDFile)
	s.Config.Users = slices.Clone(s.Config.Users)
	for i := range s.Config.Users {
		under(s.WorkingDir, &s.Config.Users[i].PasscodeFile)
	}
	s.Config.JWT.Keys = slices.Clone(s.Config.JWT.Keys)
	for i := range s.Config.JWT.Keys {
		under(s.WorkingDir, &s.Config.JWT.Keys[i])
	}
	under(s.WorkingDir, &s.Config.LDAP.CA)
	under(s.WorkingDir, &s.Config.LDAP.BindPasscodeFile)
	l.checkTLS()
	l.checkAccess()
	l.checkVHosts()
	l.checkLDAP()
	s.Config.PasswdFiles = []string{filepath.Join(s.EtcDir, ".passwd"), filepath.Join(s.WorkingDir, ".passwd")}
}
