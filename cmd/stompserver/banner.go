package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"stompserver"
)

// announce says that the server is up: to people with a banner, to scripts with the lines
// that the original printed.
func (p *process) announce() {
	s, addrs, http := p.settings, p.server.Addrs(), p.server.HTTPAddrs()
	open := !s.Config.Auth && !stompserver.Loopback(s.Config.Host)
	if p.terminal {
		writeBanner(p.g.Stdout, s, addrs, http, p.kept(), !p.g.NoColor, os.Getpid(), time.Since(begun))
	} else if s.LogFormat != "json" || s.LogFile == "" {
		writeOriginal(p.g.Stdout, s, addrs)
	}
	if n, most := p.server.MaxConnections(), s.Config.Limits.Connections; n > 0 && (most < 0 || n < most) {
		p.log.Info("the system allows too few open files for limits.connections", "limit", max(most, 0), "connections", n)
	}
	if !p.terminal || p.log.file != nil {
		for _, a := range addrs {
			p.log.Info("listening", "addr", a.String())
		}
		for _, a := range p.server.MoreAddrs() {
			p.log.Info("listening", "addr", a.String())
		}
		for _, a := range http {
			p.log.Info("listening", "addr", a.String(), "protocol", "http")
		}
		p.log.Info("started", "version", version, "pid", os.Getpid(), "store", s.Config.Queue, "storage", p.kept(), "took", time.Since(begun).Round(time.Millisecond))
		if open {
			p.log.Warn("anyone who reaches this machine can use the server: authentication is off; turn it on with -a", "host", s.Config.Host)
		}
	}
}

// kept says what the store does with messages, and how many it held at the start.
func (p *process) kept() string {
	if !stompserver.Durable(p.settings.Config.Queue) {
		return "messages are lost on restart; keep them with -q journal"
	}
	st := p.server.Stats()
	return fmt.Sprintf("%s in %s, %s", count(st.Ready, "message"), count(st.Queues, "queue"), p.settings.Config.Storage)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// writeOriginal writes the original's lines in the original's order.
func writeOriginal(w io.Writer, s *stompserver.Settings, addrs []net.Addr) {
	if stompserver.Durable(s.Config.Queue) {
		fmt.Fprintf(w, "Queue initialized in %s\n", s.Config.Storage)
	} else {
		fmt.Fprintln(w, "MemoryQueue initialized")
	}
	fmt.Fprintln(w, "TopicManager initialized")
	fmt.Fprintln(w, "QueueManager initialized")
	if s.Config.Auth {
		fmt.Fprintln(w, "Client authorization enabled")
	}
	if s.Config.Debug {
		fmt.Fprintln(w, "Debug enabled")
	}
	host := s.Config.Host
	if !s.Given("host") {
		host = "127.0.0.1" // what the original called its default
	}
	fmt.Fprintf(w, "Stomp protocol handler starting on %s port %d\n", host, port(addrs))
}

func writeBanner(w io.Writer, s *stompserver.Settings, addrs, http []net.Addr, kept string, color bool, pid int, took time.Duration) {
	bold, warn, off := "", "", ""
	if color {
		bold, warn, off = "\x1b[1m", "\x1b[33m", "\x1b[0m"
	}
	line := func(what, value, note string) {
		if note == "" {
			fmt.Fprintf(w, "  %-10s %s\n", what, value)
			return
		}
		fmt.Fprintf(w, "  %-10s %-29s %s\n", what, value, note)
	}
	title := "stompserver " + version
	fmt.Fprintf(w, "%s%s%s%*s\n", bold, title, off, 70-len(title), fmt.Sprintf("pid %d", pid))
	line("STOMP", "stomp://"+shown(addrs[0]), "versions 1.0, 1.1, 1.2")
	line("WebSocket", "ws://"+shown(addrs[0])+"/ws", "for stompjs")
	if s.Config.TLS.Cert != "" {
		line("TLS", "on the same port", "stomp+tls and wss, certificate "+s.Config.TLS.Cert)
	}
	if len(http) > 0 {
		line("HTTP", "http://"+shown(http[0])+"/", "PUT and GET /queue/NAME, health at /healthz")
	}
	line("Storage", s.Config.Queue, kept)
	switch loop := stompserver.Loopback(s.Config.Host); {
	case !loop && !s.Config.Auth:
		line("Access", fmt.Sprintf("%s%-29s%s", warn, "any machine, no login", off), "anyone who reaches this port may use it; ask for logins with -a")
	case loop && !s.Config.Auth:
		line("Access", "this machine only, no login", "open it with -b ADDR and -a")
	case loop:
		line("Access", "this machine, with login", "open it with -b ADDR")
	default:
		line("Access", "any machine, with login", "")
	}
	if s.Config.Debug {
		line("Debug", "frames are logged", "")
	}
	if s.LogFile != "" {
		line("Log", s.LogFile, "")
	}
	const send, subscribe = "stompserver send /queue/hello hi", "stompserver subscribe /queue/hello"
	if with := reaching(s, addrs[0].(*net.TCPAddr)); with == "" {
		line("Try", send+"      "+subscribe, "")
	} else {
		line("Try", send+with, "")
		line("", subscribe+with, "")
	}
	fmt.Fprintf(w, "ready in %d ms, Ctrl-C to stop\n", took.Milliseconds())
}

// reaching are the flags with which the commands reach a server that listens at a, and are let in.
func reaching(s *stompserver.Settings, a *net.TCPAddr) (with string) {
	const their = 61613 // at 127.0.0.1, without flags
	at := shown(a)
	switch {
	case a.Port == their && (a.IP.IsUnspecified() || a.IP.Equal(net.IPv4(127, 0, 0, 1))):
	case a.IP.To4() == nil && !a.IP.IsUnspecified():
		with = " --server '" + at + "'" // brackets mean something to a shell
	default:
		with = " --server " + at
	}
	if s.Config.Auth {
		with += " --login NAME"
	}
	return with
}

// shown is an address that a client on this machine can use.
func shown(a net.Addr) string {
	t := a.(*net.TCPAddr)
	if t.IP.IsUnspecified() {
		host, err := os.Hostname()
		if err != nil {
			host = "localhost"
		}
		return fmt.Sprintf("%s:%d", host, t.Port)
	}
	return t.String()
}

func port(addrs []net.Addr) int { return addrs[0].(*net.TCPAddr).Port }
