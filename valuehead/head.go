package valuehead

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Head is a trained value function. It is read-only and safe for concurrent use.
type Head struct {
	kind     Kind
	shape    Shape // resolved: no defaults
	features *Features
	input    scaling // of rows
	prompt   scaling // of prompts' rows, of a head that looks at them
	// A value is squash(rewardMean + rewardScale * the model's output), unless there are atoms.
	rewardMean, rewardScale float32
	squash                  squash    // of a ridge; none of the others
	atoms                   []float32 // returns, of a categorical head
	spread                  Spread
	model                   model
	params                  []float32
	others                  [][]float32 // parameters of the further members of an ensemble
	target                  Target
	tokens                  []float32   // of a ridge: what each token of the response adds to the output; nil of none
	advantages              *Advantages // nil of none
	unit                    float64     // 0 in the first files
	probe                   *Probe      // nil of none
	summary                 Summary
	scratch                 sync.Pool
}

// Summary says what a head was trained on and how well it did on held-out prompts.
type Summary struct {
	Trajectories int // all counts are of the training part
	Prompts      int
	States       int
	HeldOut      int // prompts held out
	Epochs       int // until the best held-out loss
	Seed         uint64
	WarmStart    bool    // training began from an earlier head
	R2           float64 // on held-out prompts, all states
	R2Last       float64 // on held-out prompts, last state of each response
	Spearman     float64 // on held-out prompts, all states
}

func newHead(kind Kind, shape Shape, features *Features) (*Head, error) {
	h := &Head{kind: kind, shape: shape, features: features}
	var err error
	if h.model, err = newModel(kind, shape, features.width, h.promptWidth(), features.like()); err != nil {
		return nil, err
	}
	h.params = make([]float32, count(h.model))
	for range shape.Members - 1 {
		h.others = append(h.others, make([]float32, len(h.params)))
	}
	h.scratch.New = func() any { return &scratch{} }
	return h, nil
}

// members are the parameters of all members.
func (h *Head) members() [][]float32 { return append([][]float32{h.params}, h.others...) }

// forward computes s.out from the rows of s.batch.
func (h *Head) forward(s *scratch) {
	h.combine(s, func(_ int, params []float32) { h.model.forward(params, s) })
	for i := range s.starts[:len(s.starts)-1] {
		if h.tokens == nil {
			break
		}
		said := float32(0)
		for k := s.starts[i]; k < s.starts[i+1]; k++ {
			said += h.token(s.tokens[k])
			s.out[k] += said
		}
	}
}

// token is what a token of the response adds to the output.
func (h *Head) token(y int32) float32 {
	if y < 0 || int(y) >= len(h.tokens) {
		return 0
	}
	return h.tokens[y]
}

// combine calls compute for the parameters of each member, which leaves its outputs in
// s.out, and leaves those of the ensemble there: the mean of the values, or the logarithm
// of the mean of the probabilities.
func (h *Head) combine(s *scratch, compute func(k int, params []float32)) {
	if len(h.others) == 0 {
		compute(0, h.params)
		return
	}
	total := s.zeros(len(s.out))
	k, share := h.shape.outputs(), 1/float32(len(h.members()))
	for i, params := range h.members() {
		compute(i, params)
		if h.atoms != nil {
			for at := 0; at < len(s.out); at += k {
				softmax(s.out[at : at+k])
			}
		}
		for j, v := range s.out {
			total[j] += share * v
		}
	}
	copy(s.out, total)
	if h.atoms != nil {
		const least = 1e-30 // keeps the logarithm finite
		for j, v := range s.out {
			s.out[j] = float32(math.Log(float64(max(v, least))))
		}
	}
}

// twin is a copy of the head with parameters of its own, without further members.
func (h *Head) twin() *Head {
	t := &Head{
		kind: h.kind, shape: h.shape, features: h.features, input: h.input, prompt: h.prompt,
		rewardMean: h.rewardMean, rewardScale: h.rewardScale, atoms: h.atoms, spread: h.spread,
		target: h.target, model: h.model, params: append([]float32(nil), h.params...), tokens: h.tokens, squash: h.squash, summary: h.summary,
	}
	t.shape.Members = 1
	t.scratch.New = h.scratch.New
	return t
}

// promptWidth is the width of a prompt's rows, 0 when the head does not look at them.
func (h *Head) promptWidth() int {
	if h.kind == Recall && h.shape.looks() {
		return h.features.promptWidth
	}
	return 0
}

// Kind is the kind of the head.
func (h *Head) Kind() Kind { return h.kind }

