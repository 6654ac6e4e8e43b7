package prompt

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
)

// guard tells which parts of a rendered conversation are spellings of special tokens that
// come from its messages or from what [Encoder.With] brings: they stay text, so that no content can close its own turn or
// open another. Templates cut and move contents, so the conversation is rendered once more with
// marks around such spellings. Where the marks change what the template does, it is tried
// with fewer of them; spellings that the template itself writes or looks for, and that end no
// turn, are the last that may do without.
func (e *Encoder) guard(text string, messages []llama.Message, chat llama.Chat) (string, []span, error) {
	whole := ""
	for _, mode := range []struct{ parts, lenient bool }{{parts: true}, {}, {lenient: true}} {
		m := marker{spellings: &e.strict, parts: mode.parts}
		if mode.lenient {
			m.spellings = &e.lenient
		}
		m.choose(text, messages, e.asked)
		marked := make([]llama.Message, len(messages))
		for i, msg := range messages {
			var err error
			if marked[i], err = m.message(msg); err != nil {
				return "", nil, err
			}
		}
		with := chat
		marks, err := m.vars(e.asked)
		if err != nil {
			return "", nil, err
		}
		with.Vars = maps.Clone(chat.Vars)
		maps.Copy(with.Vars, marks)
		if !m.marked {
			return text, nil, nil
		}
		if !mode.lenient {
			whole = m.whole
		}
		rendered, err := e.model.RenderChat(marked, with)
		if err != nil {
			continue // it may be the marks that the template refuses
		}
		if clean, literal, ok := m.remove(rendered); ok && clean == text {
			return text, literal, nil
		}
	}
	return "", nil, fault.New("encode", "parse_content", nil, "take it out, or set {parse_content} to have it parsed",
		"a message or a variable spells the special token %q, and the chat template changes it so that it cannot be kept as text", whole)
}

// spellings are texts to look for.
type spellings struct {
	first    [256][]string   // by their first byte, the longest first
	suffixes map[string]bool // proper ones
	longest  int             // of the suffixes, bytes
}

func (s *spellings) add(text string) {
	s.first[text[0]] = append(s.first[text[0]], text)
	if s.suffixes == nil {
		s.suffixes = map[string]bool{}
	}
	for i := range text {
		if i > 0 {
			s.suffixes[text[i:]] = true
			s.longest = max(s.longest, len(text)-i)
		}
	}
}

// marker puts marks around what spells a special token in a text: two characters for private
// use that occur nowhere else.
type marker struct {
	open, shut rune
	*spellings
	parts  bool   // parts of spellings at the ends of a text too: the next text may complete them
	marked bool   // something was
	whole  string // the first spelling that was
}

// choose takes the last two characters for private use that do not occur in a conversation.
func (m *marker) choose(text string, messages []llama.Message, vars map[string]any) {
	var all strings.Builder
	all.WriteString(text)
	for _, msg := range messages {
		all.WriteString(msg.Role + msg.Content)
		for _, raw := range msg.Fields {
			all.Write(raw)
		}
	}
	for _, v := range vars {
		fmt.Fprintf(&all, "%s", v)
	}
	next := rune(utf8.MaxRune - 2) // the very last are no characters
	free := func() rune {
		for strings.ContainsRune(all.String(), next) {
			next--
		}
		next--
		return next + 1
	}
	m.open, m.shut = free(), free()
}

func (m *marker) message(msg llama.Message) (llama.Message, error) {
	out := llama.Message{Role: m.mark(msg.Role), Content: m.mark(msg.Content)}
	if msg.Fields != nil {
		out.Fields = make(map[string]json.RawMessage, len(msg.Fields))
	}
	for name, raw := range msg.Fields {
		var err error
		if out.Fields[name], err = m.json(raw); err != nil {
			return out, fmt.Errorf("the field %s of a message: %w", name, err)
		}
	}
	return out, nil
}

// vars marks texts among variables, and those within JSON.
func (m *marker) vars(in map[string]any) (map[string]any, error) {
	out := make(map[string]any, len(in))
	for name, v := range in {
		var err error
		switch v := v.(type) {
		case string:
			out[name] = m.mark(v)
		case json.RawMessage:
			out[name], err = m.json(v)
		default:
			out[name] = v
		}
		if err != nil {
			return nil, fmt.Errorf("the variable %s of the template: %w", name, err)
		}
	}
	return out, nil
}

// mark marks what a text spells.
func (m *marker) mark(text string) string {
	var b strings.Builder
	done := 0 // bytes written
	for i := 0; i < len(text); {
		n := m.at(text, i)
		if n == 0 {
			i++
			continue
		}
		m.marked = true
		b.WriteString(text[done:i])
		b.WriteRune(m.open)
		b.WriteString(text[i : i+n])
		b.WriteRune(m.shut)
		i += n
		done = i
	}
	return b.String() + text[done:]
}

// at is the length of what a text spells at i, 0 for nothing.
func (m *marker) at(text string, i int) int {
	rest, part := text[i:], 0
	for _, s := range m.first[rest[0]] {
		if strings.HasPrefix(rest, s) {
			if m.whole == "" {
				m.whole = s
			}
			return len(s)
		}
		if m.parts && strings.HasPrefix(s, rest) {
			part = len(rest)
		}
	}
	if m.parts && i == 0 && part == 0 {
		for n := min(m.longest, len(text)); n > 0; n-- {
			if m.suffixes[text[:n]] {
				return n
			}
		}
	}
	return part
}

// json marks the strings of a JSON value, names included.
func (m *marker) json(raw json.RawMessage) (json.RawMessage, error) {
	var b bytes.Buffer
	for i := 0; i < len(raw); {
		if raw[i] != '"' {
			b.WriteByte(raw[i])
			i++
			continue
		}
		end := i + 1
		for end < len(raw) && raw[end] != '"' {
			if raw[end] == '\\' {
				end++
			}
			end++
		}
		end = min(end+1, len(raw))
		var text string
		if err := json.Unmarshal(raw[i:end], &text); err != nil {
			return nil, err
		}
		if marked := m.mark(text); marked != text {
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(marked); err != nil {
				return nil, err
			}
			b.Truncate(b.Len() - 1) // the encoder's line break
		} else {
			b.Write(raw[i:end])
		}
		i = end
	}
	return b.Bytes(), nil
}

// remove takes the marks out of a text and gives what they were around; ok is false where
// they come in other than pairs.
func (m *marker) remove(text string) (clean string, literal []span, ok bool) {
	var b strings.Builder
	from := -1
	for _, r := range text {
		switch {
		case r == m.open && from < 0:
			from = b.Len()
		case r == m.shut && from >= 0:
			literal = append(literal, span{from, b.Len()})
			from = -1
		case r == m.open || r == m.shut:
			return "", nil, false
		default:
			b.WriteRune(r)
		}
	}
	return b.String(), literal, from < 0
}
