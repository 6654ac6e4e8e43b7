// Package judge asks language models what they think of answers: how good one is, or which of two is the
// better one. The model is a GGUF file or one that a server has; its verdict is the log-odds of two words, or
// JSON that it is held to by a grammar. The package knows neither where answers come from nor what is made of
// verdicts.
package judge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/program"
)

// Answer is an answer to a prompt.
type Answer struct {
	Prompt   prompt.Record
	Response string
}

// Pair are two answers to a prompt, in the order in which they are shown.
type Pair struct {
	Prompt prompt.Record
	A, B   string
}

// Verdict is what the model thinks, or why that is not known.
type Verdict struct {
	// Value is larger for a better answer, or a better first one: the log-odds of the word for it, in
	// nats; of JSON the grade, or 1, 0 and -1 for the first, a tie and the second.
	Value float64
	Said  string // by the model: its JSON, or the word that it would have begun with
	Err   error
}

// Judge is a model with its questions. It may be used from several goroutines.
type Judge struct {
	model model
	rate  *question // nil where the template compares
	pair  *question // nil where the template is for one answer
	id    string
}

// model is what is asked.
type model interface {
	// ask puts the texts of a question, and returns a verdict for each of them in order. It fails as a
	// whole only when ctx ends or nothing can be asked any more.
	ask(ctx context.Context, q *question, texts []string) ([]Verdict, error)
	// check finds texts that cannot be asked, as far as that can be told from some of them.
	check(ctx context.Context, q *question, texts []string) (int, error)
	fingerprint() (string, error)
	Close() error
}

// Open makes the judge of an argument: where its model is, a GGUF file or the address of a server, and behind
// it, each after a comma,
//
//	reply=json      for verdicts in JSON, with a reason, instead of the odds of two words
//	model=NAME      of a server that has several
//	template=FILE   that asks in other words: with {prompt}, and {response} or {a} and {b} in it
func Open(argument string, o program.Options) (*Judge, error) {
	s := read(argument)
	j := &Judge{rate: questions[s.json].rate, pair: questions[s.json].pair}
	if s.template != "" {
		text, err := os.ReadFile(s.template)
		if err != nil {
			return nil, fault.New("", "reward", nil, "name a file with the judge's question after template=", "the judge's template: %w", err)
		}
		if err := j.template(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", s.template, err)
		}
	}
	var err error
	switch remote := s.remote(); {
	case s.where == "":
		return nil, fault.New("", "reward", nil, "give {reward} as judge:MODEL.gguf or judge:http://HOST/v1", "no judge is named")
	case !remote && s.model != "":
		return nil, fault.New("", "reward", nil, "leave it out, or name a server", "model=%s, and %s is a file", s.model, s.where)
	case remote:
		j.model, err = openServer(s.where, s.model, o)
	default:
		j.model, err = openFile(s.where)
	}
	if err != nil {
		return nil, err
	}
	of, err := j.model.fingerprint()
	if err != nil {
		j.Close()
		return nil, err
	}
	hash := sha256.New()
	for _, q := range []*question{j.rate, j.pair} {
		if q != nil {
			fmt.Fprintf(hash, "%q %v %q\n", q.text, q.words, q.grammar)
		}
	}
	j.id = fmt.Sprintf("judge 1 %x %s", hash.Sum(nil)[:8], of)
	return j, nil
}

// settings are what an argument says.
type settings struct {
	where, model, template string
	json                   bool
}

// read parts an argument from its end: where a model is may have commas in it.
func read(argument string) (s settings) {
	s.where = strings.TrimSpace(argument)
	for {
		at := strings.LastIndexByte(s.where, ',')
		if at < 0 {
			return s
		}
		name, value, _ := strings.Cut(strings.TrimSpace(s.where[at+1:]), "=")
		switch {
		case name == "reply" && value == "json":
			s.json = true
		case name == "model" && value != "":
			s.model = cmp.Or(s.model, value)
		case name == "template" && value != "":
			s.template = cmp.Or(s.template, value)
		default:
			return s
		}
		s.where = strings.TrimSpace(s.where[:at])
	}
}

// remote says whether a server is asked.
func (s *settings) remote() bool {
	where := strings.ToLower(s.where)
	return strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://")
}

// Carry is an argument with other files, as move gives them; "" where a server is asked.
func Carry(argument string, move func(file string) (string, error)) (string, error) {
	s := read(argument)
	if s.where == "" || s.remote() {
		return "", nil
	}
	out, err := move(s.where)
	if s.json {
		out += ",reply=json"
	}
	if s.template != "" && err == nil {
		var template string
		template, err = move(s.template)
		out += ",template=" + template
	}
	return out, err
}

// template asks in the words of a text.
func (j *Judge) template(text string) error {
	has := func(name string) bool { return strings.Contains(text, name) }
	rates, compares := has("{response}"), has("{a}") && has("{b}")
	if !has("{prompt}") || rates == compares {
		return fault.New("", "reward", nil, "write prompt, and response or a and b, in braces where they are to stand", "no question about one answer or two")
	}
	asked := func(q question) *question {
		q.text = strings.TrimRight(text, "\r\n")
		return &q
	}
	if rates {
		j.rate, j.pair = asked(*j.rate), nil
	} else {
		j.rate, j.pair = nil, asked(*j.pair)
	}
	return nil
}

// Fingerprint identifies the model, as far as that is known of a server, and what it is asked.
func (j *Judge) Fingerprint() string { return j.id }

// Rates and Compares say what the judge can be asked: with a template of one's own, one of them.
func (j *Judge) Rates() bool    { return j.rate != nil }
func (j *Judge) Compares() bool { return j.pair != nil }

// Odds says whether values are log-odds, else they are what JSON says.
func (j *Judge) Odds() bool { return cmp.Or(j.rate, j.pair).schema == nil }

// Range is that of the values.
func (j *Judge) Range() (lo, hi float64) {
	q := cmp.Or(j.rate, j.pair)
	return q.lo, q.hi
}

// Rate judges answers, each alone. It needs a judge that [Judge.Rates].
func (j *Judge) Rate(ctx context.Context, answers []Answer) ([]Verdict, error) {
	texts := make([]string, len(answers))
	for i, a := range answers {
		texts[i] = j.rate.about(a.Prompt, "{response}", a.Response)
	}
	return j.model.ask(ctx, j.rate, texts)
}

// Compare judges pairs, each in its order. It needs a judge that [Judge.Compares].
func (j *Judge) Compare(ctx context.Context, pairs []Pair) ([]Verdict, error) {
	texts := make([]string, len(pairs))
	for i, p := range pairs {
		texts[i] = j.pair.about(p.Prompt, "{a}", p.A, "{b}", p.B)
	}
	return j.model.ask(ctx, j.pair, texts)
}

// Check finds prompts whose answers the judge can tell it will not be able to judge.
func (j *Judge) Check(ctx context.Context, records []prompt.Record) error {
	q, texts := cmp.Or(j.rate, j.pair), make([]string, len(records))
	for i, r := range records {
		texts[i] = q.about(r, "{response}", "", "{a}", "", "{b}", "")
	}
	if i, err := j.model.check(ctx, q, texts); err != nil {
		return fmt.Errorf("prompt %q: %w", records[i].ID, err)
	}
	return nil
}

// Close frees the model, or drops the connections.
func (j *Judge) Close() error { return j.model.Close() }
