// Package marshal reads and writes Ruby's Marshal format 4.8, as far as plain data and plain
// objects go: no classes of one's own with a form of their own, no structs, no code.
//
// Ruby's values are Go's as follows:
//
//	nil, true, false   nil, bool
//	Integer            int64, or *big.Int where that is too small
//	Float              float64
//	String             String
//	Symbol             Symbol
//	Array              *Array
//	Hash               *Hash
//	any other object   *Object
//
// What Ruby shares, or has in itself, is one pointer here, and is shared again when it is
// written.
package marshal

import (
	"errors"
	"fmt"
)

// A String is bytes and what they are in: "" is none, else "UTF-8", "US-ASCII" or another
// name of Ruby's.
type String struct{ Bytes, Encoding string }

// UTF8 is the String that Ruby makes of text in its sources.
func UTF8(s string) String { return String{s, "UTF-8"} }

// A Symbol is a name.
type Symbol string

// An Array is a list.
type Array struct{ Items []any }

// A Hash is a map that keeps its order.
type Hash struct {
	Pairs      []Pair
	Default    any // of keys that are not there
	HasDefault bool
}

// A Pair is a key and what is under it; of an Object the key is a Symbol.
type Pair struct{ Key, Value any }

// Get returns what is under a Symbol.
func (h *Hash) Get(name Symbol) any { return get(h.Pairs, name) }

// Set appends a pair under a Symbol.
func (h *Hash) Set(name Symbol, v any) { h.Pairs = append(h.Pairs, Pair{name, v}) }

// An Object is the name of its class and its variables, which begin with "@".
type Object struct {
	Class Symbol
	Vars  []Pair
}

// Get returns what is in a variable.
func (o *Object) Get(name Symbol) any { return get(o.Vars, name) }

func get(ps []Pair, name Symbol) any {
	for i := range ps {
		if ps[i].Key == name {
			return ps[i].Value
		}
	}
	return nil
}

// ErrSyntax is in the error of what is not Marshal 4.8, or has something in it that this
// package does not know.
var ErrSyntax = errors.New("marshal: not Ruby data that can be read")

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

// maxDepth is how far values may be within each other.
const maxDepth = 100
