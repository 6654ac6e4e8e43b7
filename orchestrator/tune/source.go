package tune

import (
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// OfRun takes the pairs from a run of ivo iterate, see [PairsOfRun], and from its options how prompts become
// tokens and answers are drawn. It fills in what of the options and the work the run says; spec is
// that of its reward.
func OfRun(dir string, round int, m *llama.Model, o *Options, w *Work) (spec string, err error) {
	of, err := loop.ReadOptions(dir)
	if run.Absent(err) {
		return "", &fault.Error{Op: op, Field: "run", Err: fmt.Errorf("%s is not a run directory", dir), Hint: "name one that ivo iterate has written"}
	}
	if err != nil {
		return "", err
	}
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return "", err
	}
	if fingerprint != of.Inputs.Backbone {
		return "", fault.New(op, "run", nil, "give the run's own model, "+of.Model+", or a run of this one", "the run in %s was made with another model than %s", dir, m.Path())
	}
	encoding, err := of.Encoding.Options()
	if err != nil {
		return "", err
	}
	if w.Encoder, err = prompt.NewEncoder(m, encoding); err != nil {
		return "", err
	}
	o.Sampling, o.MaxTokens, o.Stop, o.Parallel = of.Sampling, of.MaxTokens, of.Stop, of.Parallel
	threads := o.Context.Threads
	o.Context = of.Context
	o.Context.Threads = threads
	if w.Pairs, w.Trajectories, err = PairsOfRun(dir, round, w.Encoder); err != nil {
		return "", err
	}
	w.Model = m
	tested, err := loop.Prompts(dir, run.EvalPromptsFile)
	if err != nil && !run.Absent(err) {
		return "", err
	}
	for _, r := range tested {
		tokens, err := w.Encoder.Encode(r)
		if err != nil {
			return "", err
		}
		w.Tested = append(w.Tested, prompt.Encoded{Record: r, Tokens: tokens, Thinks: w.Encoder.Thinks()})
	}
	return of.Reward, nil
}

// HoldOut takes the pairs of n prompts out of the work, or of a tenth of them and at most 100 where n is 0, and
// makes these the validation prompts. fits says why a prompt of so many tokens cannot be answered.
func (w *Work) HoldOut(n int, fits func(tokens int) error) error {
	var records []prompt.Record
	var left error
	for _, p := range w.Pairs {
		if err := fits(len(p.Prompt.Tokens)); err != nil {
			left = fmt.Errorf("prompt %s: %w", p.Prompt.ID, err)
		} else {
			records = append(records, p.Prompt.Record)
		}
	}
	if len(records) == 0 && left != nil {
		return left
	}
	if n == 0 {
		n = min(len(records)/10, 100)
	}
	if n < 1 || n >= len(records) {
		return fault.New(op, "validation", nil, "collect more, or name prompts with {validation}", "%d pairs, of which %d are held out to choose a policy on", len(records), n)
	}
	_, held := prompt.HoldOut(records, n)
	out := map[string]bool{}
	for _, r := range held {
		out[r.Content()] = true
	}
	all := w.Pairs
	w.Pairs = nil
	for _, p := range all {
		content := p.Prompt.Content()
		known, isHeld := out[content]
		switch {
		case !isHeld:
			w.Pairs = append(w.Pairs, p)
		case known: // the first pair of that prompt
			w.Validation = append(w.Validation, p.Prompt)
			out[content] = false
		}
	}
	return nil
}

// Fits says why a validation prompt of so many tokens cannot be answered, if it cannot. trained is what the
// model was trained with, 0 where that is not known.
func (o *Options) Fits(tokens, trained int) error {
	if trained > 0 && tokens+o.MaxTokens > trained {
		return fault.New("", "max_tokens", trained, "lower {max_tokens}, or shorten the prompt", "%d tokens; with a response of up to %d the text is longer than the %d that the model was trained with", tokens, o.MaxTokens, trained)
	}
	if need := tokens + max(1, o.Samples)*o.MaxTokens; need > o.Context.Cells {
		return fault.New("", "ctx", o.Context.Cells, fault.TooLong, "%d tokens; with %d responses of up to %d they take %d of context, there are %d", tokens, max(1, o.Samples), o.MaxTokens, need, o.Context.Cells)
	}
	return nil
}
