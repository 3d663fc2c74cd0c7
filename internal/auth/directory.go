package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// ErrAway says that nobody could be asked whether a login is right: it may be.
var ErrAway = errors.New("auth: the directory of users does not answer")

// DirectoryConfig says how users of a directory log in, by LDAP version 3 (RFC 4511). In Filter,
// UserDN and Groups.Filter {username} stands for the login; in Groups.Filter {dn} for the name of
// the user's entry.
type DirectoryConfig struct {
	URLs     []string // ldaps://HOST, ldap://HOST or ldapi://FILE; tried in their order
	StartTLS bool     // on ldap://
	CA       string   // file of the certificates that sign those of the servers; "": those of the system

	// BindDN is who searches, with the passcode in the file BindFile; "" is nobody, or with UserDN
	// the user.
	BindDN, BindFile string

	Base   string // below which users are
	Filter string // that finds the entry of a login
	UserDN string // the entry of a login, in place of Base and Filter

	// Name is the attribute that has the user's name, for rights: a login may be spelt in many
	// ways that a directory takes for the same. Default: the first that Filter or UserDN has
	// {username} in.
	Name string

	Groups GroupConfig

	Timeout time.Duration // of each step; default 5 s
	Cache   time.Duration // for which a login that succeeded is not asked about again; 0: each time

	Log *slog.Logger
}

// GroupConfig says which groups of a directory are roles of their members. Without Base and
// MemberOf there are none, and roles are those that the configuration says of users.
type GroupConfig struct {
	Base      string // below which groups are
	Filter    string // that finds those of a user; default DefaultGroupFilter
	Attribute string // with the name of a group; default cn
	MemberOf  string // the attribute of the user's own entry that has its groups
	Prefix    string // of the names that count; it is taken off
}

// DefaultGroupFilter finds the groups of the usual kinds.
const DefaultGroupFilter = "(|(member={dn})(uniqueMember={dn})(memberUid={username}))"

func (g *GroupConfig) on() bool { return g.Base != "" || g.MemberOf != "" }

const (
	maxLinks    = 8                // connections to the directory, at once
	maxProven   = 10_000           // logins that are remembered
	maxGroups   = 1000             // of a user
	maxAsked    = 256              // bytes of a login
	linkTime    = 5 * time.Minute  // after which a connection is made anew: the first of the servers may be back
	downTime    = 2 * time.Second  // for which a server that failed is not tried
	defaultTime = 5 * time.Second  // of Timeout
	sweepTime   = 30 * time.Second // that looking at one user again may take, waiting included
)

// A Directory is an Authenticator that asks an LDAP directory. Few connections are kept, and who
// comes when all are busy waits; a login that succeeded is remembered for a while, under a keyed
// hash, and of many equal ones that come at once one is asked about.
type Directory struct {
	cfg   DirectoryConfig
	urls  []*url.URL
	key   [32]byte      // of the proofs; of this process alone
	slots chan struct{} // one is held while a connection is used

	mu     sync.Mutex // guards what follows
	idle   []*link
	closed bool
	down   []time.Time        // until when a server is not tried
	proven map[proof]known    // logins that succeeded
	asking map[proof]*inquiry // that are under way
	stands map[entryKey]*Identity
}

var _ Authenticator = (*Directory)(nil)

// known is a login that succeeded.
type known struct {
	id    *Identity
	until time.Time
}

// An inquiry is waited for by all who ask the same.
type inquiry struct {
	done chan struct{}
	id   *Identity
	err  error
}

// An entryKey is a user of the directory, as somebody logged in.
type entryKey struct{ dn, login string }

// OpenDirectory looks the configuration over. It asks nobody: a directory that is away is no
// reason not to start.
func (c DirectoryConfig) OpenDirectory() (*Directory, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	d := &Directory{
		cfg: c, slots: make(chan struct{}, maxLinks), down: make([]time.Time, len(c.URLs)),
		proven: make(map[proof]known), asking: make(map[proof]*inquiry), stands: make(map[entryKey]*Identity),
	}
	for _, text := range c.URLs {
		u, err := ParseDirectoryURL(text)
		if err != nil {
			return nil, err
		}
		d.urls = append(d.urls, u)
	}
	rand.Read(d.key[:]) // never fails
	return d, nil
}

