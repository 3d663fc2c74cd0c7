package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// An entry is what the directory says of a user.
type entry struct {
	dn, name string
	groups   []string // of its attribute MemberOf
}

// ask finds out whether a login is right, and who it is.
func (d *Directory) ask(l *link, login, passcode string) (*Identity, error) {
	var e *entry
	var err error
	if d.cfg.UserDN == "" {
		if e, err = d.search(l, d.cfg.Base, ldap.ScopeWholeSubtree, login); err != nil {
			return nil, err
		}
		if e == nil {
			d.cfg.Log.Debug("directory refuses a login", "user", login, "reason", "there is no such user")
			return nil, ErrDenied
		}
	} else {
		e = &entry{dn: fill(d.cfg.UserDN, ldap.EscapeDN, login, "")}
	}
	l.as = asUser
	if err := l.c.Bind(e.dn, passcode); err != nil {
		if !refused(err) {
			return nil, err
		}
		d.cfg.Log.Debug("directory refuses a login", "user", login, "reason", codeOf(err))
		return nil, ErrDenied
	}
	if d.cfg.UserDN != "" { // who may read itself, mostly
		if e, err = d.search(l, e.dn, ldap.ScopeBaseObject, login); err != nil {
			return nil, err
		}
		if e == nil {
			d.cfg.Log.Error("directory shows nothing of a user who logged in: without the name in it nobody knows who that is", "user", login, "hint", "ldap.bind_dn, of an account that may read it")
			return nil, fmt.Errorf("the entry cannot be read: %w", ErrAway)
		}
	}
	return d.identify(l, login, e)
}

// identify says who the user of an entry is.
func (d *Directory) identify(l *link, login string, e *entry) (*Identity, error) {
	if err := CheckLogin(e.name); err != nil {
		d.cfg.Log.Warn("directory has a user without a name that can be used", "user", login, "attribute", d.cfg.Name, "err", err)
		return nil, ErrDenied
	}
	id := &Identity{Name: e.name, Listed: d.CanRefresh(), dn: e.dn, login: login}
	if !d.cfg.Groups.on() {
		return id, nil
	}
	names := e.groups
	if d.cfg.Groups.Base != "" {
		more, err := d.groups(l, login, e.dn)
		if err != nil {
			return nil, err
		}
		names = append(names, more...)
	}
	// A user without a group has no role, rather than what everybody has.
	id.Grant.Roles = []string{NoRole}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if role, ok := strings.CutPrefix(name, d.cfg.Groups.Prefix); ok && role != "" {
			id.Grant.Roles = append(id.Grant.Roles, role)
		}
	}
	return id, nil
}

// search finds the entry of a login; nil: there is none, or more than one.
func (d *Directory) search(l *link, base string, scope int, login string) (*entry, error) {
	if err := d.beService(l); err != nil {
		return nil, err
	}
	filter := "(objectClass=*)"
	if d.cfg.Filter != "" {
		filter = fill(d.cfg.Filter, ldap.EscapeFilter, login, "")
	}
	attributes := []string{d.cfg.Name}
	if d.cfg.Groups.MemberOf != "" {
		attributes = append(attributes, d.cfg.Groups.MemberOf)
	}
	found, err := l.c.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 2, d.seconds(), false, filter, attributes, nil))
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded), err == nil && len(found.Entries) > 1:
		d.cfg.Log.Warn("directory has several users of one login: none of them gets in", "user", login)
		return nil, nil
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject) && scope == ldap.ScopeBaseObject:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("search: %w", err)
	case len(found.Entries) == 0:
		return nil, nil
	}
	one := found.Entries[0]
	e := &entry{dn: one.DN}
	if names := one.GetEqualFoldAttributeValues(d.cfg.Name); len(names) > 0 {
		e.name = slices.Min(names) // which one must not be up to the client, nor to chance
	}
	if d.cfg.Groups.MemberOf != "" {
		for _, group := range one.GetEqualFoldAttributeValues(d.cfg.Groups.MemberOf) {
			if name := firstOf(group); name != "" {
				e.groups = append(e.groups, name)
			}
		}
	}
	return e, nil
}

// firstOf is the name of a group of which an entry has the DN, or the name itself.
func firstOf(group string) string {
	dn, err := ldap.ParseDN(group)
	if err != nil || len(dn.RDNs) == 0 || len(dn.RDNs[0].Attributes) == 0 {
		return group
	}
	return dn.RDNs[0].Attributes[0].Value
}

// groups are the names of those that a user is in.
func (d *Directory) groups(l *link, login, dn string) ([]string, error) {
	if err := d.beService(l); err != nil {
		return nil, err
	}
	g := &d.cfg.Groups
	found, err := l.c.Search(ldap.NewSearchRequest(g.Base, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, maxGroups, d.seconds(), false,
		fill(g.Filter, ldap.EscapeFilter, login, dn), []string{g.Attribute}, nil))
	if err != nil { // also of too many: one that denies might be missing
		return nil, fmt.Errorf("search for groups: %w", err)
	}
	var names []string
	for _, e := range found.Entries {
		names = append(names, e.GetEqualFoldAttributeValues(g.Attribute)...)
	}
	return names, nil
}

// seconds is Timeout as a request has it.
func (d *Directory) seconds() int { return max(1, int(d.cfg.Timeout.Seconds())) }

// again looks a user up who has logged in before; nil: it is not there any more.
func (d *Directory) again(ctx context.Context, u *Identity) (id *Identity, err error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTime)
	defer cancel()
	err = d.with(ctx, func(l *link) error {
		e, err := d.search(l, u.dn, ldap.ScopeBaseObject, u.login)
		if err != nil || e == nil || e.name != u.Name {
			return err
		}
		id, err = d.identify(l, u.login, e)
		return err
	})
	return id, err
}

// Lookup finds a user without a passcode. Without one of that login the error is ErrDenied.
func (d *Directory) Lookup(ctx context.Context, login string) (id *Identity, err error) {
	if !askable(login) {
		return nil, ErrDenied
	}
	err = d.with(ctx, func(l *link) error {
		base, scope := d.cfg.Base, ldap.ScopeWholeSubtree
		if d.cfg.UserDN != "" {
			base, scope = fill(d.cfg.UserDN, ldap.EscapeDN, login, ""), ldap.ScopeBaseObject
		}
		e, err := d.search(l, base, scope, login)
		if err == nil && e == nil {
			return ErrDenied
		}
		if err == nil {
			id, err = d.identify(l, login, e)
		}
		return err
	})
	return id, err
}

// refused reports whether the answer to a bind is that the login is not right, as against that
// the directory cannot tell.
func refused(err error) bool {
	return ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultInvalidDNSyntax,
		ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultInsufficientAccessRights, ldap.LDAPResultUnwillingToPerform,
		ldap.LDAPResultConstraintViolation)
}

// codeOf is what the directory said, without its own words: they are its business.
func codeOf(err error) string {
	var e *ldap.Error
	if !errors.As(err, &e) {
		return "unknown"
	}
	return ldap.LDAPResultCodeMap[e.ResultCode]
}
