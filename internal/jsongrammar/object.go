package jsongrammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// object is a JSON object with its keys in order.
type object struct {
	keys   []string
	values map[string]any
}

func (o *object) get(key string) any { return o.values[key] }

func (o *object) has(key string) bool {
	_, ok := o.values[key]
	return ok
}

// parse reads JSON: objects keep their order, numbers their digits.
func parse(data []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := read(dec, 0)
	if err == nil && dec.More() {
		err = fmt.Errorf("something follows the value")
	}
	return v, err
}

// deepest is how deep a schema may be nested: more would take the stack that there is.
const deepest = 1000

func read(dec *json.Decoder, depth int) (any, error) {
	if depth > deepest {
		return nil, fmt.Errorf("it is nested deeper than %d levels", deepest)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('{'):
		o := &object{values: map[string]any{}}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := read(dec, depth+1)
			if err != nil {
				return nil, err
			}
			name := key.(string)
			if o.has(name) {
				return nil, fmt.Errorf("the key %q stands twice", name)
			}
			o.keys = append(o.keys, name)
			o.values[name] = v
		}
		_, err := dec.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := read(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	return t, nil
}

// text is a value as JSON, objects in their order.
func text(v any) string {
	switch x := v.(type) {
	case *object:
		var parts []string
		for _, key := range x.keys {
			parts = append(parts, text(key)+": "+text(x.values[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, y := range x {
			parts = append(parts, text(y))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// kindOf is the type of a value.
func kindOf(v any) string {
	switch x := v.(type) {
	case *object:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case json.Number:
		if !strings.ContainsAny(string(x), ".eE") {
			return "integer"
		}
		return "number"
	}
	return "null"
}
