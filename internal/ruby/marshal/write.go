package marshal

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
)

// Append appends v, of the types that Load gives, as Ruby writes it.
func Append(dst []byte, v any) ([]byte, error) {
	w := writer{b: append(dst, 4, 8), symbols: make(map[Symbol]int), objects: make(map[any]int)}
	if err := w.value(v, 0); err != nil {
		return dst, err
	}
	return w.b, nil
}

type writer struct {
	b       []byte
	symbols map[Symbol]int
	objects map[any]int // numbers of what has a pointer
	count   int         // of all that have a number
}

func (w *writer) long(n int) {
	switch {
	case n == 0:
		w.b = append(w.b, 0)
	case 0 < n && n < 123:
		w.b = append(w.b, byte(n+5))
	case -124 < n && n < 0:
		w.b = append(w.b, byte(n-5))
	default:
		at := len(w.b)
		w.b = append(w.b, 0)
		rest := n
		for rest != 0 && rest != -1 {
			w.b = append(w.b, byte(rest))
			rest >>= 8
		}
		size := len(w.b) - at - 1
		if n < 0 {
			size = -size
		}
		w.b[at] = byte(size)
	}
}

func (w *writer) bytes(s string) {
	w.long(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) symbol(s Symbol) {
	if n, ok := w.symbols[s]; ok {
		w.b = append(w.b, ';')
		w.long(n)
		return
	}
	w.symbols[s] = len(w.symbols)
	w.b = append(w.b, ':')
	w.bytes(string(s))
}

func (w *writer) value(v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("marshal: more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		w.b = append(w.b, '0')
	case bool:
		c := byte('F')
		if v {
			c = 'T'
		}
		w.b = append(w.b, c)
	case int:
		w.integer(int64(v))
	case int64:
		w.integer(v)
	case *big.Int:
		w.bignum(v)
	case float64:
		w.float(v)
	case Symbol:
		w.symbol(v)
	case String:
		w.string(v)
	case *Array:
		if w.link(v) {
			return nil
		}
		w.b = append(w.b, '[')
		w.long(len(v.Items))
		for i := range v.Items {
			if err := w.value(v.Items[i], depth+1); err != nil {
				return err
			}
		}
	case *Hash:
		return w.hash(v, depth)
	case *Object:
		return w.object(v, depth)
	default:
		return fmt.Errorf("marshal: a value of type %T", v)
	}
	return nil
}

// link writes v as a link if it was written before, else gives it the next number.
func (w *writer) link(v any) bool {
	if n, ok := w.objects[v]; ok {
		w.b = append(w.b, '@')
		w.long(n)
		return true
	}
	w.objects[v] = w.count
	w.count++
	return false
}

func (w *writer) integer(n int64) {
	if n < -1<<30 || n >= 1<<30 {
		w.bignum(big.NewInt(n))
		return
	}
	w.b = append(w.b, 'i')
	w.long(int(n))
}

func (w *writer) bignum(n *big.Int) {
	w.count++
	sign := byte('+')
	if n.Sign() < 0 {
		sign = '-'
	}
	digits := n.Bytes()
	slices.Reverse(digits)
	if len(digits)%2 != 0 {
		digits = append(digits, 0)
	}
	w.b = append(w.b, 'l', sign)
	w.long(len(digits) / 2)
	w.b = append(w.b, digits...)
}

func (w *writer) float(f float64) {
	w.count++
	w.b = append(w.b, 'f')
	switch {
	case math.IsNaN(f):
		w.bytes("nan")
	case math.IsInf(f, 1):
		w.bytes("inf")
	case math.IsInf(f, -1):
		w.bytes("-inf")
	default:
		w.bytes(strconv.FormatFloat(f, 'g', -1, 64))
	}
}

func (w *writer) string(s String) {
	w.count++
	if s.Encoding == "" {
		w.b = append(w.b, '"')
		w.bytes(s.Bytes)
		return
	}
	w.b = append(w.b, 'I', '"')
	w.bytes(s.Bytes)
	w.long(1)
	switch s.Encoding {
	case "UTF-8":
		w.symbol("E")
		w.b = append(w.b, 'T')
	case "US-ASCII":
		w.symbol("E")
		w.b = append(w.b, 'F')
	default:
		w.symbol("encoding")
		w.string(String{Bytes: s.Encoding})
	}
}

func (w *writer) hash(h *Hash, depth int) error {
	if w.link(h) {
		return nil
	}
	kind := byte('{')
	if h.HasDefault {
		kind = '}'
	}
	w.b = append(w.b, kind)
	w.long(len(h.Pairs))
	for i := range h.Pairs {
		if err := w.value(h.Pairs[i].Key, depth+1); err != nil {
			return err
		}
		if err := w.value(h.Pairs[i].Value, depth+1); err != nil {
			return err
		}
	}
	if h.HasDefault {
		return w.value(h.Default, depth+1)
	}
	return nil
}

func (w *writer) object(o *Object, depth int) error {
	if w.link(o) {
		return nil
	}
	w.b = append(w.b, 'o')
	w.symbol(o.Class)
	w.long(len(o.Vars))
	for i := range o.Vars {
		name, ok := o.Vars[i].Key.(Symbol)
		if !ok {
			return fmt.Errorf("marshal: a variable of type %T", o.Vars[i].Key)
		}
		w.symbol(name)
		if err := w.value(o.Vars[i].Value, depth+1); err != nil {
			return err
		}
	}
	return nil
}
