package stompserver

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A fromEnv is one setting of the environment.
type fromEnv struct {
	t      *Setting
	value  string
	source Source
}

// Variables that are no settings: where the file is, and what the client commands read.
var envOther = []string{
	"STOMPSERVER_CONFIG", "STOMPSERVER_URL", "STOMPSERVER_API", "STOMPSERVER_LOGIN", "STOMPSERVER_PASSCODE",
}

// Kubernetes sets these in every pod beside a service that is called stompserver, and
// STOMPSERVER_PORT to tcp://ADDRESS:PORT.
var envKubernetes = regexp.MustCompile(`^STOMPSERVER_(SERVICE_(HOST|PORT.*)|PORT_[0-9]+_(TCP|UDP|SCTP).*)$`)

// readEnv reads what the environment says. It sets File, which flags have set before if
// they did.
func (l *loader) readEnv() []fromEnv {
	known := make(map[string]*Setting, len(settingByKey))
	var names []string
	for key, t := range settingByKey {
		known[envName(key)] = t
		names = append(names, envName(key))
	}
	slices.Sort(names)

	var found []fromEnv
	by := make(map[string]string) // key to variable
	for _, line := range slices.Sorted(slices.Values(l.Env)) {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, "STOMPSERVER_") || value == "" {
			continue
		}
		src := Source{Kind: "environment", Name: name}
		t := known[name]
		switch {
		case name == "STOMPSERVER_CONFIG" && l.File == "":
			l.File = value
		case slices.Contains(envOther, name), envKubernetes.MatchString(name):
		case l.absentEnv(name, src):
		case t == nil && strings.HasSuffix(name, "_FILE") && known[strings.TrimSuffix(name, "_FILE")] != nil:
			t = known[strings.TrimSuffix(name, "_FILE")]
			path := value
			if !filepath.IsAbs(path) {
				path = filepath.Join(l.Dir, path)
			}
			data, err := readBounded(path)
			if err != nil {
				l.problem(src, "%s cannot be read: %v", value, cause(err))
				t = nil
			}
			value = strings.TrimRight(string(data), "\r\n")
		case t == nil:
			l.warn("%s is not a setting%s", name, didYouMean(name, names))
		case t.Key == "port" && strings.HasPrefix(value, "tcp://"):
			l.warn("%s=%s is of a Kubernetes service and not a port: it is ignored", name, value)
			t = nil
		}
		if t == nil || value == "" {
			continue
		}
		if other := by[t.Key]; other != "" {
			l.problem(src, "%s is set by %s as well", t.Key, other)
			continue
		}
		by[t.Key] = name
		found = append(found, fromEnv{t, value, src})
	}
	return found
}

func (l *loader) absentEnv(name string, src Source) bool {
	for _, key := range absent {
		if e := envName(key); name == e || strings.HasPrefix(name, e+"_") {
			l.problem(src, "%s", notHere(key))
			return true
		}
	}
	return false
}
