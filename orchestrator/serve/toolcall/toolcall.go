// Package toolcall finds the calls of tools in what a model says. Each family of models writes them in a
// form of its own; the form of a model is the one that reads back what the model's chat template writes. The
// package knows nothing of how templates are rendered or answers decoded.
package toolcall

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
)

// Call is a call of a tool.
type Call struct {
	ID        string // of the form's own, or a random one
	Name      string
	Arguments json.RawMessage // an object
}

// Tool is a tool that may be called.
type Tool struct {
	Name       string
	Parameters json.RawMessage // the JSON schema of the arguments, nil for none
}

// Form is how a family of models writes calls.
type Form struct {
	Name   string
	begins []string // texts that a call, or a list of them, begins with
	first  bool     // calls are only looked for at the beginning of an answer
	end    string   // that a call ends with; the token that ends the answer may stand in its place
	opens  string   // that the prompt may end with, of the first beginning
	opened string   // opens, where the prompt ends so
	plain  string   // what text begins with
	known  bool     // only tools that there are make a call: the form's beginning is that of other texts too
	// read reads the calls that a text, which begins with one of begins, holds, and how many bytes of it
	// they take.
	read func(text string, tools []Tool) (calls []Call, n int, s state)
}

// state is how far a text is a call.
type state int

const (
	bad  state = iota // it is none
	more              // it may become one
	done
)

// Markers are texts that calls are written with, some of which may be control tokens.
func (f *Form) Markers() []string {
	out := append([]string{}, f.begins...)
	for _, m := range marks {
		if !strings.HasPrefix(m, "{") {
			out = append(out, m)
		}
	}
	return out
}

// Reader finds the calls in an answer that comes in parts.
type Reader struct {
	form  *Form
	tools []Tool
	text  string // that may still become a call
	said  bool   // something that is no white space has been told as text
	calls int
}

// Reader begins with an answer.
func (f *Form) Reader(tools []Tool) *Reader { return &Reader{form: f, tools: tools, text: f.opened} }

// Push takes a part of the answer and returns what can be told of it by now: text, and then calls. last says
// that there is no more.
func (r *Reader) Push(part string, last bool) (text string, calls []Call) {
	r.text += part
	var out strings.Builder
	tell := func(n int) {
		out.WriteString(r.text[:n])
		if strings.TrimSpace(r.text[:n]) != "" {
			r.said = true
		}
		r.text = r.text[n:]
	}
	for r.text != "" {
		if p := r.form.plain; p != "" {
			if r.text = strings.TrimPrefix(r.text, p); !last && strings.HasPrefix(p, r.text) {
				break
			}
		}
		if r.form.first && r.calls > 0 && !r.said {
			r.text = strings.TrimLeft(r.text, space+";") // between calls
		}
		i, begin := r.find()
		if begin == "" {
			if r.calls > 0 && last && strings.TrimSpace(r.text) == "" {
				r.text = "" // space after calls
			}
			n := len(r.text)
			if !last {
				n -= r.held()
			}
			tell(n)
			break
		}
		found, n, s := r.form.read(r.text[i:], r.tools)
		if s == more && last && r.form.end != "" {
			found, n, s = r.form.read(r.text[i:]+r.form.end, r.tools)
			n = min(n, len(r.text)-i)
		}
		if s == done && (r.form.known && !known(found, r.tools) || len(found) == 0 && r.calls == 0) {
			s = bad // the beginning of another text, or an end without a beginning
		}
		switch {
		case s == more && !last:
			if i > 0 && strings.TrimSpace(r.text[:i]) != "" {
				tell(len(strings.TrimRight(r.text[:i], space)))
			}
			return out.String(), calls
		case s == done:
			if before := strings.TrimRight(r.text[:i], space); strings.TrimSpace(before) != "" {
				tell(len(before))
				i -= len(before)
			}
			for k := range found {
				if found[k].ID == "" {
					found[k].ID = newID()
				}
			}
			calls = append(calls, found...)
			r.calls += len(found)
			r.text = r.text[i+n:]
		default:
			tell(i + len(begin))
		}
	}
	return out.String(), calls
}

const space = " \t\r\n"

// find is where the first beginning of a call is.
func (r *Reader) find() (at int, begin string) {
	if r.form.first && r.said {
		return 0, ""
	}
	at = -1
	for _, b := range r.form.begins {
		if i := strings.Index(r.text, b); i >= 0 && (at < 0 || i < at || i == at && len(b) > len(begin)) {
			at, begin = i, b
		}
	}
	if r.form.first && strings.TrimSpace(r.text[:max(at, 0)]) != "" {
		return 0, ""
	}
	return at, begin
}

// held is the number of bytes at the text's end that are not told yet: space, and what a call may begin
// with.
func (r *Reader) held() int {
	if r.form.first && (r.said || strings.TrimSpace(r.text) != "") {
		whole := strings.TrimLeft(r.text, space)
		for _, b := range r.form.begins {
			if !r.said && strings.HasPrefix(b, whole) {
				return len(r.text)
			}
		}
		return 0
	}
	held := len(r.text) - len(strings.TrimRight(r.text, space))
	for _, b := range r.form.begins {
		for n := min(len(b)-1, len(r.text)); n > 0; n-- {
			if strings.HasSuffix(r.text, b[:n]) {
				before := strings.TrimRight(r.text[:len(r.text)-n], space)
				held = max(held, len(r.text)-len(before))
				break
			}
		}
	}
	return held
}

func known(calls []Call, tools []Tool) bool {
	for _, c := range calls {
		if find(tools, c.Name) == nil {
			return false
		}
	}
	return true
}

func find(tools []Tool, name string) *Tool {
	for i := range tools {
		if tools[i].Name == name {
			return &tools[i]
		}
	}
	return nil
}

// newID is a random id of nine letters and digits, as Mistral's templates want them.
func newID() string {
	const signs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var b [9]byte
	for i := range b {
		b[i] = signs[rand.IntN(len(signs))]
	}
	return string(b[:])
}
