package transport_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"stompserver/internal/transport"
	"stompserver/test/certificate"
)

// TestRemind: a certificate is warned of once a day, from two weeks before its end, or the last
// third of its time.
func TestRemind(t *testing.T) {
	const day = 24 * time.Hour
	for _, row := range []struct {
		name         string
		lasts        time.Duration
		after        time.Duration
		warned, over int
	}{
		{"a year, far", 365 * day, 350 * day, 0, 0},
		{"a year, near", 365 * day, 353*day + time.Hour, 3, 0},
		{"a year, over", 365 * day, 367 * day, 14, 3},
		{"six days, far", 6 * day, 3 * day, 0, 0},
		{"six days, near", 6 * day, 5 * day, 2, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cert, key := certificate.WritePair(t, t.TempDir(), "a", certificate.Lasting(t, "stomp.example.org", row.lasts))
				c, err := transport.OpenCerts(transport.CertConfig{Pairs: []transport.Pair{{Cert: cert, Key: key}}})
				if err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				ctx, cancel := context.WithCancel(t.Context())
				go c.Remind(ctx, slog.New(slog.NewTextHandler(&log, nil)))
				time.Sleep(row.after + time.Minute)
				cancel()
				synctest.Wait()
				if n := strings.Count(log.String(), "certificate ends soon"); n != row.warned {
					t.Errorf("it was warned of %d times, want %d:\n%s", n, row.warned, &log)
				}
				if n := strings.Count(log.String(), "certificate has ended"); n != row.over {
					t.Errorf("its end was told %d times, want %d:\n%s", n, row.over, &log)
				}
			})
		})
	}
}
