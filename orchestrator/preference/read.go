package preference

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Options say how a file of pairs is read.
type Options struct {
	prompt.ReadOptions
	// Skip leaves out pairs that say nothing: sides that are equal, empty or answers to different
	// prompts, or a margin below zero. Without it they are an error that names their lines.
	Skip bool
}

// Left is a pair that was left out, and why.
type Left struct {
	Line int
	Err  error
}

// names are what the two sides are called in people's files, and the scores that belong to them.
var names = []struct{ chosen, rejected string }{{"chosen", "rejected"}, {"chosen_response", "rejected_response"}}

// scores are the fields whose difference is a margin where none is given.
var scores = []struct{ chosen, rejected string }{
	{"score_chosen", "score_rejected"}, {"chosen_score", "rejected_score"}, {"chosen_avg_rating", "rejected_avg_rating"}, {"chosen-rating", "rejected-rating"},
}

var (
	errEqual  = errors.New("both sides are equal")
	errEmpty  = errors.New("a side is empty")
	errMargin = errors.New("the margin is below zero")
	errParted = errors.New("the sides part before their last answers")
)

const shapeHint = `write a pair a line, such as {"prompt": "...", "chosen": "...", "rejected": "..."}`

// Read reads a file of pairs, in the forms that [prompt.Read] reads prompts in. A pair is
//
//	prompt, chosen, rejected       texts, or lists of messages with the prompt's or without
//	chosen, rejected               whole dialogues, as texts (HH) or as lists of messages
//	prompt, chosen_response, ...   other names of the same
//	instruction, completions       responses with scores (UltraFeedback): the best and the worst
//
// with a margin, or two scores whose difference it is. The sides' common beginning is the prompt
// where none is given.
func Read(path string, o Options) (pairs []Pair, left []Left, err error) {
	o.Field = "pairs"
	records, lines, err := prompt.ReadLines(path, o.ReadOptions)
	if err != nil {
		return nil, nil, err
	}
	for i, r := range records {
		p, err := of(r)
		switch {
		case err == errEqual || err == errEmpty || err == errMargin || err == errParted:
			left = append(left, Left{lines[i], err})
		case err != nil:
			return nil, nil, fault.New("read pairs", "pairs", nil, shapeHint, "%s:%d: %w", path, lines[i], err)
		default:
			pairs = append(pairs, p)
		}
	}
	if len(pairs) == 0 || len(left) > 0 && !o.Skip {
		return nil, left, fault.New("read pairs", "pairs", nil, "mend those lines, or leave them out with {skip_pairs}", "%s: %d of %d pairs say nothing: %s", path, len(left), len(records), Note(left))
	}
	return pairs, left, nil
}

// Note names the lines of what was left out, by what is wrong with them: "both sides are equal on
// lines 3 and 7".
func Note(left []Left) string {
	const most = 8 // lines that are named of a kind
	lines := map[string][]string{}
	var kinds []string
	for _, l := range left {
		what := l.Err.Error()
		if lines[what] == nil {
			kinds = append(kinds, what)
		}
		lines[what] = append(lines[what], strconv.Itoa(l.Line))
	}
	for i, what := range kinds {
		at := lines[what]
		switch n := len(at); {
		case n == 1:
			kinds[i] = what + " on line " + at[0]
		case n > most:
			kinds[i] = fmt.Sprintf("%s on lines %s and %d more", what, strings.Join(at[:most], ", "), n-most)
		default:
			kinds[i] = fmt.Sprintf("%s on lines %s and %s", what, strings.Join(at[:n-1], ", "), at[n-1])
		}
	}
	return strings.Join(kinds, "; ")
}

// of is the pair of a record.
func of(r prompt.Record) (Pair, error) {
	p := Pair{Prompt: r}
	if err := p.readDialogue(); err != nil {
		return p, err
	}
	if raw, ok := r.Fields["completions"]; ok && r.Fields["chosen"] == nil {
		return p, p.readCompletions(raw)
	}
	at := slices.IndexFunc(names, func(n struct{ chosen, rejected string }) bool {
		return r.Fields[n.chosen] != nil && r.Fields[n.rejected] != nil
	})
	if at < 0 {
		return p, errors.New("two sides are missing, chosen and rejected")
	}
	var err error
	if err = p.readMargin(); err != nil {
		return p, err
	}
	chosen, rejected := r.Fields[names[at].chosen], r.Fields[names[at].rejected]
	if err := p.readSides(chosen, rejected); err != nil {
		return p, err
	}
	for _, n := range names {
		delete(p.Prompt.Fields, n.chosen)
		delete(p.Prompt.Fields, n.rejected)
	}
	if len(p.Prompt.Fields) == 0 {
		p.Prompt.Fields = nil
	}
	return p, p.check()
}

// check refuses what cannot be learned from.
func (p *Pair) check() error {
	a, b := strings.TrimSpace(p.Chosen), strings.TrimSpace(p.Rejected)
	switch {
	case a == b && a != "":
		return errEqual
	case a == "" || b == "":
		return errEmpty
	case p.Margin < 0: // the rejected side is the better one
		return errMargin
	}
	return nil
}

