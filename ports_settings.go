package stompserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// portSettings are the settings of what is listened on, and how.
var portSettings = []*Setting{
	Setting{Key: "tls.cert", Doc: "file of the server's certificate and those it is signed by, in PEM; relative to working_dir"}.text(func(s *Settings) *string { return &s.Config.TLS.Cert }),
	Setting{Key: "tls.key", Doc: "file of its private key, in PEM"}.text(func(s *Settings) *string { return &s.Config.TLS.Key }),
	Setting{Key: "tls.certificates", Doc: "further pairs {cert: FILE, key: FILE}, for clients that ask for another name"}.of(aList).with(setPairs, getPairs),
	Setting{Key: "tls.client_ca", Doc: "file of the certificates that sign those of clients"}.text(func(s *Settings) *string { return &s.Config.TLS.ClientCA }),
	Setting{Key: "tls.client_auth", Doc: "whether clients show a certificate: none, want or need"}.word(func(s *Settings) *string { return &s.Config.TLS.ClientAuth }, "none", "want", "need"),
	Setting{Key: "tls.login_from_cert", Restart: true, Doc: "what of its certificate is the login of a client that names none: cn, dn, san, or false"}.with(setLoginFrom, getLoginFrom),
	Setting{Key: "websocket.origins", Restart: true, Doc: "pages that may open a WebSocket beside those of this host, or *"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.Origins, err = parseOrigins(v); return err },
		func(s *Settings) string { return inBrackets(s.Config.Origins) }),
	Setting{Key: "websocket.basic_auth", Restart: true, Doc: "whether login and passcode of a WebSocket's request, by HTTP's Basic authentication, are those of a CONNECT that has none"}.flag(func(s *Settings) *bool { return &s.Config.BasicAuth }),
	Setting{Key: "trusted_proxies", Restart: true, Doc: "networks whose PROXY header is believed"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.TrustedProxies, err = parseNetworks(v); return err },
		func(s *Settings) string { return inBrackets(s.Config.TrustedProxies) }),
	Setting{Key: "listeners", Restart: true, Doc: "further addresses: {address: HOST:PORT or unix:FILE, protocols: [stomp, stomp+tls, ws, wss], trusted_proxies: []}"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.Listeners, err = parseListeners(v); return err },
		func(s *Settings) string { return formatListeners(s.Config.Listeners) }),
}

func setLoginFrom(s *Settings, v string) error {
	v = strings.ToLower(v)
	if err := oneOf(v, "cn", "dn", "san", "false"); err != nil {
		return err
	}
	if v == "false" {
		v = ""
	}
	s.Config.TLS.LoginFromCert = v
	return nil
}

func getLoginFrom(s *Settings) string {
	if s.Config.TLS.LoginFromCert == "" {
		return "false"
	}
	return s.Config.TLS.LoginFromCert
}

func setPairs(s *Settings, v string) error {
	var list []struct{ Cert, Key string }
	if err := yaml.Load([]byte(v), &list, yaml.WithKnownFields()); err != nil {
		return errors.New("it is not a list of pairs such as {cert: server.pem, key: server.key}")
	}
	s.Config.TLS.More = nil
	for i, p := range list {
		if p.Cert == "" || p.Key == "" {
			return &itemError{"pair", i + 1, errors.New("it needs both cert and key")}
		}
		s.Config.TLS.More = append(s.Config.TLS.More, KeyPair(p))
	}
	return nil
}

func getPairs(s *Settings) string {
	var all []string
	for _, p := range s.Config.TLS.More {
		all = append(all, fmt.Sprintf("{cert: %s, key: %s}", quotedYAML(p.Cert), quotedYAML(p.Key)))
	}
	return inBrackets(all)
}

