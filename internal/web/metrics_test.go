package web_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"stompserver"
)

func hash(t *testing.T, passcode string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(passcode), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

func (p *place) wantMetric(a answer, line string) {
	p.t.Helper()
	if a.status != 200 || !strings.Contains("\n"+a.body, "\n"+line+"\n") {
		p.t.Errorf("answer %d without the line %s:\n%.3000s", a.status, line, a.body)
	}
}

func TestMetrics(t *testing.T) {
	p := open(t, stompserver.Config{Queue: "journal", Version: "1.2.3"})
	p.do("PUT", "/queue/a", "one")
	p.do("GET", "/queue/none", "")
	a := p.do("GET", "/metrics", "")
	for _, line := range []string{
		`stompserver_queue_messages_ready{destination="/queue/a",vhost="default"} 1`,
		`stompserver_http_requests_total{code="200",route="send"} 1`,
		`stompserver_http_requests_total{code="404",route="take"} 1`,
		`stompserver_messages_in_total{kind="queue"} 1`,
		`stompserver_ready{check="storage"} 1`,
		`stompserver_config_reload_success 1`,
	} {
		p.wantMetric(a, line)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Errorf("content type %q", a.header.Get("Content-Type"))
	}
	if a := p.do("GET", "/metrics", "", "Accept", "application/openmetrics-text; version=1.0.0"); !strings.HasSuffix(a.body, "# EOF\n") {
		t.Errorf("no OpenMetrics:\n%.300s", a.body)
	}
	if a := p.do("POST", "/metrics", ""); a.status != 405 {
		t.Errorf("POST: %d", a.status)
	}
	if a := p.do("GET", "/metrics", "", "Origin", "https://evil.example.org"); a.status != 403 {
		t.Errorf("a page of another site: %d", a.status)
	}
	if a := p.do("GET", "/metrics", "", "Host", "evil.example.org"); a.status != 403 {
		t.Errorf("a name that was made to lead here: %d", a.status)
	}
	p.NotReloaded()
	p.wantMetric(p.do("GET", "/metrics", ""), "stompserver_config_reload_success 0")
	p.cfg.Metrics.NoDestinations = true
	if err := p.Reload(p.cfg); err != nil {
		t.Fatal(err)
	}
	a = p.do("GET", "/metrics", "")
	p.wantMetric(a, "stompserver_config_reload_success 1")
	p.wantMetric(a, `stompserver_queue_messages_ready{destination="_other",vhost="default"} 1`)
}

// TestMetricsLogin: who can be elsewhere needs a login, and the right to the broker's figures.
func TestMetricsLogin(t *testing.T) {
	cfg := stompserver.Config{Auth: true, Users: []stompserver.User{
		{Name: "app", Passcode: hash(t, "secret"), Allow: []string{"write /queue/>"}},
		{Name: "prom", Passcode: hash(t, "secret"), Roles: []string{"monitor"}},
	}}
	here := open(t, cfg)
	here.wantMetric(here.do("GET", "/metrics", ""), "stompserver_queues 0")

	cfg.HTTP.Listen = "*:0"
	p := open(t, cfg)
	for _, test := range []struct {
		who, passcode string
		status        int
	}{{"", "", 401}, {"prom", "wrong", 401}, {"app", "secret", 403}, {"prom", "secret", 200}} {
		var header []string
		if test.who != "" {
			header = []string{"Authorization", basic(test.who, test.passcode)}
		}
		for range 2 {
			if a := p.do("GET", "/metrics", "", header...); a.status != test.status {
				t.Errorf("%s: %d %q, want %d", test.who, a.status, a.body, test.status)
			}
		}
	}
	a := p.do("GET", "/metrics", "", "Authorization", basic("prom", "secret"))
	p.wantMetric(a, `stompserver_auth_attempts_total{result="failure"} 4`)
	p.wantMetric(a, `stompserver_permission_denied_total{action="consume"} 2`)
}

func basic(name, passcode string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+passcode))
}
