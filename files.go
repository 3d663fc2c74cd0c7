package stompserver

import (
	"crypto/tls"
	"fmt"
	"os"
)

// FileWarnings are lines on files that s names and a server could not use as they are here and now.
// They may be there where the server runs, so they are no problems of s.
func (s *Settings) FileWarnings() (lines []string) {
	c := &s.Config
	tell := func(key string, err error) {
		lines = append(lines, fmt.Sprintf("%s: %s: %v", s.Source(settingByKey[key]), key, err))
	}
	readable := func(key, path string) bool {
		if path == "" {
			return false
		}
		f, err := os.Open(path)
		if err != nil {
			tell(key, fmt.Errorf("%s: %w", path, cause(err)))
			return false
		}
		_ = f.Close()
		return true
	}
	pair := func(certKey, cert, keyKey, key string) {
		there := readable(certKey, cert)
		if readable(keyKey, key) && there {
			if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
				tell(certKey, fmt.Errorf("%s with %s: %w", cert, key, err))
			}
		}
	}
	pair("tls.cert", c.TLS.Cert, "tls.key", c.TLS.Key)
	for _, p := range c.TLS.More {
		pair("tls.certificates", p.Cert, "tls.certificates", p.Key)
	}
	readable("tls.client_ca", c.TLS.ClientCA)
	readable("tls.acme.ca", c.TLS.ACME.CA)
	for _, u := range c.Users {
		readable("users", u.PasscodeFile)
	}
	for _, key := range c.JWT.Keys {
		readable("jwt.keys", key)
	}
	readable("ldap.ca", c.LDAP.CA)
	readable("ldap.bind_passcode_file", c.LDAP.BindPasscodeFile)
	if c.Queue == "activerecord" {
		readable("dbyml", c.DatabaseYML)
	}
	return lines
}
