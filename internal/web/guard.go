package web

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// guard says why a request is not to be answered: a page of another site made a browser send
// it. Empty: nothing is wrong.
//
// A page can have a browser fetch any address without asking, GET among it, which takes a
// message here. The header Origin tells, and where a browser leaves it out Sec-Fetch-Site does.
// A name that an attacker points at this machine makes his page one of the same site; the
// header Host shows it, and matters where no login stands before the rest.
func (d *Door) guard(r *http.Request) string {
	host := hostName(r.Host)
	if !d.cfg.Auth && !d.known(host) {
		return "The server is not known by the name " + quoted(host) + ". Without logins it answers to its addresses and to localhost."
	}
	if origins, ok := r.Header["Origin"]; ok && !(len(origins) == 1 && sameSite(origins[0], host)) {
		return "A page of another site asked for this."
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return "A page of another site asked for this."
	}
	if r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != "" {
		return "A browser wanted this ahead of time; it would take a message."
	}
	return ""
}

// sameSite reports whether an Origin is a page of this server, called host, or of this machine.
func sameSite(origin, host string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Hostname() == "" {
		return false
	}
	name := strings.ToLower(u.Hostname())
	return name == host || loopback(name)
}

// known reports whether nobody but the owner of this machine can have given it that name.
func (d *Door) known(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || loopback(host) {
		return true
	}
	return slices.ContainsFunc(d.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
}

func loopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// hostName is the header Host without port and brackets, in lower case.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
}
