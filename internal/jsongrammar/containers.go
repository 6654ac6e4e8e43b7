package jsongrammar

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// bounds reads a least and a most number of something; most is -1 where there is none.
func bounds(s *object, least, most, path string) (from, to int, err error) {
	to = -1
	for key, n := range map[string]*int{least: &from, most: &to} {
		if !s.has(key) {
			continue
		}
		x, _ := s.get(key).(json.Number)
		v, e := x.Float64()
		if *n = int(v); e != nil || v != float64(*n) || v < 0 || v > 1000 {
			return 0, 0, unsupported(path+"/"+key, "give a number from 0 to 1000", "%s is %s", key, text(s.get(key)))
		}
	}
	if to >= 0 && to < from {
		return 0, 0, unsupported(path, "raise "+most, "%s %d is above %s %d", least, from, most, to)
	}
	return from, to, nil
}

// times repeats an item, which needs no parentheses.
func times(item string, from, to int) string {
	switch {
	case to < 0:
		return fmt.Sprintf("%s{%d,}", item, from)
	case to == 0:
		return `""`
	}
	return fmt.Sprintf("%s{%d,%d}", item, from, to)
}

func (c *converter) array(s *object, path string) (string, error) {
	from, to, err := bounds(s, "minItems", "maxItems", path)
	if err != nil {
		return "", err
	}
	if unique, ok := s.get("uniqueItems").(bool); s.has("uniqueItems") && (!ok || unique) && (to < 0 || to > 1) {
		return "", unsupported(path, "leave it out", "the keyword %q is not supported", "uniqueItems")
	}
	first, ok := s.get("prefixItems").([]any)
	if s.has("prefixItems") && !ok {
		return "", unsupported(path+"/prefixItems", "list schemas", "it is no list of schemas")
	}
	items := make([]string, len(first))
	for i, schema := range first {
		if to >= 0 && i >= to {
			break
		}
		if items[i], err = c.within(func() (string, error) { return c.value(schema, fmt.Sprintf("%s/prefixItems/%d", path, i)) }); err != nil {
			return "", err
		}
	}
	rest := "" // what the others are; empty where there are none
	more := to < 0 || to > len(first)
	switch x := s.get("items").(type) {
	case nil:
		if more && !(len(first) > 0 && from <= len(first)) { // no more than are described, if that is enough
			rest = c.builtin("value")
		}
	case bool:
		if x && more {
			rest = c.builtin("value")
		}
	case []any:
		return "", unsupported(path+"/items", "write prefixItems", "a list of schemas is not supported")
	default:
		if more {
			if rest, err = c.within(func() (string, error) { return c.value(x, path+"/items") }); err != nil {
				return "", err
			}
		}
	}
	if rest == "" {
		if to < 0 || to > len(first) {
			to = len(first)
		}
		if from > to {
			return "", unsupported(path, "lower minItems", "%d items at least, and %d at most", from, to)
		}
	}
	c.builtin("ws")
	if to == 0 {
		return c.rule(path, `"[" ws "]"`), nil
	}
	// tail is the items from number i on, with a comma before each but the first of all.
	tail := func(i int) string {
		comma := `"," ws `
		if i == 0 {
			comma = ""
		}
		if i < len(first) {
			return comma + items[i]
		}
		return comma + rest
	}
	n := len(first)
	if to >= 0 {
		n = min(n, to)
	}
	body := "" // of what follows item n-1
	if rest != "" && (to < 0 || to > max(n, 1)) {
		left := -1
		if to >= 0 {
			left = to - max(n, 1)
		}
		body = times(`("," ws `+rest+`)`, max(0, from-max(n, 1)), left)
	}
	for i := max(n, 1) - 1; i >= 0; i-- {
		body = strings.TrimSpace(tail(i) + " " + body)
		if i == 0 {
			body += " ws"
		}
		if i >= from {
			body = "(" + body + ")?"
		}
	}
	return c.rule(path, `"[" ws `+body+` "]"`), nil
}