// inBrackets is a list of words as YAML has it in one line.
func inBrackets[T any](all []T) string {
	var words []string
	for _, v := range all {
		w := fmt.Sprint(v)
		if !strings.HasPrefix(w, "{") {
			w = quotedYAML(w)
		}
		words = append(words, w)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func quotedYAML(s string) string {
	var text strings.Builder
	e := json.NewEncoder(&text) // of a string: it does not fail, and YAML reads it
	e.SetEscapeHTML(false)      // > is for people to read
	_ = e.Encode(s)
	return strings.TrimSuffix(text.String(), "\n")
}

func parseWords(v string) ([]string, error) {
	var words []string
	if err := yaml.Unmarshal([]byte(v), &words); err != nil {
		return nil, errors.New("it is not a list of words in brackets")
	}
	return words, nil
}

func parseOrigins(v string) ([]string, error) {
	words, err := parseWords(v)
	for _, w := range words {
		if w != "*" && !strings.HasPrefix(w, "http://") && !strings.HasPrefix(w, "https://") {
			return nil, fmt.Errorf("%q is not the address of a page's site, like https://app.example.org, nor *", w)
		}
	}
	return words, err
}

func parseNetworks(v string) ([]netip.Prefix, error) {
	words, err := parseWords(v)
	if err != nil {
		return nil, err
	}
	all := make([]netip.Prefix, 0, len(words))
	for _, w := range words {
		n, err := netip.ParsePrefix(w)
		if err != nil {
			ip, e := netip.ParseAddr(w)
			if e != nil {
				return nil, fmt.Errorf("%q is neither a network, like 10.0.0.0/8, nor an address", w)
			}
			n = netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen())
		}
		all = append(all, n.Masked())
	}
	return all, nil
}

func parseListeners(v string) ([]Listener, error) {
	var list []map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(v), &list); err != nil {
		return nil, errors.New(`it is not a list of listeners such as {address: ":61614", protocols: [stomp+tls]}`)
	}
	var all []Listener
	for i, one := range list {
		l, err := parseListener(one)
		if err != nil {
			return nil, &itemError{"listener", i + 1, err}
		}
		all = append(all, l)
	}
	return all, nil
}

func parseListener(one map[string]yaml.Node) (l Listener, err error) {
	var text struct {
		Address        string
		Protocols      []string
		TrustedProxies []string
	}
	for name, v := range one {
		switch name {
		case "address":
			err = v.Decode(&text.Address)
		case "protocols":
			err = v.Decode(&text.Protocols)
		case "trusted_proxies":
			err = v.Decode(&text.TrustedProxies)
		default:
			return l, fmt.Errorf("%s is not known; known are address, protocols and trusted_proxies", name)
		}
		if err != nil {
			return l, fmt.Errorf("%s is not what it should be: %w", name, err)
		}
	}
	l.Address = text.Address
	if file, ok := strings.CutPrefix(l.Address, "unix:"); ok {
		if file == "" {
			return l, errors.New("address: unix: names no file")
		}
	} else if _, _, err := splitAddress(l.Address); err != nil {
		return l, fmt.Errorf("address: %q is neither HOST:PORT nor unix:FILE: %w", l.Address, err)
	}
	for _, p := range text.Protocols {
		if err := oneOf(p, "stomp", "stomp+tls", "ws", "wss"); err != nil {
			return l, fmt.Errorf("protocols: %w", err)
		}
		l.Protocols = append(l.Protocols, p)
	}
	if text.TrustedProxies != nil {
		if l.TrustedProxies, err = parseNetworks(inBrackets(text.TrustedProxies)); err != nil {
			return l, fmt.Errorf("trusted_proxies: %w", err)
		}
	}
	return l, nil
}

func formatListeners(all []Listener) string {
	var words []string
	for _, l := range all {
		w := "{address: " + quotedYAML(l.Address)
		if len(l.Protocols) > 0 {
			w += ", protocols: " + inBrackets(l.Protocols)
		}
		if l.TrustedProxies != nil {
			w += ", trusted_proxies: " + inBrackets(l.TrustedProxies)
		}
		words = append(words, w+"}")
	}
	return inBrackets(words)
}

// checkTLS says what is wrong with TLS when all settings are known.
func (l *loader) checkTLS() {
	if key, err := l.s.Config.checkTLS(); err != nil {
		l.problem(l.s.sources[key], "%v", err)
	}
	if t := l.s.Config.TLS; t.on() && t.LoginFromCert != "" && (t.ClientAuth == "" || t.ClientAuth == "none") {
		l.warn("%s: tls.login_from_cert has no effect: tls.client_auth is none", l.s.sources["tls.login_from_cert"])
	}
}

// files are those that t names.
func (t *TLS) files() []*string {
	all := []*string{&t.Cert, &t.Key, &t.ClientCA, &t.ACME.CA, &t.ACME.Cache}
	t.More = slices.Clone(t.More)
	for i := range t.More {
		all = append(all, &t.More[i].Cert, &t.More[i].Key)
	}
	return all
}
