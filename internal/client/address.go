package client

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// DefaultPort is that of STOMP.
const DefaultPort = "61613"

// An Address says where a server is, and as whom to go there.
type Address struct {
	HostPort        string // for the dialer
	Host            string // for the host header: the virtual host
	Login, Passcode string
	Secure          bool   // within TLS
	Path            string // of a WebSocket; "": there is none
}

// An AddressError says what is wrong with the address of a server. It does not repeat a
// passcode.
type AddressError struct{ Text string }

func (e *AddressError) Error() string { return e.Text }

// URL is raw with the scheme that it may lack: host and host:port are stomp://'s.
func URL(raw string) string {
	if raw == "" || strings.Contains(raw, "://") {
		return raw
	}
	if ip, err := netip.ParseAddr(raw); err == nil && ip.Is6() {
		raw = "[" + strings.Replace(raw, "%", "%25", 1) + "]"
	}
	return "stomp://" + raw
}

// ParseAddress reads [stomp://][login:passcode@]host[:port][/vhost]; tcp:// means the same, and
// stomps://, stomp+tls:// and ssl:// are it within TLS. ws:// and wss:// have the path of a WebSocket
// behind the port, /ws if there is none.
// RabbitMQ's default virtual host is written /%2F.
func ParseAddress(raw string) (Address, error) {
	u, err := url.Parse(URL(raw))
	if err != nil || u.Hostname() == "" {
		// err would quote all of raw
		return Address{}, &AddressError{fmt.Sprintf("%q is not like HOST:%s or stomp://HOST:%[2]s", withoutUser(raw), DefaultPort)}
	}
	switch u.Scheme {
	case "stomp", "tcp", "stomps", "stomp+tls", "stomp+ssl", "tls", "ssl", "ws", "wss":
	default:
		return Address{}, &AddressError{fmt.Sprintf("%s:// is unknown: there are stomp://, stomps://, ws:// and wss://", u.Scheme)}
	}
	a := Address{Host: strings.TrimPrefix(u.Path, "/")}
	switch u.Scheme {
	case "stomp", "tcp":
	case "ws", "wss":
		a.Secure, a.Path, a.Host = u.Scheme == "wss", u.RequestURI(), ""
		if u.Path == "" {
			a.Path = "/ws"
		}
	default:
		a.Secure = true
	}
	if a.Host == "" {
		a.Host = u.Hostname()
	}
	port := u.Port()
	if port == "" {
		port = DefaultPort
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return Address{}, &AddressError{fmt.Sprintf("%s is not a port: they go from 1 to 65535", port)}
	}
	a.HostPort = net.JoinHostPort(u.Hostname(), port)
	if u.User != nil {
		a.Login = u.User.Username()
		a.Passcode, _ = u.User.Password()
	}
	return a, nil
}

// withoutUser is raw without what may be a passcode.
func withoutUser(raw string) string {
	if at := strings.LastIndexByte(raw, '@'); at >= 0 {
		return "…" + raw[at:]
	}
	return raw
}
