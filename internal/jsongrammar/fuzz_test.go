package jsongrammar

import (
	"strings"
	"testing"
)

// Whatever is given for a schema is refused with a word on what to do, or has a grammar whose rules are all there.
func FuzzOf(f *testing.F) {
	for _, schema := range []string{
		`true`, `{"type": "object", "properties": {"a": {"type": "integer", "minimum": -3, "maximum": 12}}, "required": ["a"]}`,
		`{"type": ["string", "null"], "pattern": "^a[b-d]{2,3}$", "minLength": 2}`, `{"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"const": 1}]}}}`,
		`{"type": "array", "prefixItems": [{"enum": [1, "a", null]}], "items": false, "maxItems": 1}`, `{"oneOf": [{"type": "number"}, {"format": "date-time", "type": "string"}]}`,
		`{"additionalProperties": {"allOf": [{"type": "boolean"}]}, "propertyNames": {"maxLength": 3}}`, strings.Repeat("[", 20_000), strings.Repeat(`{"items":`, 20_000),
	} {
		f.Add([]byte(schema))
	}
	if _, err := Of([]byte(strings.Repeat("[", 8<<20))); err == nil { // without a bound it ends the process
		f.Error("8 million levels are read")
	}
	f.Fuzz(func(t *testing.T, schema []byte) {
		grammar, err := Of(schema)
		switch {
		case err != nil && !strings.HasSuffix(err.Error(), ")"):
			t.Errorf("nothing to do about it: %v", err)
		case err == nil && !strings.HasPrefix(grammar, "root ::= "):
			t.Errorf("no grammar: %q", grammar)
		}
	})
}
