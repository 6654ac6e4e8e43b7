package prompt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/llama"
)

// column is a field that people's files have their prompts in. read takes the prompt from it
// and from the fields that belong to it.
type column struct {
	name string
	read func(r *Record, raw json.RawMessage) error
}

// columns are looked for in this order: what states a prompt outright before what has to be
// taken apart. All but the first two stay among the record's fields.
var columns = []column{
	{"messages", readMessages},
	{"prompt", readPrompt},
	{"conversations", readMessages}, // from, value: as ShareGPT has them
	{"instruction", readInstruction},
	{"question", textColumn},
	{"turns", readTurns},
	{"chosen", readPair},
	{"text", textColumn},
}

func columnNames() []string {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}

func isColumn(name string) bool { return slices.Contains(columnNames(), strings.TrimSpace(name)) }

// fromFields makes a record of the fields of an object.
func fromFields(fields map[string]json.RawMessage) (Record, error) {
	r := Record{Fields: maps.Clone(fields)}
	switch raw, kind := fields["id"], jsonkind.Of(fields["id"]); kind {
	case jsonkind.Nothing, jsonkind.Null:
	case jsonkind.Text:
		if err := json.Unmarshal(raw, &r.ID); err != nil {
			return r, err
		}
	case jsonkind.Number:
		r.ID = string(bytes.TrimSpace(raw))
	default:
		return r, fmt.Errorf("the id is %s: it has to be a text or a number", kind)
	}
	delete(r.Fields, "id")
	for _, c := range columns {
		raw := fields[c.name]
		if kind := jsonkind.Of(raw); kind == jsonkind.Nothing || kind == jsonkind.Null || string(raw) == `""` {
			continue // a table has cells without anything
		}
		if err := c.read(&r, raw); err != nil {
			return r, fmt.Errorf("%s: %w", c.name, err)
		}
		break
	}
	delete(r.Fields, "messages")
	if r.Messages == nil || jsonkind.Of(r.Fields["prompt"]) != jsonkind.Text {
		delete(r.Fields, "prompt") // it is the text, or the messages
	}
	if r.Text == "" && r.Messages == nil {
		return r, errors.New("the prompt is missing or empty")
	}
	if len(r.Fields) == 0 {
		r.Fields = nil
	}
	return r, nil
}

func textColumn(r *Record, raw json.RawMessage) (err error) {
	r.Text, err = textOf(raw)
	return err
}

// readPrompt takes a text or a conversation.
func readPrompt(r *Record, raw json.RawMessage) error {
	if jsonkind.Of(raw) == jsonkind.List {
		return readMessages(r, raw)
	}
	return textColumn(r, raw)
}

// readMessages takes a conversation. One that ends with an answer is asked for another: the
// answer that was there becomes a field, for the reward.
func readMessages(r *Record, raw json.RawMessage) error {
	messages, err := messagesOf(raw)
	if err != nil {
		return err
	}
	asked := unanswered(messages)
	if len(asked) == 0 {
		return errors.New("there is no message to be answered")
	}
	r.Messages = asked
	if _, ok := r.Fields["answer"]; !ok && len(asked) < len(messages) {
		r.Fields["answer"] = quote(messages[len(messages)-1].Content)
	}
	return nil
}

// readInstruction takes an instruction with its input, which self-instruct's files have in
// their first instance.
func readInstruction(r *Record, raw json.RawMessage) (err error) {
	if r.Text, err = textOf(raw); err != nil {
		return err
	}
	input := r.Fields["input"]
	if jsonkind.Of(input) == jsonkind.Nothing {
		var instances []map[string]json.RawMessage
		if json.Unmarshal(r.Fields["instances"], &instances) == nil && len(instances) > 0 {
			input = instances[0]["input"]
		}
	}
	if jsonkind.Of(input) != jsonkind.Text {
		return nil
	}
	text, err := textOf(input)
	if err == nil && text != "" {
		r.Text += "\n\n" + text
	}
	return err
}

// readTurns takes the first of the user's turns: those that follow depend on its answer.
func readTurns(r *Record, raw json.RawMessage) error {
	list, err := listOf(raw)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("the list is empty")
	}
	if jsonkind.Of(list[0]) == jsonkind.Text {
		return textColumn(r, list[0])
	}
	return readMessages(r, raw)
}

