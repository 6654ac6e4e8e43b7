package value

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Model is a value function that is a model of its own beside the policy: so one value
// function serves policies of other sizes and vocabularies. Either a head reads the model's
// hidden states and what the model itself thinks of each token, or the model was fine-tuned as
// a value function and its first logits are the distribution of the return (see
// [train.TrainValue]).
//
// It has contexts of its own, one for each engine at a time, in which the engine's requests ask it in turns, each for all
// of its candidates in one batch; what it has read of a candidate it keeps while there is room. By rounding the values
// depend on who asked before, which in an [engine.Engine.Run] is the same every time.
type Model struct {
	model  *llama.Model
	head   *valuehead.Head // nil of a model that is a value function itself
	atoms  []float32       // of such a model
	params llama.ContextParams

	cores sync.Mutex // held for a call of several threads: two such hinder each other

	mu     sync.Mutex
	free   []*reader // that no engine's request reads in
	lent   map[*engine.Engine]*reader
	closed bool

	vocabulary sync.Mutex
	policy     *llama.Model // the last one that was compared
	same       bool         // its vocabulary is this model's
}

// OpenModel makes a value function of a model and a head that was trained on its states.
// Without a head the model must be a value function itself. Of the params, Layers and
// Top are not read. Close it before the model.
func OpenModel(m *llama.Model, head *valuehead.Head, p engine.Params) (*Model, error) {
	v := &Model{model: m, head: head, lent: map[*engine.Engine]*reader{}}
	params := llama.ContextParams{
		Ctx: p.Ctx, Batch: p.Batch, UBatch: p.UBatch, Sequences: p.Sequences, Threads: p.Threads,
		Flash: p.Flash, CacheK: p.CacheK, CacheV: p.CacheV, FullWindow: true,
	}
	if params.Ctx == 0 {
		params.Ctx = 4096
	}
	if params.Sequences == 0 {
		params.Sequences = 64
	}
	if params.Threads == 0 {
		params.Threads = engine.Threads(m)
	}
	var err error
	if head != nil {
		err = v.checkHead()
		schema := head.Features().Schema()
		params.Layers, params.Top = schema.Layers, topOf(schema, m)
	} else {
		v.atoms, err = readAtoms(m)
	}
	if err != nil {
		return nil, err
	}
	if m.Info().Recurrent {
		return nil, fault.New("value model", "value_model", nil, "use a transformer", "a recurrent %s model cannot go back to value another candidate", m.Info().Architecture)
	}
	v.params = params
	first, err := v.newReader()
	if err != nil {
		return nil, err
	}
	v.params = first.c.Params()
	v.free = append(v.free, first)
	return v, nil
}

func (v *Model) checkHead() error {
	schema := v.head.Features().Schema()
	if slices.Equal(schema.Scalars, ScalarsOf(true)) {
		return fault.New("", "value_head", nil, "leave {value_model} out", "the head asks whether the policy is thinking, which a model that reads beside it does not know")
	}
	if !slices.Equal(schema.Scalars, Scalars) {
		return errScalars(schema)
	}
	if v.head.NeedsPrompt() && !slices.Equal(schema.PromptLayers, schema.Layers) {
		return errPromptLayers(schema)
	}
	if err := recognize(v.head, v.model); err != nil {
		return fmt.Errorf("the value model is not the head's: %w", err)
	}
	return nil
}

const hintFineTune = "make the value model anew with {fine_tune}"

