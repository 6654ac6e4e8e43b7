package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
)

// object reads a JSON object of a request field by field. Fields that nobody asks for are left alone;
// null is as good as none. The first field of a wrong type or size is kept in err, and what is read
// after it is nothing.
type object struct {
	fields map[string]json.RawMessage
	path   string // before the names of fields, as in "guidance."
	err    **problem
}

// maxNesting is how deep the JSON of a request may be nested.
const maxNesting = 64

// readBody reads the body of a request, an object. It must have come within the time.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (*object, error) {
	most := s.o.MaxBody
	tooLong := &problem{status: http.StatusRequestEntityTooLarge, message: fmt.Sprintf("the request is too long: send at most %d bytes", most)}
	if r.ContentLength > most {
		w.Header().Set("Connection", "close")
		return nil, tooLong
	}
	// Bodies that are being read may take so much memory together.
	n := most
	if r.ContentLength >= 0 {
		n = max(r.ContentLength, 1)
	}
	if !s.bodies.TryAcquire(n) {
		return nil, s.busy()
	}
	defer s.bodies.Release(n)
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(s.o.BodyTime)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		w.Header().Set("Connection", "close")
		var long *http.MaxBytesError
		if errors.As(err, &long) {
			return nil, tooLong
		}
		return nil, &problem{status: http.StatusRequestTimeout, message: "the request's body did not come: send it whole"}
	}
	if err := rc.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	return parseObject(data)
}

func parseObject(data []byte) (*object, error) {
	o := &object{err: new(*problem)}
	if nesting(data) > maxNesting {
		return nil, bad("", "the JSON is nested too deep: %d levels are read", maxNesting)
	}
	if err := json.Unmarshal(data, &o.fields); err != nil || o.fields == nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, bad("", "the request is no JSON: %v at byte %d", err, syntax.Offset)
		}
		return nil, bad("", "the request is %s: send an object", jsonkind.Of(data))
	}
	return o, nil
}

// nesting is how deep brackets are nested outside of texts.
func nesting(data []byte) int {
	depth, most := 0, 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
			most = max(most, depth)
		case '}', ']':
			depth--
		}
	}
	return most
}

// raw is a field as it is, nil where there is none.
func (o *object) raw(name string) json.RawMessage {
	raw := o.fields[name]
	if *o.err != nil || jsonkind.Of(raw) == jsonkind.Null {
		return nil
	}
	return raw
}

func (o *object) has(name string) bool { return o.raw(name) != nil }

// fail notes the first error, about a field.
func (o *object) fail(name, format string, args ...any) {
	if *o.err == nil {
		*o.err = bad(o.path+name, "%s: %s", o.path+name, fmt.Sprintf(format, args...))
	}
}

// needs notes the first of these fields that is not there.
func (o *object) needs(names ...string) {
	for _, name := range names {
		if !o.has(name) && *o.err == nil {
			*o.err = missing(o.path+name, "%s%s is missing", o.path, name)
		}
	}
}

// problem is the first error as one that can be compared with nil.
func (o *object) problem() error {
	if *o.err == nil {
		return nil
	}
	return *o.err
}

func (o *object) wrongKind(name string, raw json.RawMessage, want string) {
	o.fail(name, "this is %s: give %s", jsonkind.Of(raw), want)
}

// text is a text, "" where there is none.
func (o *object) text(name string) (s string) {
	raw := o.raw(name)
	if raw == nil {
		return ""
	}
	if jsonkind.Of(raw) != jsonkind.Text || json.Unmarshal(raw, &s) != nil {
		o.wrongKind(name, raw, jsonkind.Text)
	}
	return s
}

// oneOf is a text that is one of some, the first of them where there is none.
func (o *object) oneOf(name string, texts ...string) string {
	if !o.has(name) {
		return texts[0]
	}
	s := o.text(name)
	if *o.err == nil && !slices.Contains(texts, s) {
		o.fail(name, "%q is none of %q", s, texts)
	}
	return s
}

func (o *object) flag(name string, without bool) bool {
	raw := o.raw(name)
	if raw == nil {
		return without
	}
	var b bool
	if json.Unmarshal(raw, &b) != nil {
		o.wrongKind(name, raw, jsonkind.Bool)
	}
	return b
}

// number is a number from lo to hi.
func (o *object) number(name string, without, lo, hi float64) float64 {
	raw := o.raw(name)
	if raw == nil {
		return without
	}
	var x float64
	switch {
	case jsonkind.Of(raw) != jsonkind.Number || json.Unmarshal(raw, &x) != nil:
		o.wrongKind(name, raw, jsonkind.Number)
	case x < lo || x > hi:
		o.fail(name, "%v is not from %v to %v", x, lo, hi)
	}
	return x
}

// whole is a whole number from lo to hi.
func (o *object) whole(name string, without, lo, hi int) int {
	x := o.number(name, float64(without), float64(lo), float64(hi))
	if *o.err == nil && x != math.Trunc(x) {
		o.fail(name, "%v is not whole", x)
	}
	return int(x)
}

// object is a field that is an object; nil where there is none.
func (o *object) object(name string) *object {
	raw := o.raw(name)
	if raw == nil {
		return nil
	}
	return o.inner(name, raw)
}

// inner is the object that a value at a path below this one is; nil, with an error, of another value.
func (o *object) inner(path string, raw json.RawMessage) *object {
	out := &object{path: o.path + path + ".", err: o.err}
	if jsonkind.Of(raw) != jsonkind.Object || json.Unmarshal(raw, &out.fields) != nil {
		o.wrongKind(path, raw, jsonkind.Object)
		return nil
	}
	return out
}

// list is a field that is a list of at most so many values.
func (o *object) list(name string, most int) (list []json.RawMessage) {
	raw := o.raw(name)
	if raw == nil {
		return nil
	}
	if jsonkind.Of(raw) != jsonkind.List || json.Unmarshal(raw, &list) != nil {
		o.wrongKind(name, raw, jsonkind.List)
		return nil
	}
	if len(list) > most {
		o.fail(name, "%d are given, at most %d are taken", len(list), most)
		return nil
	}
	return list
}

// texts is a text, or a list of texts.
func (o *object) texts(name string, most, longest int) (out []string) {
	raw := o.raw(name)
	if raw == nil {
		return nil
	}
	if jsonkind.Of(raw) == jsonkind.Text {
		out = []string{o.text(name)}
	} else {
		for i, item := range o.list(name, most) {
			var s string
			if at := fmt.Sprintf("%s[%d]", name, i); jsonkind.Of(item) != jsonkind.Text || json.Unmarshal(item, &s) != nil {
				o.wrongKind(at, item, jsonkind.Text)
				return nil
			}
			out = append(out, s)
		}
	}
	for i, s := range out {
		if n := utf8.RuneCountInString(s); n > longest {
			o.fail(name, "text %d has %d characters, at most %d are taken", i, n, longest)
		}
	}
	return out
}

// encode is a value as JSON, without escapes for HTML.
func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		b.Reset()
		fmt.Fprintf(&b, `{"error":{"message":"the answer cannot be written as JSON","type":"server_error","param":null,"code":null}}`)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
