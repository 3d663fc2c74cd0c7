package auth

import (
	"fmt"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	var b Backoff
	now := time.Unix(1_000_000, 0)
	want := []time.Duration{0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000, 5000}
	for i, ms := range want {
		if d := b.Failed("a", "u", now); d != ms*time.Millisecond {
			t.Errorf("failure %d of the user waits %v, want %d ms", i+1, d, ms)
		}
		if d := b.Before("a", now); d != ms*time.Millisecond {
			t.Errorf("after failure %d the address waits %v, want %d ms", i+1, d, ms)
		}
	}
	if d := b.Before("b", now); d != 0 {
		t.Errorf("another address waits %v", d)
	}
	if d := b.Failed("b", "v", now); d != 0 {
		t.Errorf("another user waits %v", d)
	}
	if d := b.Failed("b", "u", now); d != 5*time.Second {
		t.Errorf("the user from elsewhere waits %v", d)
	}
	b.Succeeded("a")
	if d := b.Before("a", now); d != 0 {
		t.Errorf("after a success the address waits %v", d)
	}
	later := now.Add(forgotten)
	if d := b.Failed("c", "u", later); d != 0 {
		t.Errorf("%v later the user waits %v", forgotten, d)
	}
}

func TestBackoffIsBounded(t *testing.T) {
	var b Backoff
	now := time.Unix(1_000_000, 0)
	for i := range 3 * mostKept {
		b.Failed(fmt.Sprint("a", i), fmt.Sprint("u", i), now.Add(time.Duration(i)*time.Millisecond))
	}
	if len(b.addresses) > mostKept || len(b.users) > mostKept {
		t.Errorf("%d addresses and %d users are remembered, more than %d", len(b.addresses), len(b.users), mostKept)
	}
}
