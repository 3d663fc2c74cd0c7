package session

import (
	"sync"
	"time"
)

// A pace holds back who sends too much: limits.frame_rate and limits.byte_rate. The connections of
// a user share one; without logins each connection has its own.
type pace struct {
	mu            sync.Mutex // guards what follows
	frames, bytes bucket
}

// A bucket holds what may be spent at once, a second's worth at most; less than nothing is owed.
type bucket struct {
	left   float64
	filled time.Time
}

// spend takes n and returns how long it takes until that is paid for.
func (b *bucket) spend(n, perSecond int, now time.Time) time.Duration {
	if perSecond == none {
		return 0
	}
	rate := float64(perSecond)
	if b.filled.IsZero() {
		b.left = rate
	} else {
		b.left = min(rate, b.left+now.Sub(b.filled).Seconds()*rate)
	}
	b.filled = now
	if b.left -= float64(n); b.left >= 0 {
		return 0
	}
	return time.Duration(-b.left / rate * float64(time.Second))
}

// spend notes what came, and returns how long the client is not to be read, and for which limit.
func (p *pace) spend(frames, bytes int, l *Limits, now time.Time) (wait time.Duration, limit string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f, b := p.frames.spend(frames, l.FrameRate, now), p.bytes.spend(bytes, l.ByteRate, now)
	if f >= b {
		return f, "frame_rate"
	}
	return b, "byte_rate"
}

// paced reports whether there are limits of this kind.
func (l *Limits) paced() bool { return l.FrameRate != none || l.ByteRate != none }
