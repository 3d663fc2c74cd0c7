package stompserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// A ListenError says which address could not be listened on.
type ListenError struct {
	Addr string // host:port
	Err  error  // why: syscall.EADDRINUSE, …
	HTTP bool   // it is that of HTTP
}

func (e *ListenError) Error() string { return fmt.Sprintf("cannot listen on %s: %v", e.Addr, e.Err) }

func (e *ListenError) Unwrap() error { return e.Err }

// listenOn opens the listeners of host, one for each of its addresses, all with the same
// port. An address family that the machine lacks is passed over if another is there.
func (o *opener) listenOn(ctx context.Context, part, host string, port int) ([]net.Listener, error) {
	port = max(port, 0) // AnyPort
	hosts, err := addresses(ctx, host)
	if err != nil {
		return nil, &ListenError{Addr: net.JoinHostPort(host, strconv.Itoa(port)), Err: err}
	}
	// A port that is free on the first address may be taken on the second: then the next
	// try is given another.
	for try := 0; ; try++ {
		all, err := o.listenAll(ctx, part, hosts, port)
		if err == nil || port != 0 || try == 20 || !errors.Is(err, syscall.EADDRINUSE) {
			return all, err
		}
	}
}

func (o *opener) listenAll(ctx context.Context, part string, hosts []string, port int) ([]net.Listener, error) {
	var all []net.Listener
	var missing error
	for _, h := range hosts {
		addr := net.JoinHostPort(h, strconv.Itoa(port))
		network := "tcp"
		if ip, err := netip.ParseAddr(h); err == nil && ip.Is4() {
			network = "tcp4" // Go opens 0.0.0.0 for IPv6 as well
		}
		l, err := o.listen(ctx, part, network, addr)
		switch {
		case err == nil:
			all = append(all, l)
			port = l.Addr().(*net.TCPAddr).Port
			continue
		case len(hosts) > 1 && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)):
			missing = &ListenError{Addr: addr, Err: reason(err)}
			continue
		}
		for _, l := range all {
			l.Close()
		}
		return nil, &ListenError{Addr: addr, Err: reason(err)}
	}
	if len(all) == 0 {
		return nil, missing
	}
	return all, nil
}

// addresses are those that host stands for.
func addresses(ctx context.Context, host string) ([]string, error) {
	switch host {
	case "*":
		return []string{""}, nil
	case "localhost":
		return []string{"127.0.0.1", "::1"}, nil
	}
	if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return []string{host}, nil
	}
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		var dns *net.DNSError
		if errors.As(err, &dns) {
			err = errors.New(dns.Err)
		}
		return nil, err
	}
	return found, nil
}

// reason is err without what net puts around it.
func reason(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Loopback reports whether host can be reached from this machine only.
func Loopback(host string) bool {
	all, err := addresses(context.Background(), host)
	if err != nil {
		return false
	}
	for _, a := range all {
		if ip, err := netip.ParseAddr(a); err != nil || !ip.IsLoopback() {
			return false
		}
	}
	return true
}
