package prompt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// Model is what an encoder needs of a language model.
type Model interface {
	Tokenize(text string, special, parse bool) ([]int32, error)
	Piece(token int32, special bool) ([]byte, error)
	Specials() ([]llama.Special, error)
	BOS() int32
	AddBOS() bool
	IsEOG(token int32) bool
	ChatTemplate() string
	RenderChat(messages []llama.Message, c llama.Chat) (string, error)
}

// Options say how prompts become tokens. The zero value takes plain prompts as they are and
// conversations by the model's own template.
type Options struct {
	Chat           bool           // a plain prompt is one user message
	System         string         // system prompt of conversations that have none
	Template       string         // Jinja, or the name of a built-in template; the model's own where it is empty
	TemplateKwargs map[string]any // further variables of the template, see [llama.Chat]
	ParseContent   bool           // special tokens that messages spell are parsed, as those of plain prompts are
	Now            time.Time      // of templates that tell the date; the zero value is the current time
}

// encoding is raised when the same options come to mean other tokens.
const encoding = 1

// Encoder turns prompts into tokens, for every verb: what a head was learned on is what it
// is served on. It may be used from several goroutines.
type Encoder struct {
	model    Model
	o        Options
	template string         // "" for none: conversations are shown as plain text
	asked    map[string]any // see With
	bos      string         // the BOS token's spelling, where the tokenizer adds that token
	added    [2][]int32
	forms    forms
	// The spellings that stay text in messages, and those of them that the template has none of
	// or that end a turn: see guard.
	strict, lenient spellings
	specials        []llama.Special // the longest spellings first, as llama.cpp looks for them
	thinks          *think.Marks    // nil of a model that does not think
}

