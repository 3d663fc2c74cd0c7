package stompserver

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"stompserver/internal/auth"
	"stompserver/internal/rights"
)

// A User is one that the configuration names, beside those of the password file.
type User struct {
	Name string

	// Passcode is a hash, as `stompserver passwd hash` makes one, and PasscodeFile a file that
	// holds a hash or a passcode in one line. Without both the password file has the passcode.
	Passcode, PasscodeFile string

	// Allow are rules of what the user may do, such as "write /queue/jobs.*"; the first that fits
	// counts, and after them those of Roles in their order. Without both it is the role default.
	Allow []string
	Roles []string
}

// A Role is rules for all users who have it: admin, operator and monitor are there without being
// named. That of the name default, which lets do everything unless it is set, is of the users for
// whom nothing is said.
type Role struct {
	Name  string
	Allow []string
}

// accessSettings are the settings of who may do what.
var accessSettings = []*Setting{
	Setting{Key: "users", Doc: "users and their rights: {name: NAME, passcode: HASH or passcode_file: FILE, allow: [RULE], roles: [ROLE]}"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.Users, err = parseUsers(v); return err },
		func(s *Settings) string { return formatUsers(s.Config.Users) }),
	Setting{Key: "roles", Doc: "rights that users have in common: {name: NAME, allow: [RULE]}; that of the name default is for users without any"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.Roles, err = parseRoles(v); return err },
		func(s *Settings) string { return formatRoles(s.Config.Roles) }),
	Setting{Key: "anonymous.allow", Doc: "rights of clients without a login: a list of rules such as \"read /topic/news.>\"; without any they are not let in"}.of(aList).with(
		func(s *Settings, v string) error {
			words, err := parseWords(v)
			if err == nil {
				_, err = rights.ParseRules(words)
			}
			if err == nil {
				s.Config.Anonymous = words
			}
			return err
		},
		func(s *Settings) string { return inBrackets(s.Config.Anonymous) }),

	Setting{Key: "jwt.keys", Restart: true, Doc: "files of keys whose tokens log in: public keys in PEM, or secrets; relative to working_dir"}.of(aList).with(
		func(s *Settings, v string) (err error) { s.Config.JWT.Keys, err = parseWords(v); return err },
		func(s *Settings) string { return inBrackets(s.Config.JWT.Keys) }),
	Setting{Key: "jwt.jwks", Restart: true, Doc: "address of a key set whose tokens log in"}.with(setJWKS, func(s *Settings) string { return s.Config.JWT.JWKS }),
	Setting{Key: "jwt.issuer", Restart: true, Doc: "the claim iss that a token needs; empty is any"}.text(func(s *Settings) *string { return &s.Config.JWT.Issuer }),
	Setting{Key: "jwt.audience", Restart: true, Doc: "what the claim aud of a token has to name; empty is any"}.text(func(s *Settings) *string { return &s.Config.JWT.Audience }),
	Setting{Key: "jwt.user", Restart: true, Doc: "the claim with the user's name"}.text(func(s *Settings) *string { return &s.Config.JWT.User }),
	Setting{Key: "jwt.roles", Restart: true, Doc: "the claim with roles, such as scope or realm_access.roles; empty: roles are those of users"}.text(func(s *Settings) *string { return &s.Config.JWT.Roles }),
	Setting{Key: "jwt.role_prefix", Restart: true, Doc: "what the roles in tokens that count begin with"}.text(func(s *Settings) *string { return &s.Config.JWT.RolePrefix }),
	Setting{Key: "jwt.grace", Doc: "time for another token once one has expired, before its connection is ended"}.span(func(s *Settings) *time.Duration { return &s.Config.JWT.Grace }),
}

// JWT is which tokens, JSON Web Tokens in place of a passcode, log in. Without Keys and JWKS none do.
type JWT struct {
	Keys       []string      // files
	JWKS       string        // https://..., or http:// of this machine
	Issuer     string        // default: any
	Audience   string        // default: any
	User       string        // default sub
	Roles      string        // default "": tokens say nothing of roles
	RolePrefix string        // default stompserver.
	Grace      time.Duration // default 10 s
}

// on reports whether tokens are asked for.
func (j *JWT) on() bool { return len(j.Keys) > 0 || j.JWKS != "" }

