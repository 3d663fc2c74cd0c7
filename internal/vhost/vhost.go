// Package vhost gives the broker of each virtual host a part of one store: the queues whose
// stored names are that host's. By the names that the broker asks for it reaches no other part,
// whatever they are.
package vhost

import (
	"errors"
	"fmt"
	"iter"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/store"
)

// ErrName is the error of a name that cannot be one of a queue in a part of a store.
var ErrName = errors.New("vhost: the name is none of a queue here")

// Part returns the part of s that is of a virtual host; "" is the default one, whose queues are
// all those that are of no other. It is a store like s but for Close, which does nothing: s is
// closed by who opened it.
func Part(s store.Store, host string) store.Store {
	return &part{s, destination.HostedPrefix(host)}
}

type part struct {
	store.Store
	prefix string
}

// Queue implements store.Store.
func (p *part) Queue(name string, ready func()) (store.Queue, error) {
	if p.prefix == "" && destination.IsHosted(name) || p.prefix != "" && !strings.HasPrefix(name, "/") {
		return nil, fmt.Errorf("%w: %s", ErrName, name)
	}
	return p.Store.Queue(p.prefix+name, ready)
}

// Queues implements store.Store.
func (p *part) Queues() iter.Seq2[string, store.Stats] {
	return func(yield func(string, store.Stats) bool) {
		for stored, st := range p.Store.Queues() {
			name, ok := p.own(stored)
			if ok && !yield(name, st) {
				return
			}
		}
	}
}

func (p *part) own(stored string) (name string, ok bool) {
	if p.prefix == "" {
		return stored, !destination.IsHosted(stored)
	}
	name, ok = strings.CutPrefix(stored, p.prefix)
	return name, ok && strings.HasPrefix(name, "/")
}

// Close implements store.Store.
func (p *part) Close() error { return nil }

// Waiting tells how many messages s keeps of each virtual host but the default one.
func Waiting(s store.Store) map[string]int {
	all := make(map[string]int)
	for stored, st := range s.Queues() {
		if host, _ := destination.Unhosted(stored); host != "" {
			all[host] += st.Ready + st.Leased
		}
	}
	return all
}
