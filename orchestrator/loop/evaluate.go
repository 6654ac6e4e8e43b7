package loop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Evaluation is the content of eval.json.
type Evaluation struct {
	Reward  string        `json:"reward"`
	Seed    uint64        `json:"seed"`
	Methods []eval.Result `json:"methods"`
}

// EvalFile is the name of the evaluation in a run directory.
const EvalFile = "eval.json"

// methods are what is compared: the base policy and its honest controls (greedy and a
// lower temperature, which cost nothing), best-of-4 by the head, and blockwise beam
// search with the first round's head (IVO*) and the last one's (IVO).
func (r *run) methods(heads []*valuehead.Head) []eval.Method {
	last := heads[len(heads)-1]
	t := r.o.Sampling.Temp
	method := func(name string, s decode.Strategy, head *valuehead.Head, temp float64) eval.Method {
		m := eval.Method{Name: name, Strategy: s, Sampling: r.o.Sampling, MaxTokens: r.o.MaxTokens, Stop: r.o.Stop}
		m.Sampling.Temp = temp
		if head != nil {
			value := decode.HeadSource(head, valuehead.Reading{})
			m.Value = func(prompt.Record) decode.Source { return value }
		}
		if temp != t {
			m.Reference = t
		}
		return m
	}
	sample := decode.Strategy{Method: decode.MethodSample}
	beam := decode.Strategy{Method: decode.MethodBlockBeam, Beam: r.o.Search}
	ms := []eval.Method{
		method("base", sample, nil, t),
		method(fmt.Sprintf("base-t%g", t/2), sample, nil, t/2),
		method("greedy", sample, nil, 0),
		method("best-of-4", r.o.bestOf(), last, t),
		method("ivo*", beam, heads[0], t),
	}
	if len(heads) > 1 {
		ms = append(ms, method("ivo", beam, last, t))
	}
	return ms
}

func (r *run) evaluate(ctx context.Context, heads []*valuehead.Head) error {
	if err := os.MkdirAll(filepath.Join(r.dir, "eval"), 0o755); err != nil {
		return err
	}
	out := Evaluation{Reward: r.reward.Info().Name, Seed: r.o.Seed}
	var base []eval.Answer
	for _, m := range r.methods(heads) {
		answers, err := r.answers(ctx, m)
		if err != nil {
			return fmt.Errorf("evaluate %s: %w", m.Name, err)
		}
		if base == nil {
			base = answers
		}
		out.Methods = append(out.Methods, eval.Summarize(m.Name, answers, base, r.o.Seed))
	}
	data, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(filepath.Join(r.dir, EvalFile), append(data, '\n'))
}

// answers decodes a method's answers, or reads them if they are there.
func (r *run) answers(ctx context.Context, m eval.Method) ([]eval.Answer, error) {
	name := answersFile(m.Name)
	switch done, err := r.ledger.has(name); {
	case err != nil:
		return nil, err
	case done:
		return ReadAnswers(r.dir, m.Name)
	}
	answers, err := eval.Run(ctx, r.pool, m, r.test, r.reward, r.o.Seed, func(done int) {
		r.notify(Event{Stage: "evaluate " + m.Name, Done: done, Total: len(r.test), Unit: "prompts"})
	})
	if err != nil {
		return nil, err
	}
	if err := eval.WriteAnswers(filepath.Join(r.dir, name), answers); err != nil {
		return nil, err
	}
	return answers, r.ledger.add(name)
}

// answersFile is where a method's answers are, below the run directory. An asterisk in
// a file's name would be trouble in a shell.
func answersFile(method string) string {
	return filepath.Join("eval", strings.ReplaceAll(method, "*", "-star")+".jsonl")
}

// ReadAnswers reads a method's answers from the run in dir.
func ReadAnswers(dir, method string) ([]eval.Answer, error) {
	return eval.ReadAnswers(filepath.Join(dir, answersFile(method)))
}
