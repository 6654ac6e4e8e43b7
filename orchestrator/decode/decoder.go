package decode

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/think"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// node is one token of a response. Forked candidates share the nodes up to the fork.
type node struct {
	value.Step
	parent  *node
	logp    float32 // of the model at temperature 1
	base    float32 // of the base policy
	guided  float32 // of the guided policy, or of the proposal where the guided one has no token-level probabilities
	from    float32 // of the policy that the KL is from: the base policy, or the reference
	kl      float64 // of the guided policy from the base policy at the state before the token
	value   float32 // NaN when not computed
	states  []float32
	unruled bool    // no grammar was asked about it
	likely  []int32 // the candidates at the state before the token, where they are recorded
	likelyP []float32
}

// candidate is a response that grows.
type candidate struct {
	value.Candidate
	seq    *engine.Seq
	last   *node      // value.Candidate.Last is its step
	value  float32    // of the last state that was valued
	finish Finish     // empty while it grows
	stop   string     // the stop string that ended it, if one did
	rank   float64    // in block search: its value, or what its rollouts say
	row    *llama.Row // a copy of the sequence's, where other steps have ended that
	// grammar is how far the text has come in the request's.
	grammar llama.GrammarState
	// Of a model that thinks:
	thought []byte // the text of its thoughts
	closing int    // tokens of those that end a thought which were forced so far, 0 outside
	rests   bool   // it grows no more until the search is over
	// In block search it stands for all samples that have drawn its tokens:
	streams []*rand.Rand // theirs, of the block under way
	parent  int          // see [Branch]
	began   int          // bytes of its text before the block
	places  int          // their number, and after pruning that of the beams which it is
}

func growing(c *candidate) bool { return c.finish == "" }

// decoder is what the strategies share: one request in one session.
type decoder struct {
	s   *engine.Session
	req Request
	constraint
	sampler   policy.Sampler  // of the proposal
	proposal  float64         // see [Strategy]
	reference *policy.Sampler // nil without one
	tokenwise bool            // the strategy has token-level probabilities
	values    value.Valuer    // nil without a value function
	prompt    *states.Prompt  // with the states of its tokens; nil where nobody looks at them
	stop      [][]byte
	// Bytes of text that were handed out: of the answer, and of thoughts.
	said, thought int
	told          int // tokens that were handed out
	// What the reward has said of texts, and how often it was asked.
	known       map[string]float64
	rewardCalls int
	// scratch
	fed    []*candidate
	asked  []*candidate
	views  []*value.Candidate
	seqs   []*engine.Seq
	tokens []int32
	out    []float32
	recent []int32
	// the table of advantages that was found to be sound
	advantages []float32
}

func newDecoder(s *engine.Session, req Request, proposal float64) *decoder {
	d := &decoder{s: s, req: req, sampler: policy.Sampler{Sampling: req.Sampling}, proposal: proposal, known: map[string]float64{}}
	if req.Reference != nil {
		d.reference = &policy.Sampler{Sampling: *req.Reference}
	}
	for _, str := range req.Stop {
		d.stop = append(d.stop, []byte(str))
	}
	return d
}

// job wraps the strategy's code: the decoder lives as long as the job.
func (s Strategy) job(req Request, decode func(*decoder) error) engine.Job {
	return engine.Job{Sequences: s.Sequences(), Cells: s.Cells(len(req.Prompt), req.MaxTokens), Prompt: req.Prompt, PromptStates: req.promptStates(), Run: func(session *engine.Session) error {
		d := newDecoder(session, req, s.Proposal)
		var err error
		if d.constraint, err = req.constraint(session.Model()); err != nil {
			return err
		}
		defer func() {
			if d.values != nil {
				d.ask(func() error { d.values.Close(); return nil })
			}
		}()
		return decode(d)
	}}
}