// property is a named member of an object.
type property struct {
	name     string
	schema   any
	path     string
	required bool
}

func (c *converter) object(s *object, path string) (string, error) {
	props, additional, err := c.properties(s, path)
	if err != nil {
		return "", err
	}
	c.builtin("ws")
	// Backwards: after is what may follow property i-1, and must what has to come where a comma or the beginning
	// stands before it.
	after, must := "", ""
	if additional != nil {
		key := c.builtin("string")
		if len(props) > 0 {
			key = c.otherKey(props, path)
		}
		v, err := c.within(func() (string, error) { return c.value(additional, path+"/additionalProperties") })
		if err != nil {
			return "", err
		}
		member := c.rule(path+"/other", fmt.Sprintf(`%s ":" " "? %s`, key, v))
		after = fmt.Sprintf(`("," ws %s)*`, member)
		must = c.rule(path+"/others", member+" "+after)
	}
	optional := true
	for _, p := range slices.Backward(props) {
		v, err := c.within(func() (string, error) { return c.value(p.schema, p.path) })
		if err != nil {
			return "", err
		}
		body := strings.TrimSpace(fmt.Sprintf(`%s " "? %s %s`, quote(text(p.name)+":"), v, after))
		if !p.required && must != "" {
			body += " | " + must
		}
		must = c.rule(p.path+"/on", body)
		optional = optional && !p.required
		if after = `"," ws ` + must; optional {
			after = "(" + after + ")?"
		}
	}
	switch {
	case must == "":
		return c.rule(path, `"{" ws "}"`), nil
	case optional:
		return c.rule(path, fmt.Sprintf(`"{" ws (%s ws)? "}"`, must)), nil
	}
	return c.rule(path, fmt.Sprintf(`"{" ws %s ws "}"`, must)), nil
}

