package stompserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stompserver/internal/auth"
)

// LDAP is the directory whose users log in. In UserDN, Filter and Groups.Filter {username} stands
// for the login, and in Groups.Filter {dn} for the name of the user's entry. Without URLs there is
// none.
type LDAP struct {
	URLs     []string // ldaps://HOST, ldap://HOST, ldapi:///FILE; tried in their order
	StartTLS bool     // on ldap://
	CA       string   // file of those who sign the certificates of the servers; default the system's

	BindDN, BindPasscodeFile string // who searches; default nobody

	Base, Filter string // where users are, and which; default (uid={username})
	UserDN       string // in place of both
	Name         string // the attribute with the user's name; default the one compared with {username}

	Groups LDAPGroups

	Timeout time.Duration // default 5 s
	Cache   time.Duration // default 1 minute; negative: none
	Recheck time.Duration // how often who is connected is looked up again; default 5 minutes, negative: never
}

// LDAPGroups says which groups are roles of their members. Without Base and MemberOf there are
// none.
type LDAPGroups struct {
	Base      string
	Filter    string // default (|(member={dn})(uniqueMember={dn})(memberUid={username}))
	Attribute string // with the name of a group; default cn
	MemberOf  string // the attribute of a user that names its groups
	Prefix    string // of the groups that count; default stompserver., "none" for all
}

// directorySettings are the settings of LDAP.
var directorySettings = []*Setting{
	Setting{Key: "ldap.url", Restart: true, Doc: "addresses of a directory whose users log in, tried in turn: ldaps://HOST, ldap://HOST, ldapi:///FILE"}.of(aList).with(
		setLDAP, func(s *Settings) string { return inBrackets(s.Config.LDAP.URLs) }),
	Setting{Key: "ldap.start_tls", Restart: true, Doc: "whether TLS is begun on ldap://"}.flag(func(s *Settings) *bool { return &s.Config.LDAP.StartTLS }),
	Setting{Key: "ldap.ca", Restart: true, Doc: "file of the certificates that sign those of the directory, in PEM; empty: those of the system"}.text(func(s *Settings) *string { return &s.Config.LDAP.CA }),
	Setting{Key: "ldap.bind_dn", Restart: true, Doc: "who searches in the directory; empty: nobody, or with user_dn the user"}.text(func(s *Settings) *string { return &s.Config.LDAP.BindDN }),
	Setting{Key: "ldap.bind_passcode_file", Restart: true, Doc: "file with its passcode in one line; relative to working_dir"}.text(func(s *Settings) *string { return &s.Config.LDAP.BindPasscodeFile }),
	Setting{Key: "ldap.base", Restart: true, Doc: "the entry below which users are"}.text(func(s *Settings) *string { return &s.Config.LDAP.Base }),
	Setting{Key: "ldap.filter", Restart: true, Doc: "the filter that finds a user; {username} is the login; empty is (uid={username})"}.text(func(s *Settings) *string { return &s.Config.LDAP.Filter }),
	Setting{Key: "ldap.user_dn", Restart: true, Doc: "the name of a user's entry, in place of base and filter, such as uid={username},ou=people,dc=example,dc=org"}.text(func(s *Settings) *string { return &s.Config.LDAP.UserDN }),
	Setting{Key: "ldap.name", Restart: true, Doc: "the attribute with the user's name; empty is the one that is compared with {username}"}.text(func(s *Settings) *string { return &s.Config.LDAP.Name }),
	Setting{Key: "ldap.groups.base", Restart: true, Doc: "the entry below which groups are that are roles"}.text(func(s *Settings) *string { return &s.Config.LDAP.Groups.Base }),
	Setting{Key: "ldap.groups.filter", Restart: true, Doc: "the filter that finds the groups of a user, whose entry is {dn}; empty finds those with a member, uniqueMember or memberUid"}.text(func(s *Settings) *string { return &s.Config.LDAP.Groups.Filter }),
	Setting{Key: "ldap.groups.attribute", Restart: true, Doc: "the attribute with the name of a group"}.text(func(s *Settings) *string { return &s.Config.LDAP.Groups.Attribute }),
	Setting{Key: "ldap.groups.member_of", Restart: true, Doc: "the attribute of a user's entry that has its groups, such as memberOf"}.text(func(s *Settings) *string { return &s.Config.LDAP.Groups.MemberOf }),
	Setting{Key: "ldap.groups.prefix", Restart: true, Doc: "what the groups that count begin with, which is taken off; none: all count"}.text(func(s *Settings) *string { return &s.Config.LDAP.Groups.Prefix }),
	Setting{Key: "ldap.timeout", Restart: true, Doc: "time that the directory has for each step"}.span(func(s *Settings) *time.Duration { return &s.Config.LDAP.Timeout }),
	Setting{Key: "ldap.cache", Restart: true, Doc: "time for which a login that succeeded is not asked about again; 0: each time"}.span(func(s *Settings) *time.Duration { return &s.Config.LDAP.Cache }),
	Setting{Key: "ldap.recheck", Restart: true, Doc: "how often users who are connected are looked up again; 0: at a HUP only"}.span(func(s *Settings) *time.Duration { return &s.Config.LDAP.Recheck }),
}