// readPair takes what two responses, of which one was preferred, have in common.
func readPair(r *Record, chosen json.RawMessage) error {
	rejected, both := r.Fields["rejected"]
	a, err := Dialogue(chosen)
	if err != nil {
		return err
	}
	b, err := a, error(nil)
	if both {
		if b, err = Dialogue(rejected); err != nil {
			return fmt.Errorf("rejected: %w", err)
		}
	}
	if a != nil && b != nil {
		n := 0
		for n < min(len(a), len(b)) && SameMessage(a[n], b[n]) {
			n++
		}
		if r.Messages = unanswered(a[:n]); len(r.Messages) == 0 {
			return errors.New("the two conversations do not begin alike")
		}
		return nil
	}
	if !both || a != nil || b != nil {
		return errors.New("without a prompt there have to be two texts, chosen and rejected, or two conversations")
	}
	x, err := textOf(chosen)
	if err != nil {
		return err
	}
	y, err := textOf(rejected)
	if err != nil {
		return err
	}
	if r.Text = commonText(x, y); r.Text == "" {
		return errors.New("the two texts do not begin alike")
	}
	return nil
}

// SameMessage compares messages by what JSON says of them.
func SameMessage(a, b llama.Message) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// commonText is what two texts begin with alike, without a word that was cut and the white
// space at its end, which belongs to what follows.
func commonText(a, b string) string {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	begins := func(s string) bool { r, _ := utf8.DecodeRuneInString(s); return s != "" && word(r) }
	common := a[:n]
	if begins(a[n:]) || begins(b[n:]) {
		common = strings.TrimRightFunc(common, word)
	}
	return strings.TrimRightFunc(common, unicode.IsSpace)
}

// unanswered is a conversation without the answers at its end.
func unanswered(messages []llama.Message) []llama.Message {
	for len(messages) > 0 && messages[len(messages)-1].Role == "assistant" {
		messages = messages[:len(messages)-1]
	}
	return messages
}

// Dialogue is a conversation as a list of messages or as a text with Human: and Assistant:,
// nil of another text.
func Dialogue(raw json.RawMessage) ([]llama.Message, error) {
	if list, err := listOf(raw); err == nil && list != nil {
		return messagesOf(raw)
	}
	text, err := textOf(raw)
	if err != nil {
		return nil, err
	}
	const human, assistant = "\n\nHuman:", "\n\nAssistant:"
	text = "\n\n" + strings.TrimLeft(text, "\n")
	if !strings.HasPrefix(text, human) {
		return nil, nil
	}
	var messages []llama.Message
	for text != "" {
		m := llama.Message{Role: "user"}
		if rest, ok := strings.CutPrefix(text, human); ok {
			text = rest
		} else {
			m.Role, text = "assistant", strings.TrimPrefix(text, assistant)
		}
		end := len(text)
		for _, mark := range []string{human, assistant} {
			if i := strings.Index(text, mark); i >= 0 {
				end = min(end, i)
			}
		}
		m.Content, text = strings.TrimSpace(text[:end]), text[end:]
		if last := len(messages) - 1; last >= 0 && messages[last].Role == m.Role {
			messages[last].Content += "\n\n" + m.Content // one turn in two pieces
			continue
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// messagesOf reads a list of messages, also of those that say from and value.
func messagesOf(raw json.RawMessage) ([]llama.Message, error) {
	list, err := listOf(raw)
	if err != nil {
		return nil, err
	}
	if list == nil {
		return nil, fmt.Errorf("%s, not a list of messages", jsonkind.Of(raw))
	}
	messages := make([]llama.Message, len(list))
	for i, raw := range list {
		if kind := jsonkind.Of(raw); kind != jsonkind.Object {
			return nil, fmt.Errorf(`message %d is %s, not an object such as {"role": "user", "content": "..."}`, i+1, kind)
		}
		var shared struct{ From, Value *json.RawMessage }
		if json.Unmarshal(raw, &shared) == nil && shared.From != nil && shared.Value != nil {
			from, err := textOf(*shared.From)
			if err == nil {
				messages[i].Content, err = textOf(*shared.Value)
			}
			if err != nil {
				return nil, fmt.Errorf("message %d: %w", i+1, err)
			}
			role, ok := map[string]string{"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "model": "assistant"}[from]
			if !ok {
				role = from
			}
			messages[i].Role = role
			continue
		}
		if err := json.Unmarshal(raw, &messages[i]); err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	return messages, nil
}

// listOf is the elements of a list, which a cell of a table has as a text. nil for no list.
func listOf(raw json.RawMessage) ([]json.RawMessage, error) {
	if jsonkind.Of(raw) == jsonkind.Text {
		text, err := textOf(raw)
		if err != nil {
			return nil, err
		}
		if text = strings.TrimSpace(text); !strings.HasPrefix(text, "[") {
			return nil, nil
		}
		raw = json.RawMessage(text)
	}
	if jsonkind.Of(raw) != jsonkind.List {
		return nil, nil
	}
	list := []json.RawMessage{}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("the list is no JSON: %w", err)
	}
	return list, nil
}

func textOf(raw json.RawMessage) (string, error) {
	if kind := jsonkind.Of(raw); kind != jsonkind.Text {
		return "", fmt.Errorf("%s, not a text", kind)
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}
