//go:build unix

package durable_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stompserver/test/process"
	"stompserver/test/transcript"
)

// TestRestartInPlace: on USR2 the server is another process with the same id and the same port. What
// it stored is there, a client that was connected is told, and nobody who comes is refused.
func TestRestartInPlace(t *testing.T) {
	s := process.Start(t, "STOMPSERVER_QUEUE=journal")
	addr := fmt.Sprintf("127.0.0.1:%d", s.Port)
	stop, refused := make(chan struct{}), make(chan error, 1)
	go func() { // ended by stop
		for {
			select {
			case <-stop:
				close(refused)
				return
			default:
			}
			c, err := net.Dial("tcp", addr)
			if err != nil {
				refused <- err
				close(refused)
				return
			}
			_ = c.Close()
			time.Sleep(time.Millisecond) // ports are few
		}
	}()
	for round := range 3 {
		p := transcript.Dial(t, addr)
		p.Connect("1.2")
		p.Send(fmt.Sprintf("SEND\ndestination:/queue/a\nreceipt:r\n\n%d^@", round))
		p.Expect("RECEIPT\n")
		if err := syscall.Kill(s.PID, syscall.SIGUSR2); err != nil {
			t.Fatal(err)
		}
		p.Expect("ERROR\nerror-code:shutting-down\n")
		p.Closed()
		_ = p.Conn.Close()

		next := transcript.Dial(t, addr) // it may wait for the next process
		next.Connect("1.2")
		next.Send("SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\nbrowser:true\nreceipt:s\n\n^@")
		next.Expect("RECEIPT\n")
		for i := range round + 1 {
			if m := next.Expect("MESSAGE\n"); m.Body != fmt.Sprint(i) {
				t.Errorf("round %d: message %d is %q", round, i, m.Body)
			}
		}
		_ = next.Conn.Close()
	}
	close(stop)
	if err := <-refused; err != nil {
		t.Errorf("a client was refused: %v", err)
	}
}

// TestRestartThatWouldFail: with a configuration that is wrong the server goes on.
func TestRestartThatWouldFail(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "stompserver.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := process.StartIn(t, dir, "STOMPSERVER_CONFIG="+conf)
	p := transcript.Dial(t, fmt.Sprintf("127.0.0.1:%d", s.Port))
	p.Connect("1.2")
	if err := os.WriteFile(conf, []byte("prot: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	s.AwaitLog(t, "not restarted")
	p.Send("SEND\ndestination:/queue/a\nreceipt:r\n\nx^@")
	p.Expect("RECEIPT\n")
}

// TestSocketActivation: the server takes the sockets that a supervisor hands it.
func TestSocketActivation(t *testing.T) {
	binary := process.Binary()
	var files []*os.File
	var addrs []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		defer l.Close()
		files, addrs = append(files, f), append(addrs, l.Addr().String())
	}
	dir := t.TempDir()
	ports := filepath.Join(dir, "ports.json")
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=stomp.socket:http exec "$0" -w "$1" --ports-file "$2"`, binary, dir, ports)
	cmd.ExtraFiles = files
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	p := transcript.Dial(t, addrs[0])
	p.Connect("1.2") // waits for the server, which the socket is there without
	var text []byte
	for end := time.Now().Add(transcript.Patience); text == nil; time.Sleep(5 * time.Millisecond) { // it is written once all listen
		var err error
		if text, err = os.ReadFile(ports); err != nil && time.Now().After(end) {
			t.Fatal(err)
		}
	}
	var got struct {
		Addresses []string
		HTTP      int
	}
	if err := json.Unmarshal(text, &got); err != nil || len(got.Addresses) != 1 || got.Addresses[0] != addrs[0] || !strings.HasSuffix(addrs[1], fmt.Sprint(":", got.HTTP)) {
		t.Errorf("listens on %s, want %q (%v)", text, addrs, err)
	}
}