// start prefills the prompt.
func (d *decoder) start() (*candidate, error) {
	temp := float32(d.req.Sampling.Temp)
	c := &candidate{value: nan}
	if d.rules != nil {
		c.grammar = d.rules.Start()
	}
	if d.req.Thinks != nil {
		c.Reader = d.req.Thinks.Begin(d.req.Prompt)
	}
	var err error
	if d.req.promptStates() {
		d.prompt = &states.Prompt{Tokens: d.req.Prompt}
		c.seq, d.prompt.Hidden, err = d.s.PrefillStates(d.req.Prompt, temp)
	} else {
		c.seq, err = d.s.Prefill(d.req.Prompt, temp)
	}
	if err != nil || d.req.Value == nil {
		return c, err
	}
	d.values, err = d.req.Value.Open(value.Request{
		Engine: d.s.Engine(), Prompt: d.req.Prompt, States: d.prompt, MaxTokens: d.req.MaxTokens, Stopped: d.stopped,
	})
	if err != nil {
		return c, err
	}
	c.Memory, err = d.values.Begin()
	return c, err
}

var nan = float32(math.NaN())

// fork copies a candidate.
func (d *decoder) fork(c *candidate) (*candidate, error) {
	f := *c
	f.Text, f.thought = slices.Clone(c.Text), slices.Clone(c.thought)
	if growing(c) {
		seq, err := d.s.Fork(c.seq)
		if err != nil {
			return nil, err
		}
		f.seq = seq
	}
	if c.Memory != nil {
		f.Memory = d.values.Fork(c.Memory)
	}
	return &f, nil
}

// drop frees a candidate that lost, or the sequence of one that is finished.
func (d *decoder) drop(c *candidate) {
	d.dropSeq(c)
	if c.Memory != nil {
		d.values.Drop(c.Memory)
		c.Memory = nil
	}
}

func (d *decoder) dropSeq(c *candidate) {
	if c.seq != nil {
		d.s.Drop(c.seq)
		c.seq = nil
	}
}

// look sets d.sampler to the proposal at the candidate's state.
func (d *decoder) look(c *candidate) error {
	d.recent = d.recent[:0]
	if d.req.Sampling.Penalizes() || d.reference != nil && d.reference.Penalizes() {
		d.recent = append(append(d.recent, d.req.Prompt...), c.Tokens()...)
	}
	if c.Row = c.seq.Row(); c.Row == nil {
		c.Row, c.row = c.row, nil
	}
	if err := d.constrain(c); err != nil {
		return err
	}
	d.sampler.At(c.Row, d.recent)
	if err := d.checkPossible(c); err != nil {
		return err
	}
	return d.tilt(c)
}

// take makes the token the candidate's next; d.sampler must be at its state. The guided policy is
// the proposal here, unless the caller says otherwise in the node.
func (d *decoder) take(c *candidate, token int32) *node {
	n := &node{Step: value.Step{Parent: c.Last, Token: token}, parent: c.last, value: nan, unruled: d.unruled(c, token)}
	n.logp, n.Scalars = value.Observe(c.Row, token)
	n.base = float32(d.sampler.BaseLogP(token))
	n.guided = n.base
	if d.proposal != 0 {
		n.guided = float32(d.sampler.LogP(token))
	}
	if k := d.req.candidates(); k > 0 {
		n.likely, n.likelyP = candidates(c.Row, k)
	}
	n.from = n.base
	switch {
	case d.reference != nil:
		n.kl = d.sampler.KL(d.reference, d.recent)
		n.from = float32(d.reference.LogP(token))
	case d.tokenwise:
		n.kl = d.sampler.TiltKL()
	}
	if forced, ok := d.forced(c); ok && token == forced {
		d.force(c, n)
	}
	c.last, c.Last = n, &n.Step
	c.Length++
	return n
}

// advance feeds the tokens that were taken last, of all candidates in one batch, and
// notes which candidates are finished by them. The token that ends a response is fed
// too when its state is wanted: the last state is the one that knows most.
func (d *decoder) advance(cs []*candidate) error {
	d.fed = d.fed[:0]
	for _, c := range cs {
		if err := d.note(c); err != nil {
			return err
		}
		if growing(c) || d.req.Record || d.values != nil && d.values.ReadsStates() {
			d.fed = append(d.fed, c)
		}
	}
	if err := d.feed(d.fed); err != nil {
		return err
	}
	if d.req.Record {
		for _, c := range d.fed {
			c.last.states = slices.Clone(c.Row.States)
		}
	}
	if d.values == nil {
		return nil
	}
	if err := d.values.Push(d.view(d.fed)); err != nil {
		return err
	}
	if d.req.EachValue {
		return d.value(cs)
	}
	return nil
}

