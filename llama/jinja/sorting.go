package jinja

import (
	"slices"
	"strings"
)

// sortKey is what an element is ordered by: an attribute of it, in lower case unless
// sensitive.
func (in *interp) sortKey(v, attribute any, sensitive bool) any {
	if attribute != (missing{}) && attribute != nil {
		v = in.path(v, attribute)
	}
	if s, ok := v.(string); ok && !sensitive {
		return in.text(strings.ToLower(s))
	}
	return v
}

func filterSort(in *interp, v any, a args) any {
	p := a.take(in, "sort", "reverse?", "case_sensitive?", "attribute?")
	return in.sorted(in.elements(v), truth(given(p[0], false)), func(v any) any {
		return in.sortKey(v, p[2], truth(given(p[1], false)))
	})
}

// sorted is a stable sort; reverse keeps the order of equal elements too.
func (in *interp) sorted(items []any, reverse bool, key func(any) any) *list {
	type keyed struct{ key, item any }
	order := make([]keyed, len(items))
	for i, item := range items {
		order[i] = keyed{key(item), item}
	}
	slices.SortStableFunc(order, func(x, y keyed) int {
		if reverse {
			return in.compare(y.key, x.key, 0)
		}
		return in.compare(x.key, y.key, 0)
	})
	result := make([]any, len(items))
	for i := range order {
		result[i] = order[i].item
	}
	return in.newList(result, false)
}

func filterDictsort(in *interp, v any, a args) any {
	p := a.take(in, "dictsort", "case_sensitive?", "by?", "reverse?")
	d, ok := v.(*dict)
	if !ok {
		in.operand(v)
		in.fail("dictsort takes a mapping, not %s", typeName(v))
	}
	by := int64(0)
	if in.str(given(p[1], "key")) == "value" {
		by = 1
	}
	return in.sorted(in.pairs(d).items, truth(given(p[2], false)), func(v any) any {
		return in.sortKey(v, by, truth(given(p[0], false)))
	})
}

func filterUnique(in *interp, v any, a args) any {
	p := a.take(in, "unique", "case_sensitive?", "attribute?")
	seen := newDict(0)
	var kept []any
	for _, item := range in.elements(v) {
		key := in.sortKey(item, p[1], truth(given(p[0], false)))
		if _, ok := in.get(seen, key); !ok {
			in.put(seen, key, nil)
			kept = append(kept, item)
		}
	}
	return in.newList(kept, false)
}

// extreme is the largest (sign 1) or smallest (-1) element.
func (in *interp) extreme(name string, v any, a args, sign int) any {
	p := a.take(in, name, "case_sensitive?", "attribute?")
	var best, bestKey any = undefined{name + " of nothing"}, nil
	for i, item := range in.elements(v) {
		key := in.sortKey(item, p[1], truth(given(p[0], false)))
		if i == 0 || in.compare(key, bestKey, 0)*sign > 0 {
			best, bestKey = item, key
		}
	}
	return best
}
