package value

import (
	"context"
	"math"
	"slices"
	"sync/atomic"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/cache"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// modelValuer follows the candidates of a request with a value model: lazily, for a
// candidate costs nothing until somebody asks for its value.
type modelValuer struct {
	*modelSource
	engine *engine.Engine // of the policy
	at     *reader
	same   bool // the policy's tokens are the model's
	text   *translation
	prompt []int32
	root   *followed // the prompt; without snapshots until it has been decoded
	// Candidates that were given up since the last question: their room is free by the next one, so that when it is does
	// not depend on what others ask meanwhile.
	dropped []*followed
	closed  atomic.Bool
}

// followed is what a value model knows of a candidate, apart from what its context holds.
type followed struct {
	of     *modelValuer
	dead   bool
	next   []*followed // the tokens after it that were asked about before they were fed
	tokens []int32     // whose value is known, the prompt's included
	value  float32     // NaN when not computed
	// With a head:
	seen []snapshot // the last is after all tokens
	row  *llama.Row // after the last token; nil if it has to be computed again
}

// snapshot is a head's memory after n tokens. It does not change any more.
type snapshot struct {
	n      int
	memory *valuehead.Memory
}

// snapshots are kept for as many tokens as another tokenizer may still change its mind on; if
// there are more, the response is read again.
const snapshots = 8

// Gone says that nobody asks for it any more.
func (f *followed) Gone() bool { return f.dead || f.of.closed.Load() }

func (v *modelValuer) ReadsStates() bool { return false }

func (v *modelValuer) Begin() (Memory, error) { return &followed{of: v, value: nan}, nil }

func (v *modelValuer) Fork(m Memory) Memory {
	f := m.(*followed)
	return &followed{of: v, tokens: slices.Clip(f.tokens), value: f.value, seen: slices.Clip(f.seen), row: f.row}
}

func (v *modelValuer) Drop(m Memory) { v.dropped = append(v.dropped, m.(*followed)) }

func (v *modelValuer) Push([]*Candidate) error { return nil }

func (v *modelValuer) Close() {
	if !v.closed.Swap(true) {
		v.giveBack(v.engine)
	}
}

func (v *modelValuer) Value(ctx context.Context, cs []*Candidate, out []float32) error {
	return v.ask(ctx, func() error {
		asked, tokens := make([]*followed, len(cs)), make([][]int32, len(cs))
		for i, c := range cs {
			var err error
			if asked[i], tokens[i], err = v.follow(c); err != nil {
				return err
			}
		}
		return v.values(asked, tokens, out)
	})
}

// score feeds the tokens to the value model, each after a copy of what it has read, but for
// a head that values tokens before they are fed.
func (v *modelValuer) Score(ctx context.Context, c *Candidate, next []int32, out []float32) error {
	return v.ask(ctx, func() error {
		f, tokens, err := v.follow(c)
		if err != nil {
			return err
		}
		if v.head != nil && v.same && v.head.CanScoreCandidates() {
			if err := v.values([]*followed{f}, [][]int32{tokens}, make([]float32, 1)); err != nil {
				return err
			}
			var flat []float32
			for _, token := range next {
				_, scalars := Observe(f.row, token)
				flat = append(flat, scalars[:len(Scalars)]...)
			}
			return v.head.Candidates(f.seen[len(f.seen)-1].memory, next, flat, v.reading, out)
		}
		all := make([][]int32, len(next))
		for i, token := range next {
			if all[i], err = v.tokens(c, token); err != nil {
				return err
			}
			f.next = append(f.next, v.Fork(f).(*followed))
		}
		return v.values(f.next, all, out)
	})
}

// ask calls f with the reader to itself.
func (v *modelValuer) ask(ctx context.Context, f func() error) error {
	return v.use(ctx, v.at, func() error {
		for _, d := range v.dropped {
			d.dead = true
			for _, n := range d.next {
				n.dead = true
			}
		}
		v.dropped = v.dropped[:0]
		return f()
	})
}

// follow returns what is known of a candidate, and its tokens. Of the tokens that it was asked
// about before they were fed, the one that was taken lives on.
func (v *modelValuer) follow(c *Candidate) (*followed, []int32, error) {
	f := c.Memory.(*followed)
	tokens, err := v.tokens(c)
	next := f.next
	f.next = nil
	for _, n := range next {
		if slices.Equal(n.tokens, tokens) {
			f.dead = true
			f, c.Memory = n, n
		} else {
			n.dead = true
		}
	}
	return f, tokens, err
}

// values decodes what the model has not read of the tokens yet.
func (v *modelValuer) values(fs []*followed, tokens [][]int32, out []float32) error {
	if err := v.at.seqs.Sweep(); err != nil {
		return err
	}
	if v.head != nil && v.root.seen == nil {
		if err := v.readPrompt(); err != nil {
			return err
		}
	}
	var wants []*cache.Want
	var asked []*followed
	for i, f := range fs {
		if !slices.Equal(tokens[i], f.tokens) || math.IsNaN(float64(f.value)) {
			wants, asked = append(wants, v.want(f, tokens[i])), append(asked, f)
		}
	}
	if err := v.at.seqs.Share(wants, v.root); err != nil {
		return err
	}
	if err := v.at.seqs.Bring(wants); err != nil {
		return err
	}
	if v.head != nil && len(asked) > 0 {
		memories := make([]*valuehead.Memory, len(asked))
		for i, f := range asked {
			memories[i] = f.seen[len(f.seen)-1].memory
		}
		values := make([]float32, len(asked))
		if err := v.head.Values(memories, v.reading, values); err != nil {
			return err
		}
		for i, f := range asked {
			f.value = values[i]
		}
	}
	for i, f := range fs {
		out[i] = f.value
	}
	return nil
}

// tokens are the prompt and the candidate's response, with more tokens of the policy after it, in
// the model's own tokens.
func (v *modelValuer) tokens(c *Candidate, more ...int32) ([]int32, error) {
	if v.same {
		return slices.Concat(v.prompt, c.Tokens(), more), nil
	}
	last := int32(-1)
	if c.Last != nil {
		last = c.Last.Token
	}
	text, policy := c.Text, v.engine.Model()
	for _, last = range more {
		piece, err := policy.Piece(last, false)
		if err != nil {
			return nil, err
		}
		if !policy.IsEOG(last) {
			text = slices.Concat(text, piece)
		}
	}
	response, err := v.text.response(text, last)
	return slices.Concat(v.prompt, response), err
}

// readPrompt decodes the prompt and begins the head's memory.
func (v *modelValuer) readPrompt() error {
	n := len(v.prompt)
	w := &cache.Want{Owner: v.root, Tokens: v.prompt, From: n - 1, Out: n - 1, Rows: func(rows []llama.Row) error {
		v.root.row = copyRow(rows[len(rows)-1])
		return nil
	}}
	var hidden []float32
	if v.head.NeedsPrompt() {
		w.From, w.States = 0, &hidden
	}
	if err := v.at.seqs.Bring([]*cache.Want{w}); err != nil {
		return err
	}
	var p *states.Prompt
	if v.head.NeedsPrompt() {
		p = &states.Prompt{Tokens: v.prompt, Hidden: hidden}
	}
	m, err := v.head.Begin(p)
	if err != nil {
		return err
	}
	v.root.tokens, v.root.seen = v.prompt, []snapshot{{n, m}}
	return nil
}

// want says what must be decoded for the value of a candidate, and what becomes of it.
func (v *modelValuer) want(f *followed, tokens []int32) *cache.Want {
	last := len(tokens) - 1
	if v.head == nil {
		return &cache.Want{Owner: f, Tokens: tokens, From: last, Out: last, Rows: func(rows []llama.Row) error {
			f.tokens, f.value = tokens, v.read(rows[0])
			return nil
		}}
	}
	// From the latest snapshot of what is still so.
	start, row, seen := v.root.seen[0], v.root.row, v.root.seen
	for i := len(f.seen) - 1; i >= 0; i-- {
		if s := f.seen[i]; s.n <= cache.Common(f.tokens, tokens) && s.n > start.n {
			start, row, seen = s, nil, f.seen[:i+1]
			if s.n == len(f.tokens) {
				row = f.row
			}
			break
		}
	}
	w := &cache.Want{Owner: f, Tokens: tokens, From: start.n}
	if row == nil || start.n > last {
		row = nil
		w.From-- // for its row alone, which the next token's features are of
	}
	w.Out = w.From
	keep := snapshots
	if v.same {
		keep = 1
	}
	m := start.memory.Clone()
	n := w.From
	f.seen, f.tokens, f.row, f.value = slices.Clip(seen[max(0, len(seen)-keep):]), tokens, nil, nan
	w.Rows = func(rows []llama.Row) error {
		for i := range rows {
			if n >= start.n {
				_, scalars := Observe(row, tokens[n])
				scalars[NextEntropy] = rows[i].Entropy
				if err := m.Push(tokens[n], rows[i].States, scalars[:len(Scalars)]); err != nil {
					return err
				}
				if n+1 > len(tokens)-keep && n < last {
					f.seen = append(f.seen, snapshot{n + 1, m.Clone()})
				}
			}
			row = &rows[i]
			n++
		}
		row = copyRow(*row) // the rows end with this decode
		if n > last {
			f.row = row
			if start.n <= last {
				f.seen = append(f.seen, snapshot{n, m})
			}
		}
		return nil
	}
	return w
}

// copyRow keeps of a row what observe looks at.
func copyRow(r llama.Row) *llama.Row {
	return &llama.Row{
		Logits: slices.Clone(r.Logits), LSE: r.LSE, Entropy: r.Entropy, LSET: r.LSET,
		Top: slices.Clone(r.Top), TopLogits: slices.Clone(r.TopLogits),
	}
}
