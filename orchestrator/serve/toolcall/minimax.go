package toolcall

import (
	"bytes"
	"encoding/json"
	"strings"
)

// minimaxM3 is MiniMax-M3's: a mark before every tag, arguments in tags of their names, and what they hold in tags
// again: items of lists, fields of objects.
var minimaxM3 = &Form{Name: "minimax-m3", begins: []string{tagged("<tool_call>")}, end: tagged("</tool_call>"), read: func(text string, tools []Tool) (calls []Call, n int, s state) {
	p := &tagReader{text: text, at: len(tagged("<tool_call>"))}
	for {
		if s := p.take(tagged("</tool_call>")); s != bad {
			return calls, p.at, s
		}
		if s := p.take(tagged(`<invoke name="`)); s != done {
			return nil, 0, s
		}
		name, s := p.until(`">`)
		if s != done {
			return nil, 0, s
		}
		p.out.Reset()
		if s := p.fields("</invoke>", typesOf(find(tools, name)), 0); s != done {
			return nil, 0, s
		}
		calls = append(calls, Call{Name: name, Arguments: bytes.Clone(p.out.Bytes())})
	}
}}

func tagged(tag string) string { return "]<]minimax[>[" + tag }

// tagReader turns tags into JSON.
type tagReader struct {
	text string
	at   int
	out  bytes.Buffer
}

// take takes a mark and the space before it.
func (p *tagReader) take(mark string) state {
	k, s := skip(p.text[p.at:], mark)
	p.at += k
	return s
}

// until takes the text up to a mark, and the mark.
func (p *tagReader) until(mark string) (string, state) {
	text, _, found := strings.Cut(p.text[p.at:], mark)
	if !found {
		return "", more
	}
	p.at += len(text) + len(mark)
	return text, done
}

// fields reads an object up to a tag that ends it.
func (p *tagReader) fields(end string, types map[string]json.RawMessage, depth int) state {
	p.out.WriteByte('{')
	for n := 0; ; n++ {
		if s := p.take(tagged(end)); s == done {
			p.out.WriteByte('}')
			return done
		} else if s == more && n == 0 && strings.TrimSpace(p.text[p.at:]) == "" {
			return more
		}
		if s := p.take(tagged("<")); s != done {
			return s
		}
		name, s := p.until(">")
		if s != done {
			return s
		}
		if name == "" || name[0] == '/' {
			return bad
		}
		if n > 0 {
			p.out.WriteByte(',')
		}
		p.out.Write(quote(name))
		p.out.WriteByte(':')
		if s := p.value("</"+name+">", types[name], depth+1); s != done {
			return s
		}
	}
}

// value reads what a tag holds, up to the tag that ends it.
func (p *tagReader) value(end string, kind json.RawMessage, depth int) state {
	rest := p.text[p.at:]
	switch {
	case depth > 64:
		return bad
	case string(kind) != `"string"` && strings.HasPrefix(rest, tagged("<item>")):
		p.out.WriteByte('[')
		for n := 0; ; n++ {
			over := p.take(tagged(end))
			if over == done {
				p.out.WriteByte(']')
				return done
			}
			if s := p.take(tagged("<item>")); s != done {
				return max(s, over)
			}
			if n > 0 {
				p.out.WriteByte(',')
			}
			if s := p.value("</item>", nil, depth+1); s != done {
				return s
			}
		}
	case strings.HasPrefix(rest, tagged("<")) && !strings.HasPrefix(rest, tagged("</")):
		return p.fields(end, nil, depth)
	case rest == "" || strings.HasPrefix(tagged("</"), rest):
		return more
	}
	text, s := p.until(tagged(end))
	if s == done {
		p.out.Write(argument(text, kind))
	}
	return s
}
