package toolcall

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strings"
)

// xml is a form in which each argument stands between marks of its own.
type xml struct {
	begin     string
	function  [2]string // around the name; the second mark may be where the arguments begin
	parameter [3]string // before an argument's name, after it, after its value
	value     string    // before the value, if there is such a mark
	close     string    // after the arguments
	end       string
}

func xmlForm(name string, f xml) *Form {
	return &Form{Name: name, begins: []string{f.begin}, end: f.end, read: func(text string, tools []Tool) (calls []Call, n int, s state) {
		n = len(f.begin)
		for {
			c, k, s := f.call(text[n:], tools)
			if s != done {
				if s == bad && calls != nil { // after one call comes another, or the end
					break
				}
				return nil, 0, s
			}
			calls = append(calls, c)
			n += k
			if k, s = skip(text[n:], f.end); s == done {
				return calls, n + k, done
			}
			if s == more && strings.TrimSpace(text[n:]) == "" {
				return nil, 0, more
			}
			if f.close == "" {
				break
			}
		}
		k, s := skip(text[n:], f.end)
		if s != done {
			return nil, 0, s
		}
		return calls, n + k, done
	}}
}

// call reads one call.
func (f *xml) call(text string, tools []Tool) (c Call, n int, s state) {
	n, s = skip(text, f.function[0])
	if s != done {
		return c, 0, s
	}
	name, _, found := strings.Cut(text[n:], f.function[1])
	if !found && f.close == "" { // a call without arguments ends at once
		name, _, found = strings.Cut(text[n:], f.end)
	}
	if !found {
		if strings.HasPrefix(strings.TrimLeft(text[n:], space), "{") {
			return c, 0, bad
		}
		return c, 0, more
	}
	n += len(name)
	if f.close != "" {
		n += len(f.function[1])
	}
	if strings.HasSuffix(f.function[0], `"`) { // attributes may follow
		name, _, _ = strings.Cut(name, `"`)
	}
	c.Name = strings.TrimSpace(name)
	if c.Name == "" || strings.ContainsAny(c.Name, "{\"<") {
		return c, 0, bad
	}
	types := typesOf(find(tools, c.Name))
	var args bytes.Buffer
	args.WriteByte('{')
	for {
		k, over := skip(text[n:], cmp.Or(f.close, f.end))
		if over == done {
			if f.close != "" {
				n += k
			}
			break
		}
		if k, s = skip(text[n:], f.parameter[0]); s != done {
			return c, 0, max(s, over)
		}
		at := n + k
		key, rest, found := strings.Cut(text[at:], f.parameter[1])
		if !found {
			return c, 0, more
		}
		at = len(text) - len(rest)
		if f.value != "" {
			if k, s = skip(text[at:], f.value); s != done {
				return c, 0, s
			}
			at += k
		}
		kind := types[strings.TrimSpace(key)]
		if strings.HasSuffix(f.parameter[0], `"`) && f.parameter[1][0] != '"' {
			var attributes string
			key, attributes, _ = strings.Cut(key, `"`)
			kind = types[strings.TrimSpace(key)]
			switch { // what the call says itself comes first
			case strings.Contains(attributes, `string="true"`), strings.Contains(attributes, `type="string"`):
				kind = json.RawMessage(`"string"`)
			case attributes != "":
				kind = nil
			}
		}
		end := f.parameter[2]
		inner, cdata := strings.CutPrefix(text[at:], "<![CDATA[")
		if cdata {
			at, end = len(text)-len(inner), "]]>"+end
		}
		value, rest, found := strings.Cut(text[at:], end)
		if !found {
			return c, 0, more
		}
		n = len(text) - len(rest)
		if args.Len() > 1 {
			args.WriteByte(',')
		}
		args.Write(quote(strings.TrimSpace(key)))
		args.WriteByte(':')
		args.Write(argument(value, kind))
	}
	args.WriteByte('}')
	c.Arguments = args.Bytes()
	return c, n, done
}

// typesOf are the types that a tool's schema gives its arguments.
func typesOf(t *Tool) map[string]json.RawMessage {
	if t == nil {
		return nil
	}
	var schema struct {
		Properties map[string]struct{ Type json.RawMessage }
	}
	if json.Unmarshal(t.Parameters, &schema) != nil {
		return nil
	}
	out := map[string]json.RawMessage{}
	for name, p := range schema.Properties {
		out[name] = p.Type
	}
	return out
}

// argument is a value that is written without quotes, as JSON: a text where the schema says so, or where it
// is no other JSON.
func argument(text string, kind json.RawMessage) []byte {
	text = strings.TrimSuffix(strings.TrimPrefix(text, "\n"), "\n")
	if string(kind) == `"string"` {
		return quote(text)
	}
	if trimmed := strings.TrimSpace(text); json.Valid([]byte(trimmed)) {
		return []byte(trimmed)
	}
	switch strings.TrimSpace(text) { // as Python writes them
	case "True":
		return []byte("true")
	case "False":
		return []byte("false")
	case "None":
		return []byte("null")
	}
	if trimmed := strings.TrimSpace(text); trimmed != "" && strings.ContainsRune("[{", rune(trimmed[0])) {
		p := pythonReader{text: trimmed}
		if p.value(0) == done && p.at == len(trimmed) {
			return p.out.Bytes()
		}
	}
	return quote(text)
}

func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return []byte(`""`)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
