package loadgen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// IdleUse is what connections that do nothing cost the broker. The memory is there when
// its process was named.
type IdleUse struct {
	Connections   int     `json:"connections"`
	OpenSeconds   float64 `json:"open_seconds"`
	RSSBefore     int64   `json:"rss_before,omitempty"`
	RSSAfter      int64   `json:"rss_after,omitempty"`
	PerConnection float64 `json:"rss_per_connection,omitempty"`
	CPU           float64 `json:"cpu_seconds,omitempty"` // to open them
}

// idle opens c.Idle connections with one subscription each, all to one topic, and looks
// at the broker's memory before and after.
func idle(ctx context.Context, c *Config) (*Result, error) {
	c.Topic = true
	p := c.protocol()
	var links []*link
	defer func() {
		for _, l := range links {
			_ = l.conn.Close()
		}
	}()
	ask := false // for a confirmation in another way: SUBSCRIBE brought none
	open := func() error {
		l, err := dial(ctx, c, p, 512)
		if err != nil {
			return fmt.Errorf("connection %d: %w", len(links)+1, err)
		}
		links = append(links, l)
		if _, err := l.conn.Write(p.subscribe(nil, 0, c.Destination)); err != nil {
			return err
		}
		if !ask {
			_ = l.conn.SetReadDeadline(time.Now().Add(min(c.Timeout, patienceForReceipt)))
			_, err = l.await(p.confirms(), p)
		}
		if ask || (len(links) == 1 && errors.Is(err, os.ErrDeadlineExceeded)) {
			ask = true
			if _, err := l.conn.Write(p.probe(nil, 0)); err != nil {
				return err
			}
			_ = l.conn.SetReadDeadline(time.Now().Add(c.Timeout))
			_, err = l.await(p.confirms(), p)
		}
		if err != nil {
			return fmt.Errorf("connection %d: SUBSCRIBE: %w", len(links), err)
		}
		l.buf = nil
		return nil
	}
	for range min(c.Idle/10, 20) { // what the first ones bring up is not theirs
		if err := open(); err != nil {
			return nil, err
		}
	}
	u := &IdleUse{Connections: c.Idle}
	before, err := settled(ctx, c)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	first := len(links)
	for len(links) < c.Idle {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := open(); err != nil {
			return nil, err
		}
		if c.Progress != nil && len(links)%100 == 0 {
			c.Progress(Progress{Phase: "connecting", Elapsed: time.Since(begin), Done: float64(len(links)) / float64(c.Idle)})
		}
	}
	u.OpenSeconds = time.Since(begin).Seconds()
	after, err := settled(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.PID > 0 {
		u.RSSBefore, u.RSSAfter = before.rss, after.rss
		u.PerConnection = float64(after.rss-before.rss) / float64(max(1, len(links)-first))
		u.CPU = (after.cpu - before.cpu).Seconds()
	}
	return &Result{Server: c.addr, Topic: true, Consumers: c.Idle, Idle: u}, nil
}

// settled waits until the broker's memory has not changed by more than a hundredth for a
// second, at most five, and reads it.
func settled(ctx context.Context, c *Config) (u processUse, err error) {
	if c.PID == 0 {
		return u, nil
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var still int
	var base int64
	for range 50 {
		if u, err = readProcess(c.PID, c.PIDChildren); err != nil {
			return u, err
		}
		if d := u.rss - base; d > base/100 || -d > base/100 {
			still, base = 0, u.rss
		} else if still++; still >= 10 {
			break
		}
		select {
		case <-ctx.Done():
			return u, ctx.Err()
		case <-tick.C:
		}
	}
	return u, nil
}
