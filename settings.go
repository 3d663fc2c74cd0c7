package stompserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings are all that the command line, the environment and the configuration file say:
// the Config of a server and what concerns its process. Load reads them.
type Settings struct {
	Config Config

	WorkingDir string // the base of relative paths
	EtcDir     string // of .passwd
	LogDir     string // the base of LogFile and PIDFile
	PIDFile    string
	LogFile    string // "" is standard error, or for a daemon stompserver.log in LogDir

	LogLevel     string // debug, info, warn or error
	LogFormat    string // text or json
	LogRotate    int64  // bytes after which LogFile is rotated; 0: never
	LogKeep      int    // rotated files that are kept
	Daemon       bool
	User, Group  string // to become before anything is opened; "" stays
	SessionCache int    // of stompserver_ng; has no effect

	// File is the configuration file that was read, "" if there was none.
	File string

	// Warnings are lines for the log: what was accepted and has no effect.
	Warnings []string

	sources map[string]Source

	addUser bool // UserHeader is JMSXUserID, if it is not set
}

// A Setting is one thing that can be set: a key of the file, STOMPSERVER_KEY in the
// environment and, for some, a flag.
type Setting struct {
	Key     string // the path in the file, parts separated by dots
	Doc     string // what it is, in a line
	Alias   string // another key of the file for it, "" for most
	Restart bool   // a change needs a restart

	kind kind
	set  func(s *Settings, text string) error
	get  func(s *Settings) string
}

// A kind is what the text of a value means.
type kind int

const (
	aText   kind = iota // as it is
	aNumber             // JSON's too
	aBool
	aList     // a list of YAML
	aQuantity // a number with a unit: a size, a time or a share
)

// Env is the name of the environment variable for it.
func (t *Setting) Env() string { return envName(t.Key) }

// Value is what s has for it, as text that could be set.
func (t *Setting) Value(s *Settings) string { return t.get(s) }

// Typed is Value for encoding/json: numbers, also those without limit, and truth values
// are what they are, all else is text.
func (t *Setting) Typed(s *Settings) any {
	v := t.get(s)
	switch t.kind {
	case aNumber:
		return json.Number(v)
	case aBool:
		return v == "true"
	}
	return v
}

// YAML is Value as it can stand behind the key in a file.
func (t *Setting) YAML(s *Settings) string {
	if v := t.get(s); t.kind == aText {
		return yamlText(v)
	}
	return t.get(s)
}

