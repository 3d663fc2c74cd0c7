package stompserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Sockets are listeners that this process was given: by the one before it, which made room for it
// without closing them, or by a supervisor such as systemd. A Server takes those it has a use
// for. They belong to one Server.
type Sockets struct {
	byKey map[string]*os.File // of the process before, by what was asked for
	stomp []*os.File          // of the supervisor, in place of those of host and port
	http  []*os.File          // of those of http.listen

	restarted bool // there was a process before
}

const (
	// socketsMark names the variable that tells a process which sockets it has, as pairs of a
	// number and a key.
	socketsMark = "_STOMPSERVER_SOCKETS"

	firstSocket = 3 // of a supervisor (sd_listen_fds(3))
)

// GivenSockets reads the environment of the process. It is to be called once, before anything
// opens files. Nil: there are none.
func GivenSockets() *Sockets {
	k := &Sockets{byKey: make(map[string]*os.File)}
	for line := range strings.SplitSeq(os.Getenv(socketsMark), "\n") {
		if fd, key, ok := strings.Cut(line, " "); ok {
			if n, err := strconv.Atoi(fd); err == nil {
				k.byKey[key] = os.NewFile(uintptr(n), key)
			}
		}
	}
	_, k.restarted = os.LookupEnv(socketsMark)
	os.Unsetenv(socketsMark)
	if pid, err := strconv.Atoi(os.Getenv("LISTEN_PID")); err == nil && pid == os.Getpid() {
		n, _ := strconv.Atoi(os.Getenv("LISTEN_FDS"))
		names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
		for i := range n {
			name := ""
			if i < len(names) {
				name = names[i]
			}
			f := os.NewFile(uintptr(firstSocket+i), name)
			if name == "http" {
				k.http = append(k.http, f)
			} else {
				k.stomp = append(k.stomp, f)
			}
		}
		for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
			os.Unsetenv(name)
		}
	}
	if len(k.byKey)+len(k.stomp)+len(k.http) == 0 && !k.restarted {
		return nil
	}
	return k
}

// Restarted reports whether this process has taken the place of one of its kind.
func (k *Sockets) Restarted() bool { return k != nil && k.restarted }

// An opener opens the listeners of a server, or takes those that are there, and remembers what
// each was asked for by.
type opener struct {
	given *Sockets // nil: none
	keys  map[net.Listener]string
}

// listen opens what a part of the server asks for; part tells apart those that ask for any port.
func (o *opener) listen(ctx context.Context, part, network, addr string) (net.Listener, error) {
	key := part + " " + network + " " + addr
	l, err := o.inherited(key)
	if l == nil && err == nil {
		l, err = new(net.ListenConfig).Listen(ctx, network, addr)
	}
	if err == nil {
		o.note(l, key)
	}
	return l, err
}

func (o *opener) note(l net.Listener, key string) {
	if o.keys == nil {
		o.keys = make(map[net.Listener]string)
	}
	o.keys[l] = key
}

func (o *opener) inherited(key string) (net.Listener, error) {
	if o.given == nil || o.given.byKey[key] == nil {
		return nil, nil
	}
	f := o.given.byKey[key]
	delete(o.given.byKey, key)
	return fromFile(f)
}

// activated are the supervisor's sockets for a part.
func (o *opener) activated(part string) (all []net.Listener, err error) {
	if o.given == nil {
		return nil, nil
	}
	files := &o.given.stomp
	if part == "http" {
		files = &o.given.http
	}
	for _, f := range *files {
		l, err := fromFile(f)
		if err != nil {
			for _, l := range all {
				_ = l.Close()
			}
			return nil, fmt.Errorf("the socket of the supervisor: %w", err)
		}
		all = append(all, l)
	}
	*files = nil
	return all, nil
}

func fromFile(f *os.File) (net.Listener, error) {
	defer f.Close() // FileListener has its own
	return net.FileListener(f)
}

// rest closes what nobody asked for: an address that is no longer listened on.
func (o *opener) rest() {
	if o.given == nil {
		return
	}
	for _, f := range o.given.byKey {
		_ = f.Close()
	}
	o.given.byKey = nil
}

// KeepSockets has the listeners outlive the server: after its Shutdown clients that come wait,
// until the next process serves them, which is given the files and the environment. It is to be
// called once, right before Shutdown.
func (s *Server) KeepSockets() (files []*os.File, env func(fds []uintptr) string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []string
	for _, l := range s.allListeners() {
		key, ok := s.opener.keys[l]
		file, can := l.(interface{ File() (*os.File, error) })
		if !ok || !can {
			continue // the next process opens it anew
		}
		f, err := file.File()
		if err != nil {
			for _, f := range files {
				_ = f.Close()
			}
			return nil, nil, err
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		files, keys = append(files, f), append(keys, key)
	}
	s.succeeded = true
	return files, func(fds []uintptr) string {
		lines := make([]string, len(fds))
		for i, fd := range fds {
			lines[i] = fmt.Sprintf("%d %s", fd, keys[i])
		}
		return socketsMark + "=" + strings.Join(lines, "\n")
	}, nil
}

// allListeners are those of STOMP and HTTP. Called with mu held.
func (s *Server) allListeners() []net.Listener {
	var all []net.Listener
	for _, p := range s.listeners {
		all = append(all, p.Listener)
	}
	return append(all, s.doors...)
}
