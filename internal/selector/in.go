package selector

// few is how many texts are tried one by one, before a map is faster.
const few = 8

// in is true if the operand equals one of the values, each compared as = does it.
type in struct {
	operand expr
	values  []expr // as they were written
	negated bool

	texts   [][]byte            // while there are few
	set     map[string]struct{} // of all texts, then
	longest int                 // of the texts, in bytes
	numbers []num
	truths  [2]bool
}

func newIn(operand expr, negated bool) *in { return &in{operand: operand, negated: negated} }

func (n *in) add(value expr) {
	n.values = append(n.values, value)
	switch v := value.(type) {
	case textLiteral:
		n.longest = max(n.longest, len(v))
		if n.texts = append(n.texts, v); len(n.texts) <= few {
			return
		}
		if n.set == nil {
			n.set = make(map[string]struct{})
			for _, t := range n.texts {
				n.set[string(t)] = struct{}{}
			}
		}
		n.set[string(v)] = struct{}{}
	case numberLiteral:
		n.numbers = append(n.numbers, num(v))
	case truthLiteral:
		n.truths[truthOf(bool(v))] = true
	}
}

func (n *in) test(env Env) truth { return n.contains(env).turned(n.negated) }

func (n *in) contains(env Env) truth {
	operand, ok := n.operand.(text)
	if !ok {
		v, ok := n.operand.(number).number(env)
		if !ok {
			return unknown
		}
		return truthOf(n.hasNumber(v))
	}
	v, ok := operand.text(env)
	if !ok {
		return unknown
	}
	if n.hasText(v) {
		return yes
	}
	result := no
	if n.numbers != nil {
		if x, ok := parseNumber(v); !ok {
			result = unknown
		} else if n.hasNumber(x) {
			return yes
		}
	}
	if n.truths[0] || n.truths[1] {
		if b, ok := parseTruth(v); !ok {
			result = unknown
		} else if n.truths[truthOf(b)] {
			return yes
		}
	}
	return result
}

func (n *in) hasText(v []byte) bool {
	if n.set != nil {
		if len(v) > n.longest {
			return false // without a look at all of it
		}
		_, ok := n.set[string(v)]
		return ok
	}
	for _, t := range n.texts {
		if string(t) == string(v) {
			return true
		}
	}
	return false
}

func (n *in) hasNumber(v num) bool {
	for _, m := range n.numbers {
		if v.compare(m) == 0 {
			return true
		}
	}
	return false
}

func (n *in) rank() int { return precCompare }
func (n *in) appendTo(dst []byte) []byte {
	dst = append(appendNot(appendExpr(dst, n.operand, precSum), n.negated), "IN ("...)
	for i, v := range n.values {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = v.appendTo(dst)
	}
	return append(dst, ')')
}