func envName(key string) string {
	return "STOMPSERVER_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// All are the settings in the order of the documentation.
func All() []*Setting { return settings }

var settings = slices.Concat(generalSettings, accessSettings, directorySettings, vhostSettings, portSettings, acmeSettings, limitSettings, metricsSettings)

var generalSettings = []*Setting{
	Setting{Key: "host", Restart: true, Doc: `name, IPv4 or IPv6 address to listen on, "*" for all`}.address(func(s *Settings) *string { return &s.Config.Host }),
	Setting{Key: "port", Restart: true, Doc: "port to listen on; 0 picks a free one"}.of(aNumber).with(
		func(s *Settings, v string) error { return setPort(&s.Config.Port, v) },
		func(s *Settings) string { return strconv.Itoa(max(s.Config.Port, 0)) }),
	Setting{Key: "working_dir", Restart: true, Doc: "base of relative paths"}.text(func(s *Settings) *string { return &s.WorkingDir }),
	Setting{Key: "storage", Restart: true, Doc: "directory of the queues; relative to working_dir; not used by queue memory"}.text(func(s *Settings) *string { return &s.Config.Storage }),
	Setting{Key: "queue", Restart: true, Doc: "kind of store that keeps the queues: memory, journal, file, dbm or activerecord (also sql)"}.with(setQueue, func(s *Settings) string { return s.Config.Queue }),
	Setting{Key: "checkpoint", Restart: true, Doc: "seconds between checkpoints of the queues; 0 waits for the disk before each RECEIPT; no effect on queue memory"}.with(setCheckpoint, getCheckpoint),
	Setting{Key: "on_damage", Restart: true, Doc: "what to do with queues that are damaged on the disk, of any type that keeps them: refuse, or start with what is whole"}.word(func(s *Settings) *string { return &s.Config.OnDamage }, RefuseDamaged, StartDamaged),
	Setting{Key: "auth", Restart: true, Doc: "ask clients for a login of <etcdir>/.passwd or <working_dir>/.passwd"}.flag(func(s *Settings) *bool { return &s.Config.Auth }),
	Setting{Key: "allow_empty_passwords", Restart: true, Doc: "let users in whose passcode is empty"}.flag(func(s *Settings) *bool { return &s.Config.AllowEmptyPasswords }),
	Setting{Key: "debug", Doc: "log frames, without bodies and passcodes; sets log.level debug"}.flag(func(s *Settings) *bool { return &s.Config.Debug }),

	Setting{Key: "http.listen", Restart: true, Doc: "address and port of HTTP, or off; it follows host and port 0 unless it is set"}.with(setHTTP, getHTTP),

	Setting{Key: "daemon", Restart: true, Doc: "leave the terminal and run in the background"}.flag(func(s *Settings) *bool { return &s.Daemon }),
	Setting{Key: "user", Restart: true, Doc: "user to become at the start"}.text(func(s *Settings) *string { return &s.User }),
	Setting{Key: "group", Restart: true, Doc: "group to become at the start"}.text(func(s *Settings) *string { return &s.Group }),
	Setting{Key: "etcdir", Restart: true, Doc: "directory of .passwd; relative to working_dir"}.text(func(s *Settings) *string { return &s.EtcDir }),
	Setting{Key: "logdir", Restart: true, Doc: "directory of log.file and pidfile; relative to working_dir"}.text(func(s *Settings) *string { return &s.LogDir }),
	Setting{Key: "pidfile", Restart: true, Doc: "file for the process id; relative to logdir"}.text(func(s *Settings) *string { return &s.PIDFile }),
	Setting{Key: "dbyml", Restart: true, Doc: "database.yml of queue activerecord, relative to working_dir; default database.yml in etcdir, or else SQLite in storage"}.text(func(s *Settings) *string { return &s.Config.DatabaseYML }),
	Setting{Key: "session_cache", Restart: true, Doc: "accepted for stompserver_ng; no effect"}.number(0, 1<<31-1, func(s *Settings) *int { return &s.SessionCache }),
	Setting{Key: "monitor", Restart: true, Doc: "publish statistics of all queues to /queue/monitor every 5 seconds"}.unset(func(s *Settings) *bool { return &s.Config.NoMonitor }),

	Setting{Key: "log.level", Alias: "log_level", Doc: "debug, info, warn or error"}.word(func(s *Settings) *string { return &s.LogLevel }, "debug", "info", "warn", "error"),
	Setting{Key: "log.format", Restart: true, Doc: "text or json"}.word(func(s *Settings) *string { return &s.LogFormat }, "text", "json"),
	Setting{Key: "log.file", Alias: "logfile", Restart: true, Doc: "file for the log, relative to logdir; empty is standard error, for a daemon stompserver.log"}.text(func(s *Settings) *string { return &s.LogFile }),
	Setting{Key: "log.rotate.size", Restart: true, Doc: "start a new log.file at this size; 0 never does"}.bytes64(func(s *Settings) *int64 { return &s.LogRotate }),
	Setting{Key: "log.rotate.keep", Restart: true, Doc: "old log files to keep"}.number(0, 10_000, func(s *Settings) *int { return &s.LogKeep }),

	Setting{Key: "heartbeat.send", Doc: "the server can send a heart-beat each; 0 never"}.span(func(s *Settings) *time.Duration { return &s.Config.Heartbeat.Send }),
	Setting{Key: "heartbeat.receive", Doc: "the server wants a heart-beat each; 0 wants none"}.span(func(s *Settings) *time.Duration { return &s.Config.Heartbeat.Receive }),
	Setting{Key: "heartbeat.tolerance", Doc: "silent intervals until a client is given up"}.factor(1, 1000, func(s *Settings) *float64 { return &s.Config.Heartbeat.Tolerance }),
	Setting{Key: "heartbeat.grace", Doc: "and this much more"}.span(func(s *Settings) *time.Duration { return &s.Config.Heartbeat.Grace }),
	Setting{Key: "user_header", Alias: "add_user_header", Doc: "a header that each message has with the login of its sender, such as JMSXUserID; empty is none"}.header(func(s *Settings) *string { return &s.Config.UserHeader }),
	Setting{Key: "add_user", Doc: "true is user_header JMSXUserID, unless that names another"}.flag(func(s *Settings) *bool { return &s.addUser }),
	Setting{Key: "add_timestamp_header", Doc: "a header that each message has with when the server took it, such as ingress-timestamp; empty is none"}.header(func(s *Settings) *string { return &s.Config.TimestampHeader }),
	Setting{Key: "add_redeliveries_header", Doc: "a header of what is delivered again, with how often it was before; empty is none"}.header(func(s *Settings) *string { return &s.Config.RedeliveriesHeader }),
	Setting{Key: "soft_errors", Doc: "leave a connection open after an ERROR about one frame that changed nothing, for clients that expect it"}.flag(func(s *Settings) *bool { return &s.Config.SoftErrors }),
	Setting{Key: "trailing_lf", Doc: "send a line feed behind the NUL that ends a frame, as all brokers do"}.unset(func(s *Settings) *bool { return &s.Config.NoTrailingLF }),
	Setting{Key: "server_header", Doc: "the server header of CONNECTED; ${version} is this version"}.text(func(s *Settings) *string { return &s.Config.ServerHeader }),
}

var settingByKey = func() map[string]*Setting {
	m := make(map[string]*Setting, 2*len(settings))
	for _, t := range settings {
		m[t.Key] = t
		if t.Alias != "" {
			m[t.Alias] = t
		}
	}
	return m
}()

// defaultSettings are those of an empty file in dir.
func defaultSettings(dir, version string) *Settings {
	s := &Settings{
		WorkingDir: dir, EtcDir: "etc", LogDir: "log", PIDFile: "stompserver.pid",
		LogLevel: "info", LogFormat: "text", LogRotate: 100 << 20, LogKeep: 7,
		sources: make(map[string]Source),
	}
	s.Config.ServerHeader = "stompserver/${version}"
	s.Config = s.Config.withDefaults()
	s.Config.HTTP.Listen = net.JoinHostPort(s.Config.Host, strconv.Itoa(HTTPPort))
	s.Config.Log = nil
	s.Config.PasswdFiles = nil
	return s
}

func setCheckpoint(s *Settings, v string) error {
	n, err := parseInteger(v)
	if err == nil && (n < 0 || n > 1<<31-1) {
		err = fmt.Errorf("%d is not between 0 and %d", n, 1<<31-1)
	}
	if err == nil {
		s.Config.Checkpoint = time.Duration(n) * time.Second
	}
	return err
}

func getCheckpoint(s *Settings) string { return strconv.Itoa(int(s.Config.Checkpoint / time.Second)) }

func (t Setting) with(set func(*Settings, string) error, get func(*Settings) string) *Setting {
	t.set, t.get = set, get
	return &t
}

func (t Setting) of(k kind) Setting {
	t.kind = k
	return t
}

func (t Setting) text(p func(*Settings) *string) *Setting {
	return t.with(
		func(s *Settings, v string) error { *p(s) = v; return nil },
		func(s *Settings) string { return *p(s) })
}

// address is a text without blanks around it, and not of blanks alone.
func (t Setting) address(p func(*Settings) *string) *Setting {
	return t.with(
		func(s *Settings, v string) error {
			at := strings.TrimSpace(v)
			if at == "" && v != "" {
				return errors.New(`it is blank; name an address, or "*" for all`)
			}
			*p(s) = at
			return nil
		},
		func(s *Settings) string { return *p(s) })
}

func (t Setting) word(p func(*Settings) *string, words ...string) *Setting {
	return t.with(
		func(s *Settings, v string) error {
			v = strings.ToLower(v)
			if err := oneOf(v, words...); err != nil {
				return err
			}
			*p(s) = v
			return nil
		},
		func(s *Settings) string { return *p(s) })
}

func (t Setting) flag(p func(*Settings) *bool) *Setting {
	return t.of(aBool).with(
		func(s *Settings, v string) (err error) { *p(s), err = parseBool(v); return err },
		func(s *Settings) string { return strconv.FormatBool(*p(s)) })
}

// unset is a flag whose field says the opposite.
func (t Setting) unset(p func(*Settings) *bool) *Setting {
	return t.of(aBool).with(
		func(s *Settings, v string) error { on, err := parseBool(v); *p(s) = !on; return err },
		func(s *Settings) string { return strconv.FormatBool(!*p(s)) })
}

func (t Setting) number(least, most int, p func(*Settings) *int) *Setting {
	return t.of(aNumber).with(
		func(s *Settings, v string) error {
			n, err := parseInteger(v)
			if err == nil && (n < least || n > most) {
				err = fmt.Errorf("%d is not between %d and %d", n, least, most)
			}
			if err == nil {
				*p(s) = n
			}
			return err
		},
		func(s *Settings) string { return strconv.Itoa(*p(s)) })
}

// count is a limit in things: 0 is none.
func (t Setting) count(p func(*Settings) *int) *Setting {
	return t.of(aNumber).with(
		func(s *Settings, v string) error {
			n, err := parseInteger(v)
			if err == nil && (n < 0 || n > 1<<31-1) {
				err = fmt.Errorf("%d is not between 0 and %d", n, 1<<31-1)
			}
			if err == nil {
				*p(s) = orUnlimited(n)
			}
			return err
		},
		func(s *Settings) string { return strconv.Itoa(max(*p(s), 0)) })
}

// bytes is a limit in bytes: 0 is none.
func (t Setting) bytes(p func(*Settings) *int) *Setting {
	return t.of(aQuantity).with(
		func(s *Settings, v string) error {
			n, err := parseSize(v)
			if err == nil && n > 2<<30 {
				err = fmt.Errorf("%q is more than 2GiB", v)
			}
			if err == nil {
				*p(s) = orUnlimited(int(min(n, math.MaxInt)))
			}
			return err
		},
		func(s *Settings) string { return formatLimit(int64(*p(s))) })
}

func (t Setting) bytes64(p func(*Settings) *int64) *Setting {
	return t.of(aQuantity).with(
		func(s *Settings, v string) error {
			n, err := parseSize(v)
			if err == nil {
				*p(s) = n
			}
			return err
		},
		func(s *Settings) string { return formatLimit(*p(s)) })
}

// factor is a number that need not be whole.
func (t Setting) factor(least, most float64, p func(*Settings) *float64) *Setting {
	return t.of(aNumber).with(
		func(s *Settings, v string) error {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || !(f >= least && f <= most) {
				return fmt.Errorf("%q is not a number from %g to %g", v, least, most)
			}
			*p(s) = f
			return nil
		},
		func(s *Settings) string { return strconv.FormatFloat(*p(s), 'g', -1, 64) })
}

// span is a time: 0 is none.
func (t Setting) span(p func(*Settings) *time.Duration) *Setting {
	return t.of(aQuantity).with(
		func(s *Settings, v string) error {
			d, err := parseDuration(v)
			if err == nil {
				*p(s) = orUnlimited(d)
			}
			return err
		},
		func(s *Settings) string { return formatDuration(max(*p(s), 0)) })
}

func orUnlimited[T int | int64 | time.Duration](n T) T {
	if n == 0 {
		return Unlimited
	}
	return n
}

func formatLimit(n int64) string {
	if n <= 0 {
		return "0"
	}
	return formatSize(n)
}

func setPort(p *int, v string) error {
	n, err := parseInteger(v)
	switch {
	case err != nil:
		return err
	case n < 0 || n > 65535:
		return fmt.Errorf("%d is not a port: they go from 1 to 65535, and 0 picks a free one", n)
	case n == 0:
		n = AnyPort
	}
	*p = n
	return nil
}

func setRules(s *Settings, v string) error {
	rules, err := parseRules(v)
	if err != nil {
		return err
	}
	s.Config.Destinations.rules, s.Config.Destinations.rulesText = rules, v
	return nil
}

func setCopies(s *Settings, v string) error { return s.Config.Destinations.SetCopies(v) }

func setDeadLetter(s *Settings, v string) error {
	if !strings.HasPrefix(v, "/queue") || strings.HasPrefix(v, "/queue/$") {
		return fmt.Errorf("%q is not a queue: its name starts with /queue, and not with /queue/$", v)
	}
	s.Config.Destinations.DeadLetter = v
	return nil
}

func setMemory(s *Settings, v string) error {
	l := &s.Config.Limits
	n, ok, err := parsePercent(v)
	if ok {
		if err == nil {
			l.Memory, l.MemoryPercent = 0, n
		}
		return err
	}
	size, err := parseSize(v)
	if err == nil {
		l.Memory = orUnlimited(size)
	}
	return err
}

func getMemory(s *Settings) string {
	if l := s.Config.Limits; l.Memory == 0 {
		return strconv.Itoa(l.MemoryPercent) + "%"
	}
	return formatLimit(s.Config.Limits.Memory)
}

// Keeping returns s with the values of old where a change needs a restart.
func (s *Settings) Keeping(old *Settings) *Settings {
	n := *s
	for _, t := range settings {
		if t.Restart {
			_ = t.set(&n, t.get(old)) // what get returns can be set
		}
	}
	return &n
}
