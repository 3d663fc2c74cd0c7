package stompserver_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stompserver"
)

// start makes a server on a free port of this machine, which ends with the test.
func start(t testing.TB, cfg stompserver.Config) *stompserver.Server {
	t.Helper()
	cfg.Port = stompserver.AnyPort
	s, err := stompserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && !errors.Is(err, stompserver.ErrStopped) {
			t.Error("shutdown:", err)
		}
	})
	return s
}

// exchange sends frames and returns the first frame of the answer.
func exchange(t testing.TB, addr, frames string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(frames)); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(c).ReadString(0)
	if err != nil {
		t.Fatalf("answer %q: %v", answer, err)
	}
	return answer
}

const connect = "CONNECT\naccept-version:1.2\nhost:x\nlogin:u\npasscode:p\n\n\x00"

func TestZeroConfigServes(t *testing.T) {
	s := start(t, stompserver.Config{})
	addrs := s.Addrs()
	for _, a := range addrs {
		if !a.(*net.TCPAddr).IP.IsLoopback() {
			t.Errorf("listens on %v by default", a)
		}
		if a.(*net.TCPAddr).Port != addrs[0].(*net.TCPAddr).Port {
			t.Errorf("ports differ: %v", addrs)
		}
		if got := exchange(t, a.String(), connect); !strings.HasPrefix(got, "CONNECTED\n") {
			t.Errorf("%v answers %q", a, got)
		}
	}
}

func TestShutdown(t *testing.T) {
	s := start(t, stompserver.Config{})
	addr := s.Addrs()[0].String()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
	if err := s.Shutdown(t.Context()); !errors.Is(err, stompserver.ErrStopped) {
		t.Errorf("a second shutdown returns %v", err)
	}
	if err := s.Start(t.Context()); !errors.Is(err, stompserver.ErrStopped) {
		t.Errorf("a start after shutdown returns %v", err)
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		name, host string
		port       int
		want       error
		text       string
	}{
		{"port in use", "127.0.0.1", port, syscall.EADDRINUSE, fmt.Sprintf("cannot listen on 127.0.0.1:%d: address already in use", port)},
		{"port in use on localhost", "localhost", port, syscall.EADDRINUSE, fmt.Sprintf("cannot listen on 127.0.0.1:%d: address already in use", port)},
		{"not of this machine", "192.0.2.1", stompserver.AnyPort, syscall.EADDRNOTAVAIL, "cannot listen on 192.0.2.1:0: cannot assign requested address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := stompserver.New(stompserver.Config{Host: tt.host, Port: tt.port})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Start(t.Context())
			if !errors.Is(err, tt.want) || err.Error() != tt.text {
				t.Errorf("error %v, want %s", err, tt.text)
			}
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  stompserver.Config
		want string
	}{
		{"queue to come", stompserver.Config{Queue: "jetstream"}, "stompserver: queue: jetstream is not in this build yet: it has memory, journal, file, dbm, activerecord"},
		{"slow consumer", stompserver.Config{Destinations: stompserver.Destinations{SlowConsumer: "kill"}}, `stompserver: slow consumer: "kill" is not one of drop_oldest, disconnect, spill, block; did you mean "spill"?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := stompserver.New(tt.cfg); err == nil || err.Error() != tt.want {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

func TestAuthAndReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".passwd")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("someone:else\n")
	cfg := stompserver.Config{Auth: true, PasswdFiles: []string{file}}
	s := start(t, cfg)
	addr := s.Addrs()[0].String()
	if got := exchange(t, addr, connect); !strings.HasPrefix(got, "ERROR\n") || !strings.Contains(got, "login-failed") {
		t.Errorf("an unknown login is answered %q", got)
	}
	write("u:p\n")
	cfg.ServerHeader = "other/2"
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if got := exchange(t, addr, connect); !strings.HasPrefix(got, "CONNECTED\n") || !strings.Contains(got, "\nserver:other/2\n") {
		t.Errorf("after the reload the answer is %q", got)
	}
}

// TestUsersAreWatched: a password file that changes counts, without a HUP, for those who are
// connected too.
func TestUsersAreWatched(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".passwd")
	s := start(t, stompserver.Config{Auth: true, PasswdFiles: []string{filepath.Join(t.TempDir(), "none", ".passwd"), file}})
	addr := s.Addrs()[0].String()
	got := ""
	// The watch may begin after the first change: then another makes it look.
	until := func(text, what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			next := filepath.Join(t.TempDir(), "next")
			if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(next, file); err != nil {
				t.Fatal(err)
			}
			if done() {
				return
			}
			if time.Now().After(end) {
				t.Fatal(what, got)
			}
		}
	}
	if got := exchange(t, addr, connect); !strings.Contains(got, "login-failed") {
		t.Errorf("an unknown login is answered %q", got)
	}
	until("u:p\n", "a new user is not let in", func() bool {
		return strings.HasPrefix(exchange(t, addr, connect), "CONNECTED\n")
	})
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(connect)); err != nil {
		t.Fatal(err)
	}
	until("someone:else\n", "a user who was removed stays", func() bool {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		got += string(buf[:n])
		return strings.Contains(got, "ERROR\n") && strings.Contains(got, "login-failed")
	})
}

// Settings of the broker reach it: a message goes to the dead letters as configured.
func TestDestinations(t *testing.T) {
	s := start(t, stompserver.Config{Destinations: stompserver.Destinations{MaxDeliveries: 1, DeadLetter: "/queue/lost"}})
	got := exchange(t, s.Addrs()[0].String(), "CONNECT\n\n\x00")
	if !strings.HasPrefix(got, "CONNECTED\n") {
		t.Fatal(got)
	}
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	send := func(frames string) string {
		t.Helper()
		if _, err := c.Write([]byte(frames)); err != nil {
			t.Fatal(err)
		}
		answer, err := r.ReadString(0)
		if err != nil {
			t.Fatalf("answer %q: %v", answer, err)
		}
		return answer
	}
	send(connect)
	msg := send("SUBSCRIBE\nid:1\nack:client-individual\ndestination:/queue/a\n\n\x00SEND\ndestination:/queue/a\n\nhi\x00")
	_, ack, _ := strings.Cut(msg, "\nack:")
	ack, _, _ = strings.Cut(ack, "\n")
	dead := send("NACK\nid:" + ack + "\n\n\x00SUBSCRIBE\nid:2\ndestination:/queue/lost\n\n\x00")
	if !strings.Contains(dead, "\ndestination:/queue/lost\n") || !strings.Contains(dead, "\noriginal-destination:/queue/a\n") {
		t.Errorf("the dead letter is %q", dead)
	}
}

func TestLoopback(t *testing.T) {
	for _, tt := range []struct {
		host string
		want bool
	}{
		{"localhost", true},
		{"127.0.0.1", true},
		{"127.1.2.3", true},
		{"::1", true},
		{"[::1]", true},
		{"*", false},
		{"0.0.0.0", false},
		{"::", false},
		{"192.0.2.1", false},
	} {
		if got := stompserver.Loopback(tt.host); got != tt.want {
			t.Errorf("Loopback(%q) = %v, want %v", tt.host, got, tt.want)
		}
	}
}

func ExampleServer() {
	s, err := stompserver.New(stompserver.Config{Port: stompserver.AnyPort})
	if err != nil {
		panic(err)
	}
	if err := s.Start(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(len(s.Addrs()) > 0, s.Stats().Connections)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(s.Shutdown(ctx))
	// Output:
	// true 0
	// <nil>
}
