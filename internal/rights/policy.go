package rights

import (
	"fmt"
	"slices"
	"strings"

	"stompserver/internal/pattern"
)

// A Policy says which rules count for whom. It does not change once it is in use; the nil *Policy
// allows everything to everybody.
type Policy struct {
	Users     map[string]Grant
	Roles     map[string][]Rule // DefaultRole among them, if it is not to be everything
	Anonymous []Rule            // of those who do not log in

	Separators pattern.Separators // where names are split into parts
}

// A Grant is what one user was given.
type Grant struct {
	Allow []Rule
	Roles []string // each counts after the one before it, and all after Allow
}

// DefaultRole is the role of users for whom neither rules nor roles are set. Unless a Policy says
// otherwise it may do everything.
const DefaultRole = "default"

// builtin are the roles that there are without being set.
var builtin = map[string][]string{
	"admin": nil, // everything
	"operator": {
		"consume /queue/monitor", "consume /topic/$sys/>", "consume /topic/ActiveMQ.Advisory.>", "write /queue/$sys/stats/>",
		"browse >", "destroy >", "write /queue/$dlq/>", "write /queue/$queue/>", "write /queue/$schedule",
	},
	"monitor": {"consume /queue/monitor", "consume /topic/$sys/>", "consume /topic/ActiveMQ.Advisory.>", "write /queue/$sys/stats/>"},
}

// everything allows all, with the server's own destinations.
var everything = rule{Rule: Rule{Actions: All, Pattern: "everything"}, any: true}

// Check says what is wrong with p: a role that is not there, or that is set and built in.
func (p *Policy) Check() error {
	for name := range p.Roles {
		if _, ok := builtin[name]; ok {
			return fmt.Errorf("the role %s is built in; give yours another name", name)
		}
	}
	for name, g := range p.Users {
		for _, role := range g.Roles {
			if !p.Known(role) {
				return fmt.Errorf("user %s: there is no role %s; there are %s", name, role, strings.Join(p.RoleNames(), ", "))
			}
		}
	}
	return nil
}

// Known reports whether there is a role.
func (p *Policy) Known(role string) bool {
	if p == nil {
		p = new(Policy)
	}
	_, set := p.Roles[role]
	_, is := builtin[role]
	return set || is || role == DefaultRole
}

// RoleNames are the roles that there are, in the order of the alphabet.
func (p *Policy) RoleNames() []string {
	if p == nil {
		p = new(Policy)
	}
	all := []string{DefaultRole}
	for name := range builtin {
		all = append(all, name)
	}
	for name := range p.Roles {
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A Client is who asks.
type Client struct {
	User      string
	Anonymous bool   // it did not log in
	ID        string // the header client-id of its CONNECT
	Host      string // the virtual host that it is a client of

	// Grant is what its login brought along, a token for instance. It stands in for what the
	// Policy says of the user, where it says anything.
	Grant Grant
}

// For returns the rights of a client; nil: it may do everything.
func (p *Policy) For(c Client) *Rights {
	if p == nil {
		return nil
	}
	f := filler{r: &Rights{sep: p.Separators}, c: c}
	if c.Anonymous {
		f.add("anonymous:", p.Anonymous)
		return f.r
	}
	g := p.grant(c)
	f.add("user "+c.User+":", g.Allow)
	for _, role := range g.Roles {
		p.fill(&f, role)
	}
	if len(f.r.rules) > 0 && f.r.rules[0].any {
		return nil // nothing comes before it
	}
	return f.r
}

// grant is what a client that logged in has.
func (p *Policy) grant(c Client) Grant {
	var g Grant
	if p != nil {
		g = p.Users[c.User]
	}
	if len(c.Grant.Allow)+len(c.Grant.Roles) > 0 {
		g = c.Grant
	}
	if len(g.Allow)+len(g.Roles) == 0 {
		g.Roles = []string{DefaultRole}
	}
	return g
}

// Has reports whether a client has one of the roles. Who did not log in has none.
func (p *Policy) Has(c Client, roles []string) bool {
	return !c.Anonymous && slices.ContainsFunc(p.grant(c).Roles, func(role string) bool { return slices.Contains(roles, role) })
}

// Hosts are the virtual hosts that rules are written for.
func (p *Policy) Hosts() []string {
	var all []string
	add := func(rules []Rule) {
		for _, r := range rules {
			if r.Host != "" {
				all = append(all, r.Host)
			}
		}
	}
	for _, g := range p.Users {
		add(g.Allow)
	}
	for _, rules := range p.Roles {
		add(rules)
	}
	add(p.Anonymous)
	slices.Sort(all)
	return slices.Compact(all)
}

// fill adds the rules of a role. One that is not there, which a token may name, has none.
func (p *Policy) fill(f *filler, role string) {
	of := "role " + role + ":"
	rules, set := p.Roles[role]
	texts, is := builtin[role]
	switch {
	case set:
		f.add(of, rules)
	case is && texts != nil:
		rules, err := ParseRules(texts)
		if err != nil {
			panic(err) // of a text in this file
		}
		f.add(of, rules)
	case is, role == DefaultRole:
		all := everything
		all.of = of
		f.r.rules = append(f.r.rules, all)
	}
}

// A filler makes the Rights of a client.
type filler struct {
	r *Rights
	c Client
}

// add appends rules with their placeholders filled in. Where that is not possible what is allowed
// is nothing, and what is denied everything that it might be.
func (f *filler) add(of string, rules []Rule) {
	for _, r := range rules {
		if r.Host != "" && r.Host != f.c.Host {
			continue
		}
		c, err := compile(r, f.c, f.r.sep)
		c.of = of
		switch {
		case err != nil && !r.Deny:
			f.r.Void = append(f.r.Void, r)
		case err != nil && err != errVoid: // which ParseRule does not let happen
			c.any = true
			fallthrough
		default:
			f.r.rules = append(f.r.rules, c)
		}
	}
}