// NewEncoder makes the encoder of a model's prompts.
func NewEncoder(m Model, o Options) (*Encoder, error) {
	e := &Encoder{model: m, o: o, template: o.Template}
	if e.template == "" {
		e.template = m.ChatTemplate()
	}
	var err error
	if e.specials, err = m.Specials(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(e.specials, func(a, b llama.Special) int { return len(b.Text) - len(a.Text) })
	for _, s := range e.specials {
		if !s.Parsed() {
			continue
		}
		e.strict.add(s.Text)
		if m.IsEOG(s.ID) || !strings.Contains(e.template, s.Text) {
			e.lenient.add(s.Text)
		}
	}
	none, err := m.Tokenize("", true, true)
	if err != nil {
		return nil, err
	}
	e.added[1] = none
	if m.AddBOS() && len(none) > 0 {
		e.added = [2][]int32{none[:1:1], none[1:]}
		for _, s := range e.specials {
			if s.ID == m.BOS() {
				e.bos = s.Text
			}
		}
	}
	if e.forms = (forms{texts: true}); llama.IsJinja(e.template) {
		e.forms = e.probe()
	}
	e.thinks, err = e.marks()
	return e, err
}

// With is an encoder whose templates see further variables, such as the tools of one request. What their texts spell
// stays text, as that of messages does.
func (e *Encoder) With(vars map[string]any) *Encoder {
	if len(vars) == 0 {
		return e
	}
	out := *e
	out.o.TemplateKwargs = maps.Clone(e.o.TemplateKwargs)
	if out.o.TemplateKwargs == nil {
		out.o.TemplateKwargs = map[string]any{}
	}
	maps.Copy(out.o.TemplateKwargs, vars)
	out.asked = maps.Clone(e.asked)
	if out.asked == nil {
		out.asked = map[string]any{}
	}
	maps.Copy(out.asked, vars)
	return &out
}

// Plain says whether conversations are shown as plain text, because the model has no template
// and none was given.
func (e *Encoder) Plain() bool { return e.template == "" }

// Dated says whether the template may tell the date, so that tomorrow's tokens are others.
func (e *Encoder) Dated() bool { return strings.Contains(e.template, "strftime_now") }

// Stops are the texts at which an answer ends besides those that the user gives: where
// conversations are plain text, the user's next turn.
func (e *Encoder) Stops(r Record) []string {
	if e.Plain() && e.messages(r) != nil {
		return []string{"\n" + plainUser}
	}
	return nil
}

// Identity is a hash of all that tokens depend on besides the model and, of templates that
// tell it, the date: two encoders of one identity give the same tokens.
func (e *Encoder) Identity() string {
	// What decides nothing is left out, so that it may change.
	var now string
	if !e.o.Now.IsZero() {
		now = e.o.Now.Format(time.DateOnly)
	}
	text, err := json.Marshal([]any{encoding, e.o.Chat, e.o.System, e.template, e.o.TemplateKwargs, e.o.ParseContent, now})
	if err != nil {
		text = fmt.Appendf(nil, "%#v", e.o) // kwargs that no template takes either
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Encode is the tokens that a model is prompted with: of a conversation, up to the opened turn
// of the assistant.
func (e *Encoder) Encode(r Record) ([]int32, error) {
	text, literal, err := e.shown(r)
	if err != nil {
		return nil, err
	}
	return e.tokenize(text, literal)
}

// Tokens is the tokens of a plain text, whatever plain prompts are taken for.
func (e *Encoder) Tokens(text string) ([]int32, error) { return e.tokenize(text, nil) }

// Text is the text that Encode turns into tokens: what the model is shown.
func (e *Encoder) Text(r Record) (string, error) {
	text, _, err := e.shown(r)
	return text, err
}

// Conversation is the tokens of a conversation, with the assistant's turn opened at its end
// or without. The system prompt is put before it where it has none.
func (e *Encoder) Conversation(messages []llama.Message, open bool) ([]int32, error) {
	text, literal, err := e.render(e.withSystem(messages), open)
	if err != nil {
		return nil, err
	}
	return e.tokenize(text, literal)
}

// Continuation is a response's tokens as they follow the prompt's; special tokens that it
// spells are parsed. Some tokenizers begin every text with a space of their own, so both are
// tokenized together where that leaves the prompt's tokens as they are.
func (e *Encoder) Continuation(r Record, response string) ([]int32, error) {
	text, literal, err := e.shown(r)
	if err != nil {
		return nil, err
	}
	prompt, err := e.tokenize(text, literal)
	if err != nil {
		return nil, err
	}
	all, err := e.tokenize(text+response, literal)
	if err != nil {
		return nil, err
	}
	n := len(prompt) - len(e.added[1])
	if len(all) > len(prompt) && slices.Equal(all[:n], prompt[:n]) {
		return all[n : len(all)-len(e.added[1])], nil
	}
	return e.model.Tokenize(response, false, true)
}

// shown is what the model is shown of a prompt, and which parts of it stay text.
func (e *Encoder) shown(r Record) (string, []span, error) {
	messages := e.messages(r)
	if messages != nil {
		return e.render(messages, true)
	}
	if e.o.System != "" {
		return "", nil, fault.New("encode", "system_prompt", nil, "set {chat}, or leave out {system_prompt}", "a plain prompt has no place for a system prompt")
	}
	return r.Text, nil, nil
}

// messages are the conversation that a prompt is, nil of one that is taken as it is.
func (e *Encoder) messages(r Record) []llama.Message {
	switch {
	case r.Messages != nil:
		return e.withSystem(r.Messages)
	case e.o.Chat:
		return e.withSystem([]llama.Message{{Role: "user", Content: r.Text}})
	}
	return nil
}

func (e *Encoder) withSystem(messages []llama.Message) []llama.Message {
	system := func(m llama.Message) bool { return m.Role == "system" || m.Role == "developer" }
	if e.o.System == "" || slices.ContainsFunc(messages, system) {
		return messages
	}
	return append([]llama.Message{{Role: "system", Content: e.o.System}}, messages...)
}

// render is a conversation as text, and the parts of it that stay text.
func (e *Encoder) render(messages []llama.Message, open bool) (string, []span, error) {
	if e.Plain() {
		text := plainText(messages, open)
		if e.o.ParseContent {
			return text, nil, nil
		}
		return text, []span{{0, len(text)}}, nil
	}
	messages, err := e.inForm(messages)
	if err != nil {
		return "", nil, err
	}
	chat := llama.Chat{Template: e.template, Vars: e.o.TemplateKwargs, Open: open, Now: e.o.Now}
	text, err := e.model.RenderChat(messages, chat)
	if err != nil || e.o.ParseContent {
		return text, nil, err
	}
	return e.guard(text, messages, chat)
}

// The roles of a conversation in plain text.
const plainUser, plainAssistant = "User:", "Assistant:"

// plainText is a conversation for a model without a template.
func plainText(messages []llama.Message, open bool) string {
	var b strings.Builder
	for _, m := range messages {
		switch m.Role {
		case "user":
			b.WriteString(plainUser + " " + m.Content + "\n")
		case "assistant": // an answer begins with a space of its own
			b.WriteString(plainAssistant + m.Content + "\n")
		default:
			b.WriteString(m.Content + "\n\n")
		}
	}
	if open {
		b.WriteString(plainAssistant)
	}
	return b.String()
}
