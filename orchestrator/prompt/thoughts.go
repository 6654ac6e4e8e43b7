package prompt

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// Thinks are the marks of the model's thoughts, nil of a model that has none.
func (e *Encoder) Thinks() *think.Marks { return e.thinks }

// Options are what the encoder was made with.
func (e *Encoder) Options() Options { return e.o }

// marks finds out how the model thinks: by what its template shows, or by its vocabulary.
func (e *Encoder) marks() (*think.Marks, error) {
	f, ok := think.Find(e.template, e.specials)
	opened, end := e.shownThought()
	switch {
	case !ok && opened == "":
		return nil, nil
	case !ok:
		f = think.Tags(opened, strings.TrimSpace(end))
	case strings.TrimSpace(end) != f.Close:
		end = f.Close // the template says nothing of it
	}
	f.Close = strings.TrimRight(end, " ") // a space belongs to the word behind it
	closing, err := e.after(f.Close)
	if err != nil {
		return nil, err
	}
	return think.Compile(f, e.model, e.specials, closing), nil
}

// after is a text's tokens as they follow other text.
func (e *Encoder) after(text string) ([]int32, error) {
	const before = "a"
	first, err := e.model.Tokenize(before, false, true)
	if err != nil {
		return nil, err
	}
	all, err := e.model.Tokenize(before+text, false, true)
	if n := len(first); err != nil || n < len(all) && slices.Equal(all[:n], first) {
		return all[min(n, len(all)):], err
	}
	return e.model.Tokenize(text, false, true)
}

// tag is a mark such as <think:x>, with space around it.
var tag = regexp.MustCompile(`^\s*(?:<[^<>\s]+>|\[[^\[\]\s]+\])\s*$`)

// shownThought is the mark that the template writes before a thought, and what it writes between thought and answer,
// with the space around it; both are empty where it shows no thoughts.
func (e *Encoder) shownThought() (opened, end string) {
	if !llama.IsJinja(e.template) || !strings.Contains(e.template, "hink") && !strings.Contains(e.template, "reason") {
		return "", ""
	}
	const thought, answer = "jlqxz-1", "jlqxz-2"
	fields := map[string]json.RawMessage{}
	for _, name := range []string{"reasoning_content", "reasoning", "thinking", "thought"} {
		fields[name] = json.RawMessage(`"` + thought + `"`)
	}
	messages := []llama.Message{{Role: "user", Content: "jlqxz"}, {Role: "assistant", Content: answer, Fields: fields}}
	messages, err := e.inForm(messages)
	if err != nil {
		return "", ""
	}
	text, err := e.model.RenderChat(messages, llama.Chat{Template: e.template, Vars: e.o.TemplateKwargs, Now: e.o.Now})
	if err != nil {
		return "", ""
	}
	before, rest, ok := strings.Cut(text, thought)
	end, _, shown := strings.Cut(rest, answer)
	before = strings.TrimRight(before, space)
	if at := strings.LastIndexAny(before, "<["); ok && shown && at >= 0 && tag.MatchString(before[at:]) && tag.MatchString(end) {
		return before[at:], end
	}
	return "", end
}
