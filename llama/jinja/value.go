package jinja

import (
	"strings"
	"unicode/utf8"
)

// A value is one of nil (none), undefined, bool, int64, float64, string, *list, *dict,
// *namespace, *loop or *function. Only a namespace can change after it was made, and it
// compares by identity and prints without its content, so that values have no cycles.

// undefined is what a missing name, attribute or element gives. Why says which.
type undefined struct{ why string }

// list is a list or a tuple.
type list struct {
	items []any
	tuple bool
}

// dict is a mapping that keeps the order in which its keys came.
type dict struct {
	keys, values []any
	index        map[any]int
}

type namespace struct{ vars map[string]any }

// function is a macro, a global function or a method bound to its object.
type function struct {
	name string
	call func(*interp, args) any
}

// loop is the variable of that name within a for.
type loop struct {
	items []any
	i     int
	last  any // of changed()
}

func newDict(n int) *dict { return &dict{index: make(map[any]int, n)} }

// dictKey is what a value is found by: numbers and booleans that are equal are one key.
func dictKey(v any) (key any, ok bool) {
	switch v := v.(type) {
	case nil, string, int64:
		return v, true
	case bool:
		return number(v), true
	case float64:
		if n := int64(v); float64(n) == v {
			return n, true
		}
		return v, true
	}
	return nil, false
}

func (in *interp) get(d *dict, key any) (any, bool) {
	if s, ok := key.(string); ok {
		in.scan(s)
	}
	if k, ok := dictKey(key); ok {
		if i, ok := d.index[k]; ok {
			return d.values[i], true
		}
	}
	return nil, false
}

func (in *interp) put(d *dict, key, value any) {
	k, ok := dictKey(key)
	if s, text := key.(string); text {
		in.scan(s)
	}
	if !ok {
		in.fail("a mapping has no keys that are %s", typeName(key))
	}
	if i, ok := d.index[k]; ok {
		d.values[i] = value
		return
	}
	in.made(48)
	d.index[k] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, value)
}

func (in *interp) newList(items []any, tuple bool) *list {
	in.made(16 * len(items))
	return &list{items, tuple}
}

// typeName is the name of a value's type in messages.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case undefined:
		return "undefined"
	case bool:
		return "a boolean"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case string:
		return "a string"
	case *list:
		if v.tuple {
			return "a tuple"
		}
		return "a list"
	case *dict:
		return "a mapping"
	case *namespace:
		return "a namespace"
	case *loop:
		return "a loop"
	}
	return "a function"
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// number is v as an int64 or float64, nil if it is not a number.
func number(v any) any {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case int64, float64:
		return v
	}
	return nil
}

func float(n any) float64 {
	if i, ok := n.(int64); ok {
		return float64(i)
	}
	return n.(float64)
}

// equal is Python's ==.
func (in *interp) equal(a, b any, depth int) bool {
	in.nested(depth)
	in.work(1)
	if x, y := number(a), number(b); x != nil && y != nil {
		if i, ok := x.(int64); ok {
			if j, ok := y.(int64); ok {
				return i == j
			}
		}
		return float(x) == float(y)
	}
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && in.sameText(a, b)
	case undefined:
		_, ok := b.(undefined)
		return ok
	case *list:
		b, ok := b.(*list)
		if !ok || a.tuple != b.tuple || len(a.items) != len(b.items) {
			return false
		}
		for i := range a.items {
			if !in.equal(a.items[i], b.items[i], depth+1) {
				return false
			}
		}
		return true
	case *dict:
		b, ok := b.(*dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		for i, key := range a.keys {
			v, ok := in.get(b, key)
			if !ok || !in.equal(a.values[i], v, depth+1) {
				return false
			}
		}
		return true
	}
	return a == b // none, and identity
}

func (in *interp) sameText(a, b string) bool {
	if len(a) == len(b) {
		in.scan(a)
	}
	return a == b
}

// compare is negative if a < b, positive if a > b: numbers, strings, lists of these.
func (in *interp) compare(a, b any, depth int) int {
	in.nested(depth)
	in.work(1)
	if x, y := number(a), number(b); x != nil && y != nil {
		if i, ok := x.(int64); ok {
			if j, ok := y.(int64); ok {
				return sign(i < j, i > j)
			}
		}
		return sign(float(x) < float(y), float(x) > float(y))
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			in.scan(x)
			return strings.Compare(x, y)
		}
	case *list:
		if y, ok := b.(*list); ok && x.tuple == y.tuple {
			for i := range min(len(x.items), len(y.items)) {
				if !in.equal(x.items[i], y.items[i], depth+1) {
					return in.compare(x.items[i], y.items[i], depth+1)
				}
			}
			return len(x.items) - len(y.items)
		}
	}
	in.fail("%s and %s have no order", typeName(a), typeName(b))
	return 0
}

func sign(less, more bool) int {
	switch {
	case less:
		return -1
	case more:
		return 1
	}
	return 0
}

// elements are what a for loop over v goes through: a mapping's keys, a string's characters.
func (in *interp) elements(v any) []any {
	switch v := v.(type) {
	case undefined:
		return nil
	case *list:
		return v.items
	case *dict:
		return v.keys
	case string:
		in.made(32 * len(v))
		items := make([]any, 0, utf8.RuneCountInString(v))
		for _, r := range v {
			items = append(items, string(r))
		}
		return items
	}
	in.fail("%s cannot be iterated over", typeName(v))
	return nil
}

// length is Python's len.
func (in *interp) length(v any) int {
	switch v := v.(type) {
	case undefined:
		return 0
	case *list:
		return len(v.items)
	case *dict:
		return len(v.keys)
	case string:
		in.scan(v)
		return utf8.RuneCountInString(v)
	}
	in.fail("%s has no length", typeName(v))
	return 0
}
