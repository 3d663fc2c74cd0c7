// Package pebble starts an authority of certificates for tests: Let's Encrypt's own pebble, from
// the module of tools, with a server of names for which every name is this machine.
package pebble

import (
	"crypto/tls"
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"stompserver/test/certificate"
)

// A Server is an authority.
type Server struct {
	Directory string // its address
	CA        string // file of its own certificate
}

// Start starts one that looks at a server's TLS, or at its HTTP, at these ports of this machine.
// The test is skipped where pebble cannot be built, or fails where nothing may be missing.
func Start(t testing.TB, tlsPort, httpPort int) *Server {
	t.Helper()
	pebble, names := tool(t, "pebble"), tool(t, "pebble-challtestsrv")
	dir := t.TempDir()
	cert, key := certificate.Write(t, dir, "pebble", "localhost")
	at, manage, dns := freeAddress(t), freeAddress(t), freeAddress(t)
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at, "managementListenAddress": manage, "certificate": cert, "privateKey": key,
		"tlsPort": tlsPort, "httpPort": httpPort,
		"profiles": map[string]any{"default": map[string]any{"description": "default", "validityPeriod": 7776000}},
	}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config"), config, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, names, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-dnsserver", dns, "-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", "", "-management", freeAddress(t))
	run(t, dir, pebble, "-config", filepath.Join(dir, "config"), "-dnsserver", dns)
	_, port, _ := net.SplitHostPort(at)
	s := &Server{Directory: "https://localhost:" + port + "/dir", CA: cert}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		answer, err := client.Get(s.Directory)
		if err == nil {
			_ = answer.Body.Close()
			client.CloseIdleConnections()
			return s
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("pebble does not answer: %v\n%s", err, text)
		}
	}
}

// tool is a program of the module of tools.
func tool(t testing.TB, name string) string {
	t.Helper()
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err == nil {
		var path []byte
		path, err = exec.Command("go", "tool", "-modfile="+filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "tools", "go.mod"), "-n", name).Output()
		if text := strings.TrimSpace(string(path)); err == nil && text != "" {
			return text
		}
	}
	if os.Getenv("TEST_REQUIRE_ALL") == "1" {
		t.Fatalf("%s cannot be built: %v", name, err)
	}
	t.Skipf("%s cannot be built: %v", name, err)
	return ""
}

func freeAddress(t testing.TB) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(t)))
}

// FreePort is a port that nobody listens on, and none of those that the system gives to clients: such a
// one may be taken before it is used.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port was found")
	return 0
}

// run has a program run until the test ends.
func run(t testing.TB, dir, program string, args ...string) {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
