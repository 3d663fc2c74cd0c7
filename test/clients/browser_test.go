package clients_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"stompserver/test/certificate"
)

// page makes a page of a browser talk to a broker with stompjs, and tells the test what came of it.
const page = `<!DOCTYPE html><meta charset="utf-8"><title>check</title>
<script src="/stomp.js"></script>
<script>
const url = new URLSearchParams(location.search).get('url');
const said = [];
let connects = 0;
const tell = (why) => fetch('/told', { method: 'POST', body: JSON.stringify({ said, why: String(why) }) });
const c = new StompJs.Client({
  brokerURL: url, reconnectDelay: 50, heartbeatIncoming: 500, heartbeatOutgoing: 500, splitLargeFrames: true,
  onConnect: (f) => {
    connects++;
    said.push('connected ' + f.headers.version);
    if (connects === 2) {
      c.onDisconnect = () => said.push('left');
      c.deactivate().then(() => tell('done'));
      return;
    }
    const large = 'ä€😀'.repeat(20000), bytes = new Uint8Array([0, 255, 10, 0]);
    let n = 0;
    c.subscribe('/queue/browser', (m) => {
      m.ack();
      said.push([m.body === 'hello', m.body === large, m.binaryBody.join()][n]);
      if (++n === 3) setTimeout(() => c.webSocket.close(), 1500); // heart-beats have gone both ways by then
    }, { ack: 'client-individual' });
    c.publish({ destination: '/queue/browser', body: 'hello' });
    c.publish({ destination: '/queue/browser', body: large });
    c.publish({ destination: '/queue/browser', binaryBody: bytes });
  },
  onStompError: (f) => tell('ERROR ' + f.headers.message + ': ' + f.body),
  onWebSocketClose: (e) => { said.push('closed'); if (connects === 0) tell('refused'); },
});
c.activate();
</script>`

// TestBrowser has a page in a browser connect, send and receive, lose its connection and come back,
// and a page of another site refused.
func TestBrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			browser = path
			break
		}
	}
	if browser == "" {
		missing(t, "a browser", "the package chromium")
	}
	script, err := os.ReadFile(filepath.FromSlash("node/node_modules/@stomp/stompjs/bundles/stomp.umd.min.js"))
	if err != nil {
		missing(t, "stompjs", "npm ci in test/clients/node")
	}
	cert, key := certificate.Write(t, t.TempDir(), "a", "localhost")
	broker := start(t, "STOMPSERVER_TLS_CERT="+cert, "STOMPSERVER_TLS_KEY="+key)
	for _, test := range []struct {
		name, scheme, host string
		why, said          string
	}{
		{"ws", "ws", "localhost", "done", `["connected 1.2",true,true,"0,255,10,0","closed","connected 1.2","left","closed"]`},
		{"wss", "wss", "localhost", "done", `["connected 1.2",true,true,"0,255,10,0","closed","connected 1.2","left","closed"]`},
		{"a page of another site", "ws", "evil.example", "refused", `["closed"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			told := make(chan string, 10)
			why := make(chan string, 10)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				_, _ = w.Write([]byte(page))
			})
			mux.HandleFunc("GET /stomp.js", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/javascript")
				_, _ = w.Write(script)
			})
			mux.HandleFunc("POST /told", func(_ http.ResponseWriter, r *http.Request) {
				var got struct {
					Said json.RawMessage
					Why  string
				}
				_ = json.NewDecoder(r.Body).Decode(&got)
				why <- got.Why
				told <- string(got.Said)
			})
			pages := httptest.NewServer(mux)
			defer pages.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			defer cancel()
			_, port, _ := net.SplitHostPort(pages.Listener.Addr().String())
			cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
				"--no-first-run", "--disable-background-networking", "--ignore-certificate-errors",
				"--host-resolver-rules=MAP evil.example 127.0.0.1", "--user-data-dir="+profile(t), "--remote-debugging-port=0",
				fmt.Sprintf("http://%s:%s/?url=%s://localhost:%d/ws", test.host, port, test.scheme, broker.Port))
			cmd.WaitDelay = 10 * time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { cancel(); _ = cmd.Wait() }()
			select {
			case got := <-why:
				if said := <-told; got != test.why || said != test.said {
					t.Errorf("the page ended with %q, and said\n%s, want %q and\n%s", got, said, test.why, test.said)
				}
			case <-ctx.Done():
				t.Error("the page says nothing")
			}
		})
	}
}

// profile is a directory for a browser, whose children may still write there when it has ended.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
	})
	return dir
}