// Shape is the size of the head, every default filled in.
func (h *Head) Shape() Shape { return h.shape }

// Atoms are the returns of a categorical head, nil of one that gives the mean alone.
func (h *Head) Atoms() []float32 { return append([]float32(nil), h.atoms...) }

// Features lays out the rows that Predict takes.
func (h *Head) Features() *Features { return h.features }

// NeedsPrompt reports whether the head's values look back at the prompt's own states; what its
// [Advantages] look at is theirs to say.
func (h *Head) NeedsPrompt() bool {
	return h.promptWidth() > 0 || h.features.readsPrompt() && h.kind != Additive || h.kind == Additive && h.advantages != nil && h.advantages.valuesPrompt()
}

// Parameters is the number of trained parameters.
func (h *Head) Parameters() int { return len(h.params) * len(h.members()) }

// Target is what the head was fitted to.
func (h *Head) Target() Target { return h.target }

// Summary says how the head was trained.
func (h *Head) Summary() Summary { return h.summary }

// Reward is the mean and the standard deviation of the rewards of training.
func (h *Head) Reward() (mean, scale float32) { return h.rewardMean, h.rewardScale }

// Unit is how far the head's values move in a response, in units of reward: the root of the
// mean over held-out responses of sum_t (V_t - V_{t-1})^2, V_0 being V(x) where the head knows
// it and else V_1. Tilting by beta/Unit moves the policy by a KL of about beta^2/2 nats a
// response. Heads of earlier files say the deviation of the rewards.
func (h *Head) Unit() float64 {
	if h.unit > 0 {
		return h.unit
	}
	return float64(h.rewardScale)
}

// Backbone is the fingerprint of the model whose states the head was trained on.
func (h *Head) Backbone() string { return h.features.schema.Backbone }

// CheckBackbone returns an error unless model, a fingerprint, is that of the head's own model.
func (h *Head) CheckBackbone(model string) error {
	own := h.Backbone()
	_, with := fingerprint.Split(own)
	if _, has := fingerprint.Split(model); has != with {
		return fault.New(op, "value_head", own, "give the same {lora} and {control_vector} as where it was trained, or train a head for this model", "the head was trained on the states of a model %s, this one is %s", adapters(with), adapters(has))
	}
	if !fingerprint.Same(own, model) {
		return fault.New(op, "value_head", own, "use the model it was trained with, or train a head for this one", "the head was trained on the states of model %s, this model is %s", own, model)
	}
	return nil
}

// adapters names those of a fingerprint.
func adapters(of string) string {
	if of == "" {
		return "without adapters"
	}
	return "with " + strings.ReplaceAll(strings.TrimPrefix(of, "+"), "+", " and ")
}

// Predict writes the values of n states, in units of reward, to out. rows is
// [n][Features.Width] as [Accumulator.AppendRow] gives them. A head of kind [Recall] or
// [Additive], or that reads tokens, needs more than a row: use [Head.Begin] and [Head.Values], which serve all kinds.
func (h *Head) Predict(rows []float32, n int, out []float32) error {
	w := h.features.width
	if h.kind == Recall || h.kind == Additive || h.tokens != nil {
		return fmt.Errorf("valuehead: this %s head has no value for a row alone (begin a memory with Head.Begin, push the tokens and ask Head.Values)", h.kind)
	}
	if n < 0 || len(rows) < n*w || len(out) < n {
		return fmt.Errorf("valuehead: %d floats are no %d rows of %d, or %d values do not hold them (make the rows with the head's own features)", len(rows), n, w, len(out))
	}
	s := h.scratch.Get().(*scratch)
	defer h.scratch.Put(s)
	k, most := h.shape.outputs(), h.sliceRows()
	for from := 0; from < n; from += most {
		s.rewind()
		s.reset()
		s.n = min(most, n-from)
		s.x = h.input.appendTo(s.x, rows[from*w:(from+s.n)*w])
		s.out = s.floats(s.n * k)
		h.forward(s)
		for i := range s.n {
			out[from+i] = h.value(s.out[i*k:(i+1)*k], Reading{})
		}
	}
	return nil
}