// feed decodes the tokens that were taken last.
func (d *decoder) feed(cs []*candidate) error {
	d.seqs, d.tokens = d.seqs[:0], d.tokens[:0]
	for _, c := range cs {
		d.seqs, d.tokens = append(d.seqs, c.seq), append(d.tokens, c.last.Token)
	}
	if err := d.s.Step(d.seqs, d.tokens); err != nil {
		return err
	}
	if d.req.Progress != nil {
		d.req.Progress(d.s.Decoded())
	}
	for _, c := range cs {
		c.Row = c.seq.Row()
		c.last.Scalars[value.NextEntropy] = c.Row.Entropy
	}
	return nil
}

// note adds the last token's text and sets the finish.
func (d *decoder) note(c *candidate) error {
	token, thinks := c.last.Token, d.req.Thinks != nil
	if err := d.follow(c, token); err != nil {
		return err
	}
	if d.s.Model().IsEOG(token) {
		c.finish = FinishEOG
		if thinks {
			c.hear(c.Reader.End())
		}
		return nil
	}
	seen := len(c.Text)
	if thinks {
		c.hear(c.Reader.Push(token))
		if c.Reader.Part() == think.Thinking {
			c.last.Scalars[value.Thinking] = 1
		}
		if c.Length >= d.req.MaxTokens {
			c.hear(c.Reader.End())
		}
	}
	spelled := slices.Contains(d.req.Spell, token)
	if !thinks || spelled && c.Reader.Part() != think.Thinking {
		piece, err := d.s.Model().Piece(token, spelled)
		if err != nil {
			return err
		}
		c.Text = append(c.Text, piece...)
	}
	if c.stop, c.Cut = d.stopAt(c.Text, seen); c.Cut > 0 {
		c.finish = FinishEOG
	} else if c.Length >= d.req.MaxTokens {
		c.finish = FinishLength
	}
	return nil
}

// stopAt finds the stop string that begins first of those that end beyond byte seen of a text; cut
// is the number of bytes from there on, 0 where there is none.
func (d *decoder) stopAt(text []byte, seen int) (stop string, cut int) {
	for _, s := range d.stop {
		from := max(0, seen-len(s)+1)
		if i := bytes.Index(text[from:], s); i >= 0 && len(text)-from-i > cut {
			stop, cut = string(s), len(text)-from-i
		}
	}
	return stop, cut
}

// stopped is the cut of stopAt.
func (d *decoder) stopped(text []byte, seen int) int {
	_, cut := d.stopAt(text, seen)
	return cut
}

// value computes V of each candidate's state, unless it is known.
func (d *decoder) value(cs []*candidate) error {
	if d.values == nil {
		return nil
	}
	d.asked = d.asked[:0]
	for _, c := range cs {
		if math.IsNaN(float64(c.last.value)) {
			d.asked = append(d.asked, c)
		}
	}
	if len(d.asked) == 0 {
		return nil
	}
	d.out = slices.Grow(d.out[:0], len(d.asked))[:len(d.asked)]
	if err := d.ask(func() error { return d.values.Value(d.s.Context(), d.view(d.asked), d.out) }); err != nil {
		return err
	}
	for i, c := range d.asked {
		if err := checkValue(d.out[i], c.Length); err != nil {
			return err
		}
		c.value, c.last.value = d.out[i], d.out[i]
	}
	return nil
}

// ask asks the value function, in turn where it is one that other jobs ask too.
func (d *decoder) ask(about func() error) (err error) {
	if !d.req.Value.InTurn() {
		return about()
	}
	d.s.InTurn(func() { err = about() })
	return err
}

// checkValue finds a value of the state after token n that is none.
func checkValue(v float32, n int) error {
	if x := float64(v); math.IsNaN(x) || math.IsInf(x, 0) {
		return fault.New("decode", "value_head", nil, "values are finite: check the reward that it was made from", "the value function gave %v after token %d of the response", v, n)
	}
	return nil
}

// view is the candidates as the value function sees them, until the next call.
func (d *decoder) view(cs []*candidate) []*value.Candidate {
	d.views = d.views[:0]
	for _, c := range cs {
		d.views = append(d.views, &c.Candidate)
	}
	return d.views
}
