package pattern

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// A part {EXPR} of a pattern is a regular expression that one part of a name fits as a whole, as in Apollo, if it
// has any sign that has a meaning in one beyond a dot: so {550e8400-e29b-11d4-a716-446655440000} is a name.
// Dots and slashes within the braces separate nothing.

// Programs that expressions become are memory that a client asks for, and time of others who send. Each step of
// one may have a list of its own of all the characters that it is for.
const (
	maxExprs = 8    // in one pattern
	maxSteps = 500  // of all their programs
	maxRunes = 4096 // in the characters of all steps: a class such as \pL has 1,300
)

// exprSigns are those that make it one.
const exprSigns = `[]()*+?|^$\`

// exprs are the expressions of a pattern.
type exprs struct {
	sep   Separators
	parts []string // as they are in the text of the pattern
	res   []*regexp.Regexp

	steps, runes int // of all their programs
}

// expr returns the expression with its braces that name begins with, as a whole part; empty if there is none.
func expr(name string) string {
	if name == "" || name[0] != '{' {
		return ""
	}
	depth := 0
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++
		case '{':
			depth++
		case '}':
			if depth--; depth > 0 {
				continue
			}
			if i+1 < len(name) && !separates(name[i+1]) || !strings.ContainsAny(name[1:i], exprSigns) {
				return ""
			}
			return name[:i+1]
		}
	}
	return ""
}

// cutPattern is cut for what may have expressions.
func cutPattern(name string) (part, after string, more, isExpr bool) {
	if e := expr(name); e != "" {
		if len(e) == len(name) {
			return e, "", false, true
		}
		return e, name[len(e)+1:], true, true
	}
	part, after, more = cut(name)
	return part, after, more, false
}

// add compiles a part, and returns it as the pattern has it.
func (e *exprs) add(part string) (string, error) {
	if strings.ContainsAny(part, "\x00"+hidden) && e.sep == Both {
		return "", fmt.Errorf("pattern: the regular expression %q holds a control character", part)
	}
	part = shown(part)
	text := part[1 : len(part)-1]
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return "", fmt.Errorf("pattern: %s is no regular expression: %s", part, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if len(e.parts) == maxExprs {
		return "", fmt.Errorf("pattern: there are more than %d regular expressions", maxExprs)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err == nil {
		e.count(prog)
	}
	if err != nil || e.steps > maxSteps || e.runes > maxRunes {
		return "", fmt.Errorf("pattern: the regular expression %s is too large", part)
	}
	re, err := regexp.Compile(`\A(?:` + text + `)\z`)
	if err != nil {
		return "", fmt.Errorf("pattern: %s is no regular expression", part)
	}
	part = hides.Replace(part)
	e.parts, e.res = append(e.parts, part), append(e.res, re)
	return part, nil
}

// count adds the size of a program.
func (e *exprs) count(p *syntax.Prog) {
	e.steps += len(p.Inst)
	for i := range p.Inst {
		e.runes += len(p.Inst[i].Rune)
	}
}

// Size is roughly how many bytes the expressions of the pattern take in memory; 0 if it has none. The time that it
// takes to try them grows with it.
func (p Pattern) Size() int {
	if p.exprs == nil {
		return 0
	}
	return 160*p.exprs.steps + 24*p.exprs.runes
}

// of returns the expression that a part of the pattern is, or nil.
func (e *exprs) of(part string) *regexp.Regexp {
	if e == nil || part == "" || part[0] != '{' {
		return nil
	}
	for i, p := range e.parts {
		if p == part {
			return e.res[i]
		}
	}
	return nil
}

// fits reports whether a part of the pattern is an expression that a part of a name fits.
func (e *exprs) fits(part, name string) bool {
	re := e.of(part)
	return re != nil && re.MatchString(shown(name))
}