// compared finds the attributes that a filter, or a name, compares with the login.
var compared = regexp.MustCompile(`(?:^|[(,+])\s*([A-Za-z][A-Za-z0-9.;-]*)(?::[^=(){}]*)?\s*[~<>:]?=[^(),=]*\{username\}`)

// complete fills in what is not set, and says what is wrong with what is.
func (c *DirectoryConfig) complete() error {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Groups.Filter = cmp.Or(c.Groups.Filter, DefaultGroupFilter)
	c.Groups.Attribute = cmp.Or(c.Groups.Attribute, "cn")
	c.Timeout = cmp.Or(c.Timeout, defaultTime)
	where := c.Filter
	switch {
	case len(c.URLs) == 0:
		return errors.New("there is no url of the directory")
	case c.UserDN != "" && (c.Base != "" || c.Filter != ""):
		return errors.New("user_dn stands in for base and filter: set either")
	case c.UserDN == "" && (c.Base == "" || c.Filter == ""):
		return errors.New("users are found by base and filter, or by user_dn: neither is there")
	case (c.BindDN == "") != (c.BindFile == ""):
		return errors.New("bind_dn and bind_passcode_file belong together, and one is missing")
	case c.UserDN != "":
		if err := checkDN("user_dn", c.UserDN, fill(c.UserDN, ldap.EscapeDN, "x", "")); err != nil {
			return err
		}
		where = c.UserDN
	default:
		if err := checkFilter("filter", c.Filter, fill(c.Filter, ldap.EscapeFilter, "x", "")); err != nil {
			return err
		}
	}
	if !strings.Contains(where, "{username}") {
		return fmt.Errorf("%q would be every user's: it needs {username}, which stands for the login", where)
	}
	if err := checkFilter("groups.filter", c.Groups.Filter, fill(c.Groups.Filter, ldap.EscapeFilter, "x", "cn=x")); err != nil {
		return err
	}
	for name, dn := range map[string]string{"bind_dn": c.BindDN, "base": c.Base, "groups.base": c.Groups.Base} {
		if err := checkDN(name, dn, dn); err != nil {
			return err
		}
	}
	if c.Name == "" {
		m := compared.FindStringSubmatch(where)
		if m == nil {
			return fmt.Errorf("%q does not say which attribute is the user's name: name is needed", where)
		}
		c.Name = m[1]
	}
	return nil
}

// checkDN does so for the name of an entry.
func checkDN(name, written, dn string) error {
	if _, err := ldap.ParseDN(dn); err != nil {
		return fmt.Errorf("%s: %q is not the name of an entry, such as ou=people,dc=example,dc=org", name, written)
	}
	return nil
}

// checkFilter looks at a filter as it is with a user in it, and names it as it was written.
func checkFilter(name, written, filter string) error {
	if _, err := ldap.CompileFilter(filter); err != nil {
		return fmt.Errorf("%s: %q is not a filter, such as (uid={username})", name, written)
	}
	return nil
}

// Check says what is wrong with c.
func (c DirectoryConfig) Check() error {
	_, err := c.OpenDirectory()
	return err
}

// fill puts a login, and the name of its entry, into a template. Each is escaped, so that it stays
// one value whatever is in it.
func fill(template string, escape func(string) string, login, dn string) string {
	return strings.NewReplacer("{username}", escape(login), "{dn}", escape(dn)).Replace(template)
}

// askable reports whether a login is one that a directory may be asked about.
func askable(login string) bool {
	return login != "" && len(login) <= maxAsked && utf8.ValidString(login) && !strings.ContainsFunc(login, unicode.IsControl)
}

