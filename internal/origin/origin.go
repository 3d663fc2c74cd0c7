// Package origin tells requests that a page of another site made a browser send from those of
// this server's own pages and of programs.
//
// A page can have a browser send requests to any address it can reach, this machine's among
// them, and open WebSockets there without asking. The header Origin says where the page is
// from, and where a browser leaves it out Sec-Fetch-Site does. A name that an attacker points at
// this machine makes his page one of the same site; the header Host shows it, and matters where
// no login stands before the rest.
package origin

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Guard says which requests are not to be answered. It may be used from any goroutine.
type Guard struct {
	Login   bool        // clients need a login
	Open    func() bool // but some have none, at the moment; nil: they have
	Hosts   []string    // names of this machine that are allowed in the header Host without a login
	Origins []string    // pages that are allowed beside those of the same host: "https://app.example.org", or "*" for all
}

// Refuse says why r is not to be answered, for people; empty: nothing is wrong.
func (g *Guard) Refuse(r *http.Request) string {
	host := hostName(r.Host)
	if (!g.Login || g.Open != nil && g.Open()) && !g.known(host) {
		return "The server is not known by the name " + quoted(host) + ". Without logins it answers to its addresses and to localhost."
	}
	if origins, ok := r.Header["Origin"]; ok {
		if len(origins) != 1 || !g.allowed(origins[0], host) {
			return "A page of another site asked for this."
		}
		return ""
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return "A page of another site asked for this."
	}
	return ""
}

func (g *Guard) allowed(origin, host string) bool {
	return sameSite(origin, host) || slices.ContainsFunc(g.Origins, func(o string) bool {
		return o == "*" || strings.EqualFold(strings.TrimSuffix(o, "/"), origin)
	})
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
func (g *Guard) known(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil || loopback(host) {
		return true
	}
	return slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(h, host) })
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

func quoted(s string) string { return strconv.QuoteToASCII(s[:min(len(s), 80)]) }