// readDialogue takes a prompt that is a dialogue in one text, as HH's are, as the messages it is.
func (p *Pair) readDialogue() error {
	if p.Prompt.Messages != nil {
		return nil
	}
	text, err := json.Marshal(p.Prompt.Text)
	if err != nil {
		return err
	}
	if messages, err := prompt.Dialogue(text); err == nil {
		for len(messages) > 0 && messages[len(messages)-1].Role == "assistant" {
			messages = messages[:len(messages)-1]
		}
		if len(messages) > 0 {
			p.Prompt.Text, p.Prompt.Messages = "", messages
		}
	}
	return nil
}

// readSides takes the two sides, each an answer or all of the conversation.
func (p *Pair) readSides(chosen, rejected json.RawMessage) error {
	a, err := prompt.Dialogue(chosen)
	if err != nil {
		return fmt.Errorf("chosen: %w", err)
	}
	b, err := prompt.Dialogue(rejected)
	if err != nil {
		return fmt.Errorf("rejected: %w", err)
	}
	if (a == nil) != (b == nil) {
		return errors.New("one side is a conversation and the other a text")
	}
	if a == nil {
		if err := json.Unmarshal(chosen, &p.Chosen); err != nil {
			return fmt.Errorf("chosen: %w", err)
		}
		if err := json.Unmarshal(rejected, &p.Rejected); err != nil {
			return fmt.Errorf("rejected: %w", err)
		}
		if p.Prompt.Messages != nil {
			p.Chosen, p.Rejected = strings.TrimSpace(p.Chosen), strings.TrimSpace(p.Rejected)
		} else if t := p.Prompt.Text; strings.HasPrefix(p.Chosen, t) && strings.HasPrefix(p.Rejected, t) { // all of the text
			p.Chosen, p.Rejected = p.Chosen[len(t):], p.Rejected[len(t):]
		}
		return nil
	}
	before, answer := answered(a)
	other, second := answered(b)
	if !slices.EqualFunc(before, other, prompt.SameMessage) {
		return errParted
	}
	p.Chosen, p.Rejected = answer, second
	asked := p.Prompt.Messages
	if asked == nil {
		asked = []llama.Message{{Role: "user", Content: p.Prompt.Text}}
	}
	if n := len(asked) - len(before); n < 0 || !slices.EqualFunc(asked[n:], before, prompt.SameMessage) {
		p.Prompt.Text, p.Prompt.Messages = "", before // with a system prompt, or earlier turns
	}
	return nil
}

// answered parts a conversation from its last answer, which is empty where there is none.
func answered(messages []llama.Message) (before []llama.Message, answer string) {
	n := len(messages)
	if n == 0 || messages[n-1].Role != "assistant" {
		return messages, ""
	}
	return messages[:n-1], messages[n-1].Content
}

// readMargin takes the margin, or the difference of two scores.
func (p *Pair) readMargin() error {
	if raw, ok := p.Prompt.Fields["margin"]; ok {
		m, err := number(raw)
		if err != nil {
			return fmt.Errorf("margin: %w", err)
		}
		delete(p.Prompt.Fields, "margin")
		p.Margin = m
		return nil
	}
	for _, s := range scores {
		high, low := p.Prompt.Fields[s.chosen], p.Prompt.Fields[s.rejected]
		if high == nil || low == nil {
			continue
		}
		a, err := number(high)
		if err != nil {
			return fmt.Errorf("%s: %w", s.chosen, err)
		}
		b, err := number(low)
		if err != nil {
			return fmt.Errorf("%s: %w", s.rejected, err)
		}
		p.Margin = a - b
		return nil
	}
	return nil
}

// readCompletions takes the best and the worst of scored responses.
func (p *Pair) readCompletions(raw json.RawMessage) error {
	var list []struct {
		Response string
		Overall  json.RawMessage `json:"overall_score"`
		Score    json.RawMessage
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return fmt.Errorf("completions: %w", err)
	}
	best, worst := math.Inf(-1), math.Inf(1)
	for i, c := range list {
		s := c.Overall
		if s == nil {
			s = c.Score
		}
		v, err := number(s)
		if err != nil {
			return fmt.Errorf("completions: the score of response %d: %w", i+1, err)
		}
		if v > best {
			best, p.Chosen = v, c.Response
		}
		if v < worst {
			worst, p.Rejected = v, c.Response
		}
	}
	if len(list) < 2 {
		return fmt.Errorf("completions: %d responses make no pair", len(list))
	}
	p.Margin = best - worst
	delete(p.Prompt.Fields, "completions")
	if best == worst {
		return errEqual
	}
	return p.check()
}

// number is a finite number, which tables have as a text.
func number(raw json.RawMessage) (float64, error) {
	raw = bytes.TrimSpace(raw)
	if jsonkind.Of(raw) == jsonkind.Text {
		raw = bytes.Trim(raw, `"`)
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || v-v != 0 {
		return 0, fmt.Errorf("%s is no finite number", raw)
	}
	return v, nil
}