// rows appends the rows of an example's states to dst. memory is scratch.
func (h *Head) rows(dst []float32, memory *Accumulator, e Example) ([]float32, error) {
	if h.kind == Additive {
		return h.valueRows(dst, e)
	}
	if h.NeedsPrompt() && e.Prompt == nil {
		return nil, fmt.Errorf("valuehead: prompt %q: its own states are missing (collect them: the head looks back at them)", e.Trajectory.Prompt)
	}
	if memory.prompt, memory.mentions = nil, nil; h.features.readsPrompt() {
		memory.look(e.Prompt)
	}
	memory.begin(h.lastOfPrompt(e.Prompt))
	s, t := h.features.schema, e.Trajectory
	for i, token := range t.Tokens {
		if err := memory.Push(t.Hidden[i*s.Width:(i+1)*s.Width], t.Scalars[i*len(s.Scalars):(i+1)*len(s.Scalars)]); err != nil {
			return nil, err
		}
		memory.mention(token)
		dst = memory.AppendRow(dst)
	}
	return dst, nil
}

// lastOfPrompt is the row of chosen layers after the prompt's last token, zero where the
// prompt's states lack a layer; nil for a head that does not look at prompts.
func (h *Head) lastOfPrompt(p *states.Prompt) []float32 {
	if h.promptWidth() == 0 || p == nil {
		return nil
	}
	return h.features.lastOfPrompt(p)
}

// load fills the scratch's batch with examples, in standardised rows, and makes room for
// outputs. memory is scratch.
func (h *Head) load(s *scratch, memory *Accumulator, examples []Example) error {
	s.rewind()
	s.reset()
	for i, e := range examples {
		n := len(e.Trajectory.Tokens)
		from := len(s.x)
		var err error
		if s.x, err = h.rows(s.x, memory, e); err != nil {
			return err
		}
		h.input.apply(s.x[from:])
		s.n += n
		s.starts = append(s.starts, s.n)
		s.tokens = append(s.tokens, e.Trajectory.Tokens...)
		if h.promptWidth() == 0 {
			continue
		}
		if i == 0 || e.Prompt != examples[i-1].Prompt {
			s.promptIDs = append(s.promptIDs, e.Prompt.Tokens)
			raw := h.features.appendPrompt(s.floats(len(e.Prompt.Tokens) * h.promptWidth())[:0], e.Prompt)
			s.p = h.prompt.appendTo(s.p, raw)
			s.pstarts = append(s.pstarts, len(s.p)/h.promptWidth())
		}
		s.prompt = append(s.prompt, len(s.promptIDs)-1)
	}
	k := h.shape.outputs()
	s.out, s.dout = s.floats(s.n*k), s.floats(s.n*k)
	return nil
}

// sliceRows is about how many rows go through the head at once. It does not depend on the
// number of workers, so that sums over the slices of a minibatch do not. Each slice reads
// all weights and leaves a gradient of as many: the slices of large heads are larger.
func (h *Head) sliceRows() int {
	if len(h.params) > 1<<19 {
		return 256
	}
	return 128
}

// slicesOf cuts examples into slices of whole responses with at least h.sliceRows states,
// but for the last.
func (h *Head) slicesOf(examples []Example) (out [][]Example) {
	rows := h.sliceRows()
	from, n := 0, 0
	for i, e := range examples {
		if n += e.states(); n >= rows || i == len(examples)-1 {
			out = append(out, examples[from:i+1])
			from, n = i+1, 0
		}
	}
	return out
}

// each runs all states of entries through the model and calls visit with the outputs of
// every example, [T][outputs], in order.
func (h *Head) each(ctx context.Context, src Source, entries []entry, workers int, visit func(e Example, out []float32)) error {
	memories := make([]*Accumulator, workers)
	scratches := make([]*scratch, workers)
	for i := range workers {
		memories[i], scratches[i] = h.features.NewAccumulator(), h.scratch.Get().(*scratch)
		defer h.scratch.Put(scratches[i])
	}
	var some []Example
	n := 0
	flush := func() error {
		parts := h.slicesOf(some)
		for len(parts) > 0 {
			now := parts[:min(workers, len(parts))]
			parts = parts[len(now):]
			errs := make([]error, len(now))
			parallel(workers, len(now), func(i int) {
				if errs[i] = h.load(scratches[i], memories[i], now[i]); errs[i] == nil {
					h.forward(scratches[i])
				}
			})
			for i, part := range now {
				if errs[i] != nil {
					return errs[i]
				}
				at := 0
				for _, e := range part {
					size := len(e.Trajectory.Tokens) * h.shape.outputs()
					visit(e, scratches[i].out[at:at+size])
					at += size
				}
			}
		}
		some, n = some[:0], 0
		return ctx.Err()
	}
	for _, e := range entries {
		ex, err := src.At(e.index)
		if err != nil {
			return err
		}
		some = append(some, ex)
		if n += e.tokens; n >= workers*h.sliceRows() {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}