// Authenticate is that of Authenticator. An error that is ErrAway says that the login may be
// right.
func (d *Directory) Authenticate(ctx context.Context, login, passcode string) (*Identity, error) {
	// A bind without a passcode succeeds at many a directory, as nobody (RFC 4513, section 5.1.2).
	if passcode == "" || !askable(login) {
		return nil, ErrDenied
	}
	given := prove(&d.key, login, passcode)
	for {
		d.mu.Lock()
		if k, ok := d.proven[given]; ok && time.Now().Before(k.until) {
			d.mu.Unlock()
			return k.id, nil
		}
		q, under := d.asking[given]
		if !under {
			q = &inquiry{done: make(chan struct{})}
			d.asking[given] = q
		}
		d.mu.Unlock()
		if !under {
			d.inquire(ctx, q, given, login, passcode)
			return q.id, q.err
		}
		select {
		case <-q.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !errors.Is(q.err, context.Canceled) && !errors.Is(q.err, context.DeadlineExceeded) {
			return q.id, q.err
		}
		// Whoever asked first has left: somebody else has to.
	}
}

// inquire asks for q, which others may wait for.
func (d *Directory) inquire(ctx context.Context, q *inquiry, given proof, login, passcode string) {
	var id *Identity
	err := d.with(ctx, func(l *link) (err error) {
		id, err = d.ask(l, login, passcode)
		return err
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		q.id = id
		if _, ok := d.stands[id.key()]; ok {
			d.stands[id.key()] = id
		}
		d.remember(given, id)
	}
	q.err = err
	delete(d.asking, given)
	close(q.done)
}

// remember has a login succeed without a question for a while. Called with mu held.
func (d *Directory) remember(given proof, id *Identity) {
	if d.cfg.Cache <= 0 {
		return
	}
	now := time.Now()
	if len(d.proven) >= maxProven {
		maps.DeleteFunc(d.proven, func(_ proof, k known) bool { return !now.Before(k.until) })
		for p := range d.proven { // any
			if len(d.proven) < maxProven {
				break
			}
			delete(d.proven, p)
		}
	}
	d.proven[given] = known{id, now.Add(d.cfg.Cache)}
}

func (id *Identity) key() entryKey { return entryKey{id.dn, id.login} }

// Still is who id is by now, nil if the directory does not know it any more, as far as Refresh has
// found out. It does not wait.
func (d *Directory) Still(id *Identity) *Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	if now, ok := d.stands[id.key()]; ok {
		return now
	}
	return id
}

// CanRefresh reports whether users can be looked up without their passcodes.
func (d *Directory) CanRefresh() bool { return d.cfg.BindDN != "" || d.cfg.UserDN == "" }

// Refresh looks up users who are connected, for Still. What the directory does not answer about
// stays as it was; the error is that of the last such one.
func (d *Directory) Refresh(ctx context.Context, users []*Identity) error {
	if !d.CanRefresh() {
		return nil
	}
	stands := make(map[entryKey]*Identity)
	var failed error
	for _, u := range users {
		if u.dn == "" {
			continue
		}
		if _, ok := stands[u.key()]; ok {
			continue
		}
		now, err := d.again(ctx, u)
		if err != nil {
			failed = err
			now = d.Still(u)
		}
		stands[u.key()] = now
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stands = stands
	maps.DeleteFunc(d.proven, func(_ proof, k known) bool {
		now, ok := stands[k.id.key()]
		return ok && (now == nil || !slices.Equal(now.Grant.Roles, k.id.Grant.Roles))
	})
	return failed
}

// Forget has every login asked about again.
func (d *Directory) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.proven)
}

// ParseDirectoryURL reads the address of a directory. The error is for people.
func ParseDirectoryURL(text string) (*url.URL, error) {
	if file, ok := strings.CutPrefix(text, "ldapi://"); ok { // its file may be written as a host
		file, err := url.PathUnescape(file)
		if err != nil || !strings.HasPrefix(file, "/") {
			return nil, fmt.Errorf("%q names no socket: ldapi:///run/slapd/ldapi does", text)
		}
		return &url.URL{Scheme: "ldapi", Path: file}, nil
	}
	if strings.Contains(text, "@") {
		return nil, errors.New("an address of a directory has no login in it: bind_dn and bind_passcode_file say who searches")
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.Scheme != "ldap" && u.Scheme != "ldaps" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%q is not the address of a directory, such as ldaps://ldap.example.org", text)
	}
	return u, nil
}
