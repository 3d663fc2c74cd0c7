package auth

import (
	"sync"
	"time"
)

const (
	freeTries  = 3                      // failed logins that cost nothing more
	firstDelay = 100 * time.Millisecond // after one more, doubled for each further
	longDelay  = 5 * time.Second        // and no longer than that
	forgotten  = 5 * time.Minute        // after the last of them
	mostKept   = 16 << 10               // addresses, and users, that are remembered
)

// A Backoff makes guessing passcodes slow. Who fails often from one address waits before the
// next passcode is looked at; the answer to a wrong passcode of a user whose passcode is guessed
// often waits. So nobody can lock a user out: the right passcode is never answered later for it,
// but from an address that guesses. The zero value is ready, and may be used from any goroutine.
type Backoff struct {
	mu        sync.Mutex // guards what follows
	addresses map[string]tries
	users     map[string]tries
}

// tries are failed logins.
type tries struct {
	n    int
	last time.Time
}

// Before is how long a login from an address has to wait.
func (b *Backoff) Before(address string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addresses[address].delay(now)
}

// Failed notes a failed login, and returns how long its answer has to wait.
func (b *Backoff) Failed(address, user string, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	note(&b.addresses, address, now)
	note(&b.users, user, now)
	return b.users[user].delay(now)
}

// Succeeded notes a login: its address is trusted again.
func (b *Backoff) Succeeded(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.addresses, address)
}

func (t tries) delay(now time.Time) time.Duration {
	over := t.n - freeTries
	if over <= 0 || now.Sub(t.last) >= forgotten {
		return 0
	}
	return min(firstDelay<<min(over-1, 16), longDelay)
}

// note counts one more. What is long ago makes room, and if nothing is, whoever comes first.
func note(m *map[string]tries, key string, now time.Time) {
	if *m == nil {
		*m = make(map[string]tries)
	}
	t, known := (*m)[key]
	if now.Sub(t.last) >= forgotten {
		t.n = 0
	}
	if !known && len(*m) >= mostKept {
		looked, gone := 0, false
		for k, old := range *m {
			if now.Sub(old.last) >= forgotten {
				delete(*m, k)
				gone = true
			}
			if looked++; looked >= 64 {
				if !gone {
					delete(*m, k)
				}
				break
			}
		}
	}
	t.n, t.last = t.n+1, now
	(*m)[key] = t
}