// on reports whether there is a directory.
func (l *LDAP) on() bool { return len(l.URLs) > 0 }

// roles reports whether its groups are roles.
func (l *LDAP) roles() bool { return l.on() && (l.Groups.Base != "" || l.Groups.MemberOf != "") }

func (l *LDAP) withDefaults() {
	def(&l.Groups.Attribute, "cn")
	def(&l.Groups.Prefix, "stompserver.")
	def(&l.Timeout, 5*time.Second)
	def(&l.Cache, time.Minute)
	def(&l.Recheck, 5*time.Minute)
}

func setLDAP(s *Settings, v string) error {
	if !strings.HasPrefix(v, "[") {
		v = inBrackets(strings.Fields(v))
	}
	urls, err := parseWords(v)
	for _, text := range urls {
		if err == nil {
			_, err = auth.ParseDirectoryURL(text)
		}
	}
	if err == nil {
		s.Config.LDAP.URLs = urls
	}
	return err
}

// directory is what auth needs to know of LDAP.
func (c *Config) directory() auth.DirectoryConfig {
	l := c.LDAP
	d := auth.DirectoryConfig{
		URLs: l.URLs, StartTLS: l.StartTLS, CA: l.CA, BindDN: l.BindDN, BindFile: l.BindPasscodeFile,
		Base: l.Base, Filter: l.Filter, UserDN: l.UserDN, Name: l.Name,
		Groups:  auth.GroupConfig(l.Groups),
		Timeout: l.Timeout, Cache: max(l.Cache, 0), Log: c.Log,
	}
	if l.UserDN == "" {
		d.Filter = cmp.Or(l.Filter, "(uid={username})")
	}
	if d.Groups.Prefix == "none" {
		d.Groups.Prefix = ""
	}
	return d
}

// OpenDirectory is the directory whose users log in; nil: there is none.
func (c Config) OpenDirectory() (*auth.Directory, error) {
	if !c.LDAP.on() {
		return nil, nil
	}
	c = c.withDefaults()
	d, err := c.directory().OpenDirectory()
	if err != nil {
		return nil, fmt.Errorf("ldap: %w", err)
	}
	return d, nil
}

// checkLDAP says what is wrong with the settings of the directory when all are known.
func (l *loader) checkLDAP() {
	c := &l.s.Config
	if !c.LDAP.on() {
		if l.wrong["ldap.url"] {
			return
		}
		plain := defaultSettings(l.Dir, l.Version)
		for _, t := range directorySettings {
			if t.Value(l.s) != t.Value(plain) {
				l.problem(l.s.sources[t.Key], "%s is set, but there is no ldap.url", t.Key)
				return
			}
		}
		return
	}
	src := l.s.sources["ldap.url"]
	if err := c.directory().Check(); err != nil {
		l.problem(src, "ldap: %v", err)
	}
	clear := func(text string) bool {
		u, err := auth.ParseDirectoryURL(text)
		return err == nil && u.Scheme == "ldap" && !c.LDAP.StartTLS && !loopback(u.Hostname())
	}
	if i := slices.IndexFunc(c.LDAP.URLs, clear); i >= 0 {
		l.warn("%s: passcodes cross the network to %s in the clear: use ldaps:// or ldap.start_tls", src, c.LDAP.URLs[i])
	}
}

// UserRoles asks the directory for the roles of a user, who need not log in for it; nil if it has
// no say in them. The error is auth.ErrDenied where neither the password file nor the directory
// knows the user, and auth.ErrAway where the directory does not answer.
func (c Config) UserRoles(ctx context.Context, user string) ([]string, error) {
	c = c.withDefaults()
	if !c.Auth || !c.LDAP.roles() {
		return nil, nil
	}
	file, err := auth.Config{AllowEmpty: c.AllowEmptyPasswords, Users: c.logins(), Others: true}.OpenPasswd(c.PasswdFiles...)
	if err != nil || file.Lists(user) {
		return nil, err
	}
	d, err := c.OpenDirectory()
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if !d.CanRefresh() {
		return nil, errors.New("the directory is asked by users for themselves alone (ldap.user_dn without ldap.bind_dn): their roles are not known here")
	}
	id, err := d.Lookup(ctx, user)
	if err != nil {
		return nil, err
	}
	roles := []string{}
	for _, r := range id.Grant.Roles {
		if r != auth.NoRole {
			roles = append(roles, r)
		}
	}
	return roles, nil
}

// watchDirectory looks up now and then who is connected, and at a Reload. Called with mu held.
func (s *Server) watchDirectory(ctx context.Context) {
	var tick <-chan time.Time
	if s.cfg.LDAP.Recheck > 0 {
		t := time.NewTicker(s.cfg.LDAP.Recheck)
		defer t.Stop()
		tick = t.C
	}
	if err := s.directory.Ping(ctx); err != nil && ctx.Err() == nil {
		s.cfg.Log.Warn("directory of users is not to be used: until it is nobody of it can log in", "err", err)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case <-s.lookUp:
			s.directory.Forget()
		}
		err := s.directory.Refresh(ctx, s.sessions.Users())
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.cfg.Log.Warn("users who are connected could not be looked up in the directory, they stay", "err", err)
		}
		s.sessions.Recheck()
	}
}
