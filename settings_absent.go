package stompserver

import (
	"fmt"
	"slices"
	"strings"
)

// Queue types, by what -q and queue take.
var (
	queueTypes  = []string{"memory", "journal", "file", "dbm", "activerecord"}
	queuesToBe  = []string{"jetstream"}
	queuesKnown = "memory, journal, file, dbm, activerecord (or sql)"
)

// QueueTypes are the queue types of this build.
func QueueTypes() []string { return slices.Clone(queueTypes) }

// absent are the keys that are settled but whose feature this build does not have. They
// are refused by name, with all that is below them: a setting that is read and does
// nothing would be a trap.
var absent = []string{
	"http.console", "http.base_path", "http.tls", "http.trusted_proxies", "http.login_ttl", "cluster",
	"limits.disk_free",
}

// notHere is what is said about them.
func notHere(name string) string {
	return name + " is not in this build yet"
}

func setQueue(s *Settings, v string) error {
	v = strings.ToLower(strings.TrimSpace(v))
	if v == "sql" {
		v = "activerecord"
	}
	for _, known := range queueTypes {
		if v == known {
			s.Config.Queue = v
			return nil
		}
	}
	for _, later := range queuesToBe {
		if v == later {
			return fmt.Errorf("%s is not in this build yet: it has %s", v, strings.Join(queueTypes, ", "))
		}
	}
	return fmt.Errorf("%q is not a queue type: they are %s%s", v, queuesKnown,
		didYouMean(v, append(queueTypes, queuesToBe...)))
}
