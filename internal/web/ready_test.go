package web_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stompserver"
)

func TestReady(t *testing.T) {
	for _, queue := range []string{"memory", "journal", "file", "dbm", "activerecord"} {
		t.Run(queue, func(t *testing.T) {
			p := open(t, stompserver.Config{Queue: queue})
			got := p.do("GET", "/readyz", "")
			if got.status != 200 || !strings.HasPrefix(got.body, `{"ready":true,"checks":[{"name":"server","ok":true},{"name":"memory","ok":true}`) ||
				strings.Contains(got.body, "storage") != (queue != "memory") {
				t.Errorf("%d %s", got.status, got.body)
			}
			if got.header.Get("Content-Type") != "application/json" {
				t.Errorf("Content-Type: %s", got.header.Get("Content-Type"))
			}
			left, _ := filepath.Glob(filepath.Join(p.cfg.Storage, ".ready-*"))
			if len(left) > 0 {
				t.Errorf("%q were left", left)
			}
		})
	}
}

// TestNotReady: a storage directory that cannot be written, and memory that is full.
func TestNotReady(t *testing.T) {
	p := open(t, stompserver.Config{Queue: "journal"})
	elsewhere := p.cfg.Storage + ".away"
	if err := os.Rename(p.cfg.Storage, elsewhere); err != nil {
		t.Skip("a directory in use cannot be renamed here:", err)
	}
	got := p.do("GET", "/readyz", "")
	if err := os.Rename(elsewhere, p.cfg.Storage); err != nil {
		t.Fatal(err)
	}
	if got.status != 503 || !strings.Contains(got.body, `"ready":false`) || !strings.Contains(got.body, `{"name":"storage","ok":false,"detail":"the storage directory cannot be written: `) {
		t.Errorf("%d %s", got.status, got.body)
	}
	p.want(p.do("GET", "/healthz", ""), 200, "ok")

	m := open(t, stompserver.Config{Limits: stompserver.Limits{Memory: 100 << 10}})
	m.want(m.do("PUT", "/queue/a", strings.Repeat("x", 200<<10)), 200, "Message Enqueued")
	if got := m.do("GET", "/readyz", ""); got.status != 503 || !strings.Contains(got.body, `{"name":"memory","ok":false,`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := m.do("GET", "/queue/a", ""); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := m.do("GET", "/readyz", ""); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
}
