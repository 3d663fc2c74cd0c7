package marshal

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Load reads b, which must be one value and nothing behind it. Memory stays within a small
// multiple of len(b), whatever b says.
func Load(b []byte) (any, error) {
	if len(b) < 2 || b[0] != 4 || b[1] > 8 {
		return nil, syntax("it does not begin as version 4.8")
	}
	r := reader{b: b[2:]}
	v, err := r.value(0)
	if err == nil && len(r.b) > 0 {
		err = syntax("%d bytes follow its end", len(r.b))
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

type reader struct {
	b       []byte // what is left
	symbols []Symbol
	objects []any // by their numbers, in the order they begin
}

func (r *reader) byte() (byte, error) {
	if len(r.b) == 0 {
		return 0, syntax("it ends too early")
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c, nil
}

// long reads an integer in Ruby's short form.
func (r *reader) long() (int, error) {
	first, err := r.byte()
	if err != nil {
		return 0, err
	}
	c := int(int8(first))
	switch {
	case c == 0:
		return 0, nil
	case c > 4:
		return c - 5, nil
	case c < -4:
		return c + 5, nil
	}
	n, bytes := 0, c
	if c < 0 {
		n, bytes = -1, -c
	}
	for i := range bytes {
		d, err := r.byte()
		if err != nil {
			return 0, err
		}
		n = n&^(0xff<<(8*i)) | int(d)<<(8*i)
	}
	return n, nil
}

// count reads a number of things, each of which takes at least size bytes.
func (r *reader) count(size int) (int, error) {
	n, err := r.long()
	if err == nil && (n < 0 || n > len(r.b)/size) {
		err = syntax("a length of %d with %d bytes left", n, len(r.b))
	}
	return n, err
}

func (r *reader) bytes() (string, error) {
	n, err := r.count(1)
	if err != nil {
		return "", err
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s, nil
}

// enter gives v the next number. What v is may be said later, at that number.
func (r *reader) enter(v any) int {
	r.objects = append(r.objects, v)
	return len(r.objects) - 1
}

func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, syntax("it is more than %d deep", maxDepth)
	}
	kind, err := r.byte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '0':
		return nil, nil
	case 'T':
		return true, nil
	case 'F':
		return false, nil
	case 'i':
		n, err := r.long()
		return int64(n), err
	case 'l':
		return r.bignum()
	case 'f':
		return r.float()
	case ':', ';':
		return r.symbol(kind)
	case '"':
		s, err := r.bytes()
		v := String{Bytes: s}
		r.enter(v)
		return v, err
	case 'I':
		return r.withVars(depth)
	case '@':
		n, err := r.long()
		if err == nil && (n < 0 || n >= len(r.objects)) {
			err = syntax("a link to value %d of %d", n, len(r.objects))
		}
		if err != nil {
			return nil, err
		}
		return r.objects[n], nil
	case '[':
		return r.array(depth)
	case '{', '}':
		return r.hash(kind == '}', depth)
	case 'o':
		return r.object(depth)
	}
	return nil, syntax("a value of type %q", kind)
}

// symbol reads a Symbol, whose first byte was kind.
func (r *reader) symbol(kind byte) (Symbol, error) {
	switch kind {
	case ';':
		n, err := r.long()
		if err == nil && (n < 0 || n >= len(r.symbols)) {
			err = syntax("a link to symbol %d of %d", n, len(r.symbols))
		}
		if err != nil {
			return "", err
		}
		return r.symbols[n], nil
	case ':':
		s, err := r.bytes()
		r.symbols = append(r.symbols, Symbol(s))
		return Symbol(s), err
	case 'I': // its encoding follows, and does not matter: names are bytes here
		kind, err := r.byte()
		if err == nil && kind != ':' {
			err = syntax("a name of type %q", kind)
		}
		if err != nil {
			return "", err
		}
		name, err := r.symbol(':')
		if err != nil {
			return "", err
		}
		_, err = r.encoding()
		return name, err
	}
	return "", syntax("a name of type %q", kind)
}

func (r *reader) name() (Symbol, error) {
	kind, err := r.byte()
	if err != nil {
		return "", err
	}
	return r.symbol(kind)
}

// withVars reads a String or Symbol with its encoding.
func (r *reader) withVars(depth int) (any, error) {
	if len(r.b) > 0 && r.b[0] == ':' {
		return r.symbol('I')
	}
	if len(r.b) == 0 || r.b[0] != '"' {
		return nil, syntax("variables of what is no String")
	}
	v, err := r.value(depth)
	if err != nil {
		return nil, err
	}
	at := len(r.objects) - 1
	s := v.(String)
	if s.Encoding, err = r.encoding(); err != nil {
		return nil, err
	}
	r.objects[at] = s
	return s, nil
}

// encoding reads the variables of a String: E is true for UTF-8 and false for US-ASCII,
// encoding names any other. Others that a program may have set are passed over.
func (r *reader) encoding() (string, error) {
	n, err := r.count(2)
	if err != nil {
		return "", err
	}
	encoding := ""
	for range n {
		name, err := r.name()
		if err != nil {
			return "", err
		}
		v, err := r.value(maxDepth) // no place for anything that has depth
		if err != nil {
			return "", err
		}
		s, isString := v.(String)
		switch {
		case name == "E" && v == true:
			encoding = "UTF-8"
		case name == "E" && v == false:
			encoding = "US-ASCII"
		case name == "encoding" && isString:
			encoding = s.Bytes
		}
	}
	return encoding, nil
}

func (r *reader) bignum() (any, error) {
	sign, err := r.byte()
	if err != nil {
		return nil, err
	}
	n, err := r.count(2)
	if err != nil {
		return nil, err
	}
	digits := slices.Clone(r.b[:2*n])
	r.b = r.b[2*n:]
	slices.Reverse(digits)
	i := new(big.Int).SetBytes(digits)
	switch sign {
	case '+':
	case '-':
		i.Neg(i)
	default:
		return nil, syntax("a sign %q", sign)
	}
	var v any = i
	if i.IsInt64() {
		v = i.Int64()
	}
	r.enter(v)
	return v, nil
}

func (r *reader) float() (any, error) {
	s, err := r.bytes()
	if err != nil {
		return nil, err
	}
	var f float64
	switch s {
	case "nan":
		f = math.NaN()
	case "inf":
		f = math.Inf(1)
	case "-inf":
		f = math.Inf(-1)
	default:
		s, _, _ = strings.Cut(s, "\x00") // old versions say it exactly behind it
		if f, err = strconv.ParseFloat(s, 64); err != nil {
			return nil, syntax("a number %q", s)
		}
	}
	r.enter(f)
	return f, nil
}

func (r *reader) array(depth int) (any, error) {
	n, err := r.count(1)
	if err != nil {
		return nil, err
	}
	a := &Array{}
	r.enter(a)
	for range n {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		a.Items = append(a.Items, v)
	}
	return a, nil
}

func (r *reader) hash(withDefault bool, depth int) (any, error) {
	n, err := r.count(2)
	if err != nil {
		return nil, err
	}
	h := &Hash{HasDefault: withDefault}
	r.enter(h)
	for range n {
		k, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		h.Pairs = append(h.Pairs, Pair{k, v})
	}
	if withDefault {
		if h.Default, err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return h, nil
}

func (r *reader) object(depth int) (any, error) {
	o := &Object{}
	r.enter(o)
	var err error
	if o.Class, err = r.name(); err != nil {
		return nil, err
	}
	n, err := r.count(2)
	if err != nil {
		return nil, err
	}
	for range n {
		k, err := r.name()
		if err != nil {
			return nil, err
		}
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.Vars = append(o.Vars, Pair{k, v})
	}
	return o, nil
}