// properties are the named members in their order, and the schema of all others, nil where there are none.
func (c *converter) properties(s *object, path string) (props []property, additional any, err error) {
	named, ok := s.get("properties").(*object)
	if s.has("properties") && !ok {
		return nil, nil, unsupported(path+"/properties", "give schemas by name", "it is no object")
	}
	var required []string
	list, ok := s.get("required").([]any)
	if s.has("required") && !ok {
		return nil, nil, unsupported(path+"/required", "list names", "it is no list of names")
	}
	for _, x := range list {
		name, ok := x.(string)
		if !ok {
			return nil, nil, unsupported(path+"/required", "list names", "%s is no name", text(x))
		}
		required = append(required, name)
	}
	additional = s.get("additionalProperties")
	if additional == false {
		additional = nil
	} else if !s.has("additionalProperties") && (named == nil || len(named.keys) == 0) {
		additional = true
	}
	if named != nil {
		for _, name := range named.keys {
			p := property{name, named.get(name), path + "/properties/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name), slices.Contains(required, name)}
			if p.schema == false && !p.required {
				continue
			}
			props = append(props, p)
		}
	}
	for _, name := range required {
		if named != nil && named.has(name) || slices.ContainsFunc(props, func(p property) bool { return p.name == name }) {
			continue
		}
		schema := additional
		if !s.has("additionalProperties") {
			schema = true
		}
		if schema == nil {
			return nil, nil, unsupported(path+"/required", "name it under properties", "%q is required, and not allowed", name)
		}
		props = append(props, property{name, schema, path + "/additionalProperties", true})
	}
	return props, additional, nil
}

// otherKey is the rule of keys that are none of the properties' names. They hold no escapes, by which a name could be
// spelled otherwise.
func (c *converter) otherKey(props []property, path string) string {
	c.builtin("plain")
	var names []string
	for _, p := range props {
		names = append(names, p.name)
	}
	slices.Sort(names)
	// node is the rule of what may follow the first n characters of some names that share them.
	var node func(names [][]rune, n int) string
	node = func(names [][]rune, n int) string {
		var body []string
		whole := false
		next := map[rune][][]rune{}
		var letters []rune
		for _, name := range names {
			if len(name) == n {
				whole = true
				continue
			}
			if next[name[n]] == nil {
				letters = append(letters, name[n])
			}
			next[name[n]] = append(next[name[n]], name)
		}
		slices.Sort(letters)
		var class strings.Builder
		for _, r := range letters {
			if r < ' ' || r == '"' || r == '\\' {
				continue // which needs an escape
			}
			fmt.Fprintf(&class, `\U%08X`, r)
			body = append(body, fmt.Sprintf(`"\U%08X" %s`, r, node(next[r], n+1)))
		}
		body = append(body, fmt.Sprintf(`[^"\\\x00-\x1F%s] plain*`, class.String()))
		if !whole {
			body = append(body, `""`)
		}
		return c.rule(path+"/key", strings.Join(body, " | "))
	}
	var all [][]rune
	for _, name := range names {
		all = append(all, []rune(name))
	}
	return c.rule(path+"/key", fmt.Sprintf(`"\"" %s "\""`, node(all, 0)))
}

// disjoint says whether what two schemas accept shows that no value is valid by both.
func (c *converter) disjoint(a, b any) bool {
	x, y := c.follow(a), c.follow(b)
	if x == nil || y == nil {
		return false
	}
	if p, q := constantsOf(x), constantsOf(y); p != nil && q != nil {
		return !slices.ContainsFunc(p, func(s string) bool { return slices.Contains(q, s) })
	}
	kinds := func(o *object) []string {
		if values := constantsOf(o); values != nil {
			var out []string
			list, _ := o.get("enum").([]any)
			if o.has("const") {
				list = []any{o.get("const")}
			}
			for _, v := range list {
				out = append(out, kindOf(v))
			}
			return out
		}
		types, err := typesOf(o, slices.DeleteFunc(slices.Clone(o.keys), func(k string) bool { return keywords[k] == "" }), "")
		if err != nil {
			return nil
		}
		return types
	}
	of := func(t string) string { return cmp.Or(map[string]string{"integer": "number"}[t], t) }
	p, q := kinds(x), kinds(y)
	if len(p) == 0 || len(q) == 0 {
		return false
	}
	if !slices.ContainsFunc(p, func(s string) bool { return slices.ContainsFunc(q, func(t string) bool { return of(s) == of(t) }) }) {
		return true
	}
	if len(p) != 1 || len(q) != 1 || p[0] != "object" {
		return false
	}
	f, err := tags(c, x)
	g, err2 := tags(c, y)
	if err != nil || err2 != nil {
		return false
	}
	for name, values := range f {
		if others, ok := g[name]; ok && !slices.ContainsFunc(values, func(s string) bool { return slices.Contains(others, s) }) {
			return true
		}
	}
	return false
}

// follow is the object that a schema is, or refers to; nil of others.
func (c *converter) follow(schema any) *object {
	for range 16 {
		o, ok := schema.(*object)
		if !ok || !o.has("$ref") {
			return o
		}
		pointer, _ := o.get("$ref").(string)
		var err error
		if schema, err = c.resolve(pointer, ""); err != nil {
			return nil
		}
	}
	return nil
}

// constantsOf are the values that a schema lists, as texts; nil where it lists none.
func constantsOf(o *object) (out []string) {
	list, _ := o.get("enum").([]any)
	if o.has("const") {
		list = []any{o.get("const")}
	}
	for _, v := range list {
		if n, ok := v.(json.Number); ok { // 1 is 1.0
			if x, err := n.Float64(); err == nil {
				v = x
			}
		}
		out = append(out, text(v))
	}
	return out
}

// tags are the required properties of an object that list their values.
func tags(c *converter, o *object) (map[string][]string, error) {
	props, _, err := c.properties(o, "")
	out := map[string][]string{}
	for _, p := range props {
		if s := c.follow(p.schema); p.required && s != nil {
			if values := constantsOf(s); values != nil {
				out[p.name] = values
			}
		}
	}
	return out, err
}
