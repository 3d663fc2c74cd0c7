// Package rights answers who may do what with which destination.
//
// A Policy has rules for users, for roles and for those who do not log in. A rule is a line:
//
//	[deny] ACTION PATTERN [in VHOST]
//
// ACTION is read, write, consume, browse, create, destroy or *, where read is consume and
// browse. PATTERN is a destination in any spelling of package destination, with the wildcards of
// package pattern; in it {username}, {client-id} and {vhost} stand for those of the client. With a
// VHOST the rule is for clients of that virtual host only. Of the rules that fit the first one
// counts, and where none fits nothing is allowed.
//
// Names of the server's own, which begin with a dollar sign, are in no wildcard: a rule is for
// them only if it is written with the dollar sign.
package rights

import (
	"errors"
	"fmt"
	"strings"

	"stompserver/internal/destination"
	"stompserver/internal/pattern"
)

// Actions are what can be done with a destination.
type Actions uint8

// The actions.
const (
	Write   Actions = 1 << iota // send to it
	Consume                     // subscribe to it and take what it has
	Browse                      // look at what a queue holds, without taking it
	Create                      // say which properties a queue that is not there yet is to have
	Destroy                     // end a durable subscription of another user

	Read = Consume | Browse
	All  = Write | Read | Create | Destroy
)

// words are how the actions are written.
var words = []struct {
	word string
	a    Actions
}{{"read", Read}, {"write", Write}, {"consume", Consume}, {"browse", Browse}, {"create", Create}, {"destroy", Destroy}, {"*", All}}

func (a Actions) String() string {
	for _, w := range words {
		if w.a == a {
			return w.word
		}
	}
	return fmt.Sprintf("Actions(%d)", uint8(a))
}

// ParseActions reads the word of a rule.
func ParseActions(word string) (Actions, error) {
	var known []string
	for _, w := range words {
		if w.word == word {
			return w.a, nil
		}
		known = append(known, w.word)
	}
	return 0, fmt.Errorf("%q is nothing that can be done with a destination: there are %s", word, strings.Join(known, ", "))
}

// A Rule allows actions on the destinations of a pattern, or denies them.
type Rule struct {
	Deny    bool
	Actions Actions
	Pattern string // as it was written, placeholders included
	Host    string // the virtual host that it is for; empty: all
}

func (r Rule) String() string {
	text := r.Actions.String() + " " + r.Pattern
	if r.Deny {
		text = "deny " + text
	}
	if r.Host != "" {
		text += " in " + r.Host
	}
	return text
}

// The placeholders of a pattern.
const (
	userName = "{username}"
	clientID = "{client-id}"
	hostName = "{vhost}"
)

// MaxRule is how long a rule may be, in bytes.
const MaxRule = 1024

// ParseRule reads a rule. The error is for people.
func ParseRule(text string) (Rule, error) {
	if len(text) > MaxRule {
		return Rule{}, fmt.Errorf("a rule is longer than %d bytes", MaxRule)
	}
	fields := strings.Fields(text)
	var r Rule
	if len(fields) > 0 && fields[0] == "deny" {
		r.Deny, fields = true, fields[1:]
	}
	if len(fields) == 4 && fields[2] == "in" {
		r.Host, fields = fields[3], fields[:2]
	}
	if len(fields) != 2 {
		return r, fmt.Errorf("%q is not a rule, such as \"read /queue/jobs.*\" or \"deny write /topic/>\"", text)
	}
	var err error
	if r.Actions, err = ParseActions(fields[0]); err != nil {
		return r, fmt.Errorf("%q: %w", text, err)
	}
	r.Pattern = fields[1]
	if _, err := compile(r, Client{User: "x", ID: "x", Host: "x"}, pattern.Both); err != nil {
		return r, fmt.Errorf("%q: %w", text, err)
	}
	return r, nil
}