func setJWKS(s *Settings, v string) error {
	u, err := url.Parse(v)
	switch {
	case strings.Contains(v, "@"):
		return errors.New("an address of a key set has no login in it: the configuration is no place for a passcode")
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%q is not the address of a key set, such as https://login.example.org/jwks.json", v)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("%q is fetched in the clear: whoever is on the way could log in as anybody; it needs https", v)
	}
	s.Config.JWT.JWKS = v
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// tokens opens the authenticator of tokens; nil: there is none.
func (c *Config) tokens() (*auth.Tokens, error) {
	j := c.JWT
	if !j.on() {
		return nil, nil
	}
	return auth.TokenConfig{
		Keys: j.Keys, JWKS: j.JWKS, Issuer: j.Issuer, Audience: j.Audience, User: j.User, Roles: j.Roles, Prefix: j.RolePrefix, Log: c.Log,
	}.OpenTokens()
}

func parseUsers(text string) ([]User, error) {
	var list []struct {
		Name         string
		Passcode     string
		PasscodeFile string `yaml:"passcode_file"`
		Allow, Roles []string
	}
	if err := yaml.Load([]byte(text), &list, yaml.WithKnownFields()); err != nil {
		return nil, errors.New(`it is not a list of users such as {name: app, allow: ["write /queue/jobs.*"]}; known are name, passcode, passcode_file, allow and roles`)
	}
	var all []User
	for i, one := range list {
		u := User(one)
		if err := u.check(); err != nil {
			return nil, &itemError{"user", i + 1, err}
		}
		if slices.ContainsFunc(all, func(o User) bool { return o.Name == u.Name }) {
			return nil, &itemError{"user", i + 1, fmt.Errorf("%s is there already", u.Name)}
		}
		all = append(all, u)
	}
	return all, nil
}

func (u User) check() error {
	if err := auth.CheckLogin(u.Name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	if u.Passcode != "" && u.PasscodeFile != "" {
		return fmt.Errorf("%s has both passcode and passcode_file", u.Name)
	}
	if u.Passcode != "" {
		kind, err := auth.KindOf(u.Passcode)
		switch {
		case err != nil:
			return fmt.Errorf("%s: passcode: %w", u.Name, err)
		case kind == auth.Plain:
			return fmt.Errorf("%s: passcode is no hash; make one with: stompserver passwd hash", u.Name)
		}
	}
	if _, err := rights.ParseRules(u.Allow); err != nil {
		return fmt.Errorf("%s: allow: %w", u.Name, err)
	}
	return nil
}

func parseRoles(text string) ([]Role, error) {
	var list []Role
	if err := yaml.Load([]byte(text), &list, yaml.WithKnownFields()); err != nil {
		return nil, errors.New(`it is not a list of roles such as {name: shop, allow: ["write /queue/jobs.*"]}`)
	}
	seen := make(map[string]bool)
	for i, r := range list {
		switch {
		case r.Name == "":
			return nil, &itemError{"role", i + 1, errors.New("it has no name")}
		case seen[r.Name]:
			return nil, &itemError{"role", i + 1, fmt.Errorf("%s is there already", r.Name)}
		}
		seen[r.Name] = true
		if _, err := rights.ParseRules(r.Allow); err != nil {
			return nil, fmt.Errorf("role %s: allow: %w", r.Name, err)
		}
	}
	return list, nil
}

// formatUsers is without what a passcode is made of.
func formatUsers(all []User) string {
	var words []string
	for _, u := range all {
		w := "{name: " + quotedYAML(u.Name)
		if u.Passcode != "" {
			w += `, passcode: "***"`
		}
		if u.PasscodeFile != "" {
			w += ", passcode_file: " + quotedYAML(u.PasscodeFile)
		}
		w += listed("allow", u.Allow) + listed("roles", u.Roles)
		words = append(words, w+"}")
	}
	return inBrackets(words)
}

func formatRoles(all []Role) string {
	var words []string
	for _, r := range all {
		words = append(words, "{name: "+quotedYAML(r.Name)+listed("allow", r.Allow)+"}")
	}
	return inBrackets(words)
}

func listed(name string, all []string) string {
	if len(all) == 0 {
		return ""
	}
	return ", " + name + ": " + inBrackets(all)
}

// policy is what c says of rights; nil: everybody may do everything.
func (c *Config) policy() (*rights.Policy, error) {
	p := &rights.Policy{Separators: c.Destinations.separators(), Users: make(map[string]rights.Grant), Roles: make(map[string][]rights.Rule)}
	var err error
	rules := func(texts []string) []rights.Rule {
		all, e := rights.ParseRules(texts)
		err = errors.Join(err, e)
		return all
	}
	for _, u := range c.Users {
		if len(u.Allow)+len(u.Roles) > 0 {
			p.Users[u.Name] = rights.Grant{Allow: rules(u.Allow), Roles: u.Roles}
		}
	}
	for _, r := range c.Roles {
		p.Roles[r.Name] = rules(r.Allow)
	}
	p.Anonymous = rules(c.Anonymous)
	if err == nil {
		err = p.Check()
	}
	brought := c.JWT.on() && c.JWT.Roles != "" || c.LDAP.roles()
	if err != nil || len(p.Users)+len(p.Roles)+len(p.Anonymous) == 0 && !brought {
		return nil, err
	}
	return p, nil
}

// logins are the users whose passcodes the configuration has.
func (c *Config) logins() []auth.User {
	var all []auth.User
	for _, u := range c.Users {
		if u.Passcode != "" || u.PasscodeFile != "" {
			all = append(all, auth.User{Name: u.Name, Secret: u.Passcode, File: u.PasscodeFile})
		}
	}
	return all
}

// checkAccess says what is wrong with users, roles and anonymous when all settings are known.
func (l *loader) checkAccess() {
	s := l.s
	key := ""
	switch {
	case len(s.Config.Users) > 0:
		key = "users"
	case len(s.Config.Roles) > 0:
		key = "roles"
	case len(s.Config.Anonymous) > 0:
		key = "anonymous.allow"
	case s.Config.JWT.on():
		key = "jwt.keys"
		if s.Config.JWT.JWKS != "" {
			key = "jwt.jwks"
		}
	case s.Config.LDAP.on():
		key = "ldap.url"
	default:
		return
	}
	src := s.sources[key]
	if !s.Config.Auth && !l.wrong["auth"] {
		l.problem(src, "%s is set, but auth is off: nobody would be asked for a login, and everybody could do everything; set auth: true", key)
	}
	if _, err := s.Config.policy(); err != nil && !l.wrong["roles"] {
		l.problem(src, "%v", err)
	}
}

// A Verdict is the answer to whether a user may do something.
type Verdict struct {
	Allowed bool
	By      string // the rule that says so; "": none does
}

// Asked is who asks for a Verdict.
type Asked struct {
	User      string
	ClientID  string // the header client-id of its CONNECT
	VHost     string // the name of its virtual host; default DefaultVHost
	Anonymous bool   // it does not log in; User and ClientID are of no account

	// Roles are those of a token or of the directory, which stand in for what the configuration
	// says of User; nil: nothing of the kind was said.
	Roles []string
}

// May answers whether who may do action, a word of a rule, with destination, in any spelling, by
// what c says of rights. The error is of a word that is not known, or of a destination.
func (c Config) May(who Asked, action, destination string) (Verdict, error) {
	p, err := c.policy()
	if err != nil {
		return Verdict{}, err
	}
	q, err := rights.ParseQuestion(action, destination)
	if err != nil {
		return Verdict{}, err
	}
	if !c.Auth {
		p = nil
	}
	ok, by := q.Of(p.For(who.client()))
	return Verdict{ok, by}, nil
}

// Knows reports whether a user of that name may be there. Only where tokens, certificates and a directory
// log nobody in is it told from the password file and Users; else anybody may be.
func (c Config) Knows(user string) bool {
	named := slices.ContainsFunc(c.Users, func(u User) bool { return u.Name == user })
	if named || !c.Auth || c.JWT.on() || c.LDAP.on() || c.TLS.LoginFromCert != "" {
		return true
	}
	file, err := auth.Config{AllowEmpty: c.AllowEmptyPasswords, Users: c.logins(), Others: true}.OpenPasswd(c.PasswdFiles...)
	return err != nil || file.Lists(user)
}

// Rules are the rules in force for who, in their order, each behind whose it is.
func (c Config) Rules(who Asked) ([]string, error) {
	p, err := c.policy()
	if err != nil || !c.Auth {
		p = nil
	}
	return p.For(who.client()).Rules(), err
}

func (a Asked) client() rights.Client {
	def(&a.VHost, DefaultVHost)
	c := rights.Client{User: a.User, ID: a.ClientID, Host: a.VHost, Anonymous: a.Anonymous}
	if a.Roles != nil {
		c.Grant.Roles = append([]string{auth.NoRole}, a.Roles...)
	}
	return c
}
