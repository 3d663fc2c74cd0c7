package stompserver

import (
	"strings"
	"testing"
	"time"

	"stompserver/internal/broker"
)

func TestParseRules(t *testing.T) {
	rules, err := parseRules(`[{match: /queue/jobs.*, max_messages: 10, max_bytes: 1MiB, when_full: drop_head, ttl: 24h},
		{match: "/queue/#", dead_letter: /queue/DLQ.*, max_deliveries: 3, auto_delete: true, idle_after: 5m, single_active: true, last_value: true, non_destructive: true}]`)
	if err != nil || len(rules) != 2 {
		t.Fatal(rules, err)
	}
	if p := rules[0].Properties; p.MaxMessages != 10 || p.MaxBytes != 1<<20 || p.TTL != 24*time.Hour {
		t.Errorf("%+v", p)
	}
	if !rules[0].Match.Matches("/queue/jobs.a") || rules[0].Match.Matches("/queue/jobs") {
		t.Error("the pattern matches something else")
	}
	if p := rules[1].Properties; p.DeadLetter != "/queue/DLQ.*" || p.MaxDeliveries != 3 || !p.AutoDelete || p.IdleAfter != 5*time.Minute || !p.SingleActive || !p.LastValue || !p.NonDestructive {
		t.Errorf("%+v", p)
	}
}

func TestParseRulesOfTopics(t *testing.T) {
	rules, err := parseRules(`[{match: /topic/a, retain: {age: 7d, bytes: 1GiB, count: 100}}, {match: /topic/b, last_value_key: symbol}, {match: /queue/c, retain: {age: 1h}}]`)
	if err != nil || len(rules) != 3 {
		t.Fatal(rules, err)
	}
	if p := rules[0].Properties; !p.NonDestructive || p.MaxAge != 7*24*time.Hour || p.MaxBytes != 1<<30 || p.MaxMessages != 100 || p.WhenFull != broker.DropHead {
		t.Errorf("%+v", p)
	}
	if p := rules[1].Properties; !p.NonDestructive || !p.LastValue || p.KeyHeader != "symbol" {
		t.Errorf("%+v", p)
	}
	if p := rules[2].Properties; !p.NonDestructive || p.MaxAge != time.Hour || p.WhenFull != broker.FullUnset {
		t.Errorf("%+v", p)
	}
}

func TestParseRulesErrors(t *testing.T) {
	for text, want := range map[string]string{
		"x":                                                        "not a list",
		"[{max_messages: 1}]":                                      "rule 1: match is missing",
		"[{match: /exchange/a}]":                                   `"/exchange/a" is no queue or topic`,
		"[{match: /topic/a, ttl: 1h}]":                             "ttl is for queues",
		"[{match: /topic/a, retain: 5}]":                           "retain takes age, bytes and count",
		"[{match: /topic/a, retain: {}}]":                          "retain takes age, bytes and count",
		"[{match: /topic/a, retain: {age: 0}}]":                    "retain: age",
		"[{match: /topic/a, retain: {count: x}}]":                  "retain: count",
		"[{match: /topic/a, retain: {size: 1}}]":                   "size is not known",
		"[{match: /queue/a, retain: {count: 1}, max_messages: 1}]": "cannot be together",
		"[{match: /topic/a, slow_consumer: wait}]":                 "drop_oldest, disconnect, spill or block",
		"[{match: /queue/a, slow_consumer: spill}]":                "is for topics",
		"[{match: /topic/a, max_pending: 0}]":                      "max_pending",
		"[{match: /topic/a, last_value_key: ''}]":                  "the name of a header",
		"[{match: /queue/>.a}]":                                    "> may only be the last part",
		"[{match: /queue/a, ring: 5, when_full: block}]":           "ring and when_full cannot be together",
		"[{match: /queue/a, retain: {count: 1}, ring: 5}]":         "retain and ring cannot be together",
		"[{match: /queue/a, ring: 0}]":                             "ring: \"0\" is not a whole number above 0",
		"[{match: /queue/a, type: lazy}]":                          "type: \"lazy\" is not classic, quorum or stream",
		"[{match: /queue/a, type: stream, durable: false}]":        "durable: false cannot be here",
		"[{match: /queue/a, priorities: some}]":                    "priorities: \"some\" is not true or false",
		"[{match: /queue/a, delay_before_dispatch: 1s}]":           "wants consumers_before_dispatch",
		"[{match: /queue/a, consumers_before_dispatch: none}]":     "consumers_before_dispatch",
		"[{match: /queue/a, dedupe_window: 0}]":                    "dedupe_window: \"0\" is no time above 0",
		"[{match: /topic/a, exclusive: true}]":                     "exclusive is for queues",
		"[{match: /queue/a, max_messages: -1}]":                    "max_messages",
		"[{match: /queue/a}, {match: /queue/b, x: 1}]":             "rule 2: x is not known",
		"[{match: /queue/a, ttl: [1]}]":                            "ttl takes one value",
		"[{match: /queue/a, ttl: soon}]":                           "ttl",
		"[{match: /queue/a, when_full: explode}]":                  "reject, drop_new",
		"[{match: /queue/a, dead_letter: /topic/x}]":               "or none",
		"[{match: /queue/a, redelivery_multiplier: 0.5}]":          "a number from 1 to 100",
		"[{match: /queue/a, redelivery_jitter: NaN}]":              "a number from 0 to 1",
		"[{match: /queue/a, redelivery_delay: -1s}]":               "redelivery_delay",
		"[{match: /queue/a, dead_letter_expired: perhaps}]":        "true or false",
		"[{match: /topic/a, redelivery_delay: 1s}]":                "redelivery_delay is for queues",
	} {
		if _, err := parseRules(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// FuzzParseRules checks that no list of rules brings the server down, and that rules which are
// taken match names.
func FuzzParseRules(f *testing.F) {
	f.Add("[{match: /queue/a.*, ttl: 1h}]")
	f.Add("- match: /queue/#\n  max_bytes: 1GiB\n")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parseRules(text)
		if err != nil {
			return
		}
		for _, r := range rules {
			if r.Match.Matches("/topic/a") && !strings.HasPrefix(r.Match.String(), "/topic/") {
				t.Errorf("%s matches a topic", r.Match)
			}
		}
	})
}