// ParseRules reads several.
func ParseRules(texts []string) ([]Rule, error) {
	var all []Rule
	for _, text := range texts {
		r, err := ParseRule(text)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// A rule is a Rule for one client.
type rule struct {
	Rule
	of     string          // whose rule it is, for people
	match  pattern.Pattern // of broker names
	system bool            // it names the server's own destinations
	any    bool            // it is for every name, the server's own included
}

// errVoid is the error of a rule whose placeholder cannot be filled in: the name would mean more
// in a pattern than itself.
var errVoid = errors.New("rights: the name of the client has a meaning in patterns")

// compile makes a rule of r for a client. What is errVoid is a rule nevertheless, for all that
// the client might be called.
func compile(r Rule, c Client, sep pattern.Separators) (rule, error) {
	out := rule{Rule: r}
	all, err := destination.Parse(r.Pattern, destination.None)
	var d *destination.Error
	switch {
	case errors.As(err, &d):
		return out, errors.New(d.Reason)
	case err != nil:
		return out, err
	case len(all) > 1:
		return out, errors.New("a rule is for one destination or pattern; write another one for the others")
	}
	switch all[0].Kind {
	case destination.TempQueue, destination.TempTopic, destination.Reply:
		return out, errors.New("temporary destinations need no rights: they are read by the connection that made them, and written to by those who know the name")
	}
	text := all[0].Text
	out.system = system(text)
	var void error
	plain := func(name string) bool { return plain(name, sep.For(text)) }
	for _, by := range []struct {
		placeholder, name string
		plain             func(string) bool
	}{{userName, c.User, plain}, {clientID, c.ID, plain}, {hostName, c.Host, plainHost}} {
		switch {
		case !strings.Contains(text, by.placeholder):
		case by.plain(by.name):
			text = strings.ReplaceAll(text, by.placeholder, by.name)
		default:
			text, void = wider(text, by.placeholder, sep), errVoid
		}
	}
	if strings.ContainsAny(text, "{}") {
		return out, fmt.Errorf("the placeholders of a rule are %s, %s and %s", userName, clientID, hostName)
	}
	if out.match, err = sep.Parse(text); err != nil {
		return out, errors.New(strings.TrimPrefix(err.Error(), "pattern: "))
	}
	return out, void
}

// wider cuts a pattern at the part with a placeholder: what follows may be anything.
func wider(text, placeholder string, sep pattern.Separators) string {
	before, _, _ := strings.Cut(text, placeholder)
	return sep.Front(before) + ">"
}

// plain reports whether a name means in a pattern what it is, one part or some of one.
func plain(name string, sep pattern.Separators) bool {
	return name != "" && !strings.ContainsAny(name, "/*+#>,%{}$ ") && !sep.In(name) && !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// plainHost is plain for the name of a virtual host. That may have several parts, for it is not the
// client's to choose.
func plainHost(name string) bool {
	return plain(strings.NewReplacer(".", "", "/", "").Replace(name), pattern.Both)
}

// system reports whether a name, or a pattern of names, is of the server's own.
func system(name string) bool {
	return destination.Name{Text: name}.System() || strings.HasPrefix(name, "/topic/ActiveMQ.Advisory.")
}

// Rights are those of one client. The nil *Rights may do everything. They may be used from any
// goroutine.
type Rights struct {
	rules []rule
	sep   pattern.Separators
	// Void are the rules that do not count for this client, because what it is called holds a
	// character with a meaning in patterns.
	Void []Rule
}

// May reports whether action, one of them, may be done with the destination that the broker
// knows as name, and by is the rule that says so; "" is none.
func (r *Rights) May(action Actions, name string) (ok bool, by string) {
	if r == nil {
		return true, ""
	}
	if c := r.first(action, name); c != nil {
		return !c.Deny, c.by()
	}
	return false, ""
}

// first is the rule that counts for a name, or nil.
func (r *Rights) first(action Actions, name string) *rule {
	own := system(name)
	for i := range r.rules {
		c := &r.rules[i]
		if c.Actions&action != 0 && (c.any || own == c.system && c.match.Matches(name)) {
			return c
		}
	}
	return nil
}

// MayHeld is May for the queue of a durable subscription, by its name under destination.DurablePrefix.
// What it holds is of topic, which may be a pattern: a rule that is for all kinds of names allows what it
// allows with the topic, and one for such queues allows it by itself.
func (r *Rights) MayHeld(action Actions, queue string, topic pattern.Pattern) (ok bool, by string) {
	if r == nil {
		return true, ""
	}
	c := r.first(action, queue)
	switch {
	case c == nil:
		return false, ""
	case c.Deny || !c.any && strings.HasPrefix(c.match.String(), destination.DurablePrefix):
		return !c.Deny, c.by()
	}
	return r.MayAll(action, topic)
}

// MayAll is May for all the names that p stands for. That several rules allow them together does
// not count: one has to allow them all, and none before it deny some.
func (r *Rights) MayAll(action Actions, p pattern.Pattern) (ok bool, by string) {
	switch {
	case r == nil:
		return true, ""
	case !p.Wild():
		return r.May(action, p.String())
	}
	own := system(p.String())
	for i := range r.rules {
		c := &r.rules[i]
		switch {
		case c.Actions&action == 0:
		case c.any:
			return !c.Deny, c.by()
		case own != c.system:
		case c.match.Contains(p), c.Deny && c.match.Overlaps(p):
			return !c.Deny, c.by()
		}
	}
	return false, ""
}

func (c *rule) by() string {
	if c.any && !c.Deny {
		return c.of + " everything"
	}
	return c.of + " \"" + c.Rule.String() + "\""
}

// A Question is whether something may be done with a destination, or with several.
type Question struct {
	actions Actions
	names   []string // the broker's, or patterns
}

// ParseQuestion reads the words of a rule, without placeholders. Of several actions, or
// destinations, all are asked for. The error is for people.
func ParseQuestion(action, dest string) (q Question, err error) {
	if q.actions, err = ParseActions(action); err != nil {
		return q, err
	}
	all, err := destination.Parse(dest, destination.None)
	var d *destination.Error
	if errors.As(err, &d) {
		return q, fmt.Errorf("%s: %s", dest, d.Reason)
	}
	for _, n := range all {
		q.names = append(q.names, n.Text)
	}
	return q, err
}

// Of answers it by the rights of a client. By is the rule that says so, of several the last.
func (q Question) Of(r *Rights) (ok bool, by string) {
	var sep pattern.Separators
	if r != nil {
		sep = r.sep
	}
	for _, name := range q.names {
		p, err := sep.Parse(name)
		if err != nil {
			return false, ""
		}
		for a := Write; a <= Destroy; a <<= 1 {
			if q.actions&a == 0 {
				continue
			}
			if ok, by = r.MayAll(a, p); !ok {
				return false, by
			}
		}
	}
	return true, by
}

// Rules are the rules in force, in their order, each with whose it is.
func (r *Rights) Rules() []string {
	if r == nil {
		return []string{"everything"}
	}
	var all []string
	for i := range r.rules {
		all = append(all, r.rules[i].by())
	}
	return all
}