// readAtoms reads what the logits of a value model stand for.
func readAtoms(m *llama.Model) ([]float32, error) {
	stored := m.Metadata().Value(train.AtomsKey)
	atoms, ok := stored.([]float32)
	switch {
	case stored == nil:
		return nil, fault.New("", "value_model", nil, "give the head that reads its states as {value_head}, or make a value model with {fine_tune}", "%s is no value model: it says nothing of returns in %s", m.Path(), train.AtomsKey)
	case !ok || len(atoms) < 2:
		return nil, fault.New("", "value_model", nil, hintFineTune, "%s: %s is not a list of two or more numbers", m.Path(), train.AtomsKey)
	case len(atoms) > m.Info().Vocab:
		return nil, fault.New("", "value_model", nil, hintFineTune, "%s names %d returns, the model has %d logits", m.Path(), len(atoms), m.Info().Vocab)
	}
	for i, a := range atoms {
		if a-a != 0 || i > 0 && a <= atoms[i-1] {
			return nil, fault.New("", "value_model", nil, hintFineTune, "%s: the returns in %s are not finite and rising: %v follows %v", m.Path(), train.AtomsKey, a, atoms[max(0, i-1)])
		}
	}
	return atoms, nil
}

// Atoms are the rising returns of a model that is a value function itself, nil of one with a head.
func (v *Model) Atoms() []float32 { return v.atoms }

// Source is the value function with one reading of the distribution of the return.
func (v *Model) Source(reading valuehead.Reading) Source { return &modelSource{v, reading} }

// Close frees the contexts. It fails while requests are open.
func (v *Model) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.lent) > 0 {
		return fmt.Errorf("close the value model: %w (end the run first)", llama.ErrBusy)
	}
	v.closed = true
	var err error
	for _, r := range v.free {
		err = errors.Join(err, r.c.Close())
	}
	v.free = nil
	return err
}

type modelSource struct {
	*Model
	reading valuehead.Reading
}

func (s *modelSource) Check(e *engine.Engine) error {
	if s.head != nil {
		if err := s.head.CheckReading(s.reading); err != nil {
			return err
		}
	} else if err := s.reading.Check(); err != nil {
		return err
	} else if s.reading.Within > 0 {
		return fault.New("", "value_within", nil, "leave {value_within} out", "the values of a value model lie between the least and the largest of its returns by themselves")
	}
	if !s.sameVocabulary(e.Model()) {
		for _, m := range []*llama.Model{e.Model(), s.model} {
			if m.VocabType() == llama.VocabNone {
				return fault.New("", "value_model", nil, "convert the model with its tokenizer", "%s has no tokenizer, and the policy and the value model have different vocabularies", m.Path())
			}
		}
	}
	return nil
}

func (s *modelSource) Ahead() bool { return true }

func (s *modelSource) Advantages() bool { return false }

// Unit is that of the head, or of the model where it says so.
func (s *modelSource) Unit() Unit {
	if s.head != nil {
		return Unit{Value: s.head.Unit()}
	}
	unit, _ := s.model.Metadata().Value(train.UnitKey).(float32)
	return Unit{Value: float64(unit)}
}

func (s *modelSource) NeedsPrompt() bool { return false }

func (s *modelSource) InTurn() bool { return true }

func (s *modelSource) Open(r Request) (Valuer, error) {
	policy := r.Engine.Model()
	v := &modelValuer{modelSource: s, engine: r.Engine, same: s.sameVocabulary(policy)}
	v.root = &followed{of: v, value: nan}
	if v.same {
		v.prompt = r.Prompt
		if n, most := len(v.prompt)+r.MaxTokens, s.params.Ctx; n > most {
			return nil, fault.New("value model", "ctx", most, fault.TooLong, "prompt and response may have %d tokens, its context holds %d", n, most)
		}
	} else {
		var err error
		if v.text, err = newTranslation(policy, s.model, r.Prompt); err != nil {
			return nil, err
		}
		v.prompt = v.text.prompt
	}
	var err error
	if v.at, err = s.lend(r.Engine); err != nil {
		return nil, err
	}
	return v, nil
}

// read turns a row of a model that is a value function into a value.
func (s *modelSource) read(row llama.Row) float32 {
	p := slices.Clone(row.Logits[:len(s.atoms)])
	top, sum := slices.Max(p), float32(0)
	for i, l := range p {
		p[i] = float32(math.Exp(float64(l - top)))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return valuehead.Distribution{Atoms: s.atoms, P: p}.Read(s.reading)
}
