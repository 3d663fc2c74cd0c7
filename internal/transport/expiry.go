package transport

import (
	"context"
	"crypto/x509"
	"log/slog"
	"strings"
	"time"
)

const (
	endsSoon  = 14 * 24 * time.Hour // before its end a certificate is warned of, or
	lastShare = 3                   // in the last third of one that is short-lived
	lookEvery = time.Hour
	warnEvery = 24 * time.Hour
)

// Remind warns of certificates that end soon, and of those that have, once a day, until ctx ends.
func (c *Certs) Remind(ctx context.Context, log *slog.Logger) {
	told := make(map[string]time.Time)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		now := time.Now()
		for _, leaf := range c.leaves() {
			end := leaf.NotAfter
			warn := min(endsSoon, end.Sub(leaf.NotBefore)/lastShare)
			left := end.Sub(now)
			id := string(leaf.Signature)
			if last, ok := told[id]; left > warn || ok && now.Sub(last) < warnEvery && (left > 0 || !last.Before(end)) {
				continue
			}
			told[id] = now
			if left > 0 {
				log.Warn("certificate ends soon", "name", nameOf(leaf), "valid_until", end, "left", left.Round(time.Minute))
			} else {
				log.Error("certificate has ended: clients refuse it", "name", nameOf(leaf), "valid_until", end)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// nameOf is what people know a certificate by.
func nameOf(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return strings.Join(c.DNSNames, ",")
	}
	return c.Subject.String()
}
