package pairwise

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/valuehead"
)

// The kinds of heads.
const (
	Auto   = "auto"      // whichever of these predicts best in cross-validation
	Linear = "linear"    // a weighted sum of a pooled state
	MLP    = "mlp"       // one hidden layer on it
	Attend = "attention" // a weighted sum of the mean of states that a learned query looks at
	Tokens = "tokens"    // one hidden layer on every token's state, whose outputs are summed up
	Recall = "recall"    // a memory along the answer that looks back at the prompt's states
)

// Kinds are all kinds of heads.
func Kinds() []string { return []string{Auto, Linear, MLP, Attend, Tokens, Recall} }

// Options say what is learned. The zero value takes the kind of head, the pooling and the layers that
// predict held-out folds of the training pairs best.
type Options struct {
	Kind    string       // "" for Auto
	Pooling head.Pooling // of linear heads and MLPs; "" for the best of Last, Mean, Sum and, where prompts are stored, Mentions
	HeldOut float64      // share of the prompts that the head is measured on; 0 for .2
	Margins float64      // what a pair's margin counts for, in units of the reward; 0 for nothing
	// Noise is the share of pairs whose sides are known to be swapped: such a pair is never impossible, so
	// that rewards may differ by much and still be wrong. Linear heads are fitted without it.
	Noise   float64
	Hidden  int // units of a hidden layer; 0 for 32
	Epochs  int // most passes over the pairs of heads that are trained by steps; 0 for 8 to 40, the fewer pairs the more, and 8 of Recall
	Seed    uint64
	Workers int // 0 for one a core
	// Progress, if set, is told of each head that was tried, one call at a time.
	Progress func(done, of int, t Trial)
}

// Trial is a head that was tried, with what the folds it was not trained on say.
type Trial struct {
	Name     string  `json:"name"`
	LogLoss  float64 `json:"log_loss"` // mean of -log sigma(R(chosen) - R(rejected)), but for the noise; log 2 = .693 of a coin
	Accuracy float64 `json:"accuracy"`
	Penalty  float64 `json:"penalty,omitempty"`
	Epochs   int     `json:"epochs,omitempty"`
}

// candidate is a head to be tried.
type candidate struct {
	kind    string
	layers  []int // numbers of the stored ones
	pooling head.Pooling
}

// trainer learns from the pairs that are not held out.
type trainer struct {
	Options
	data   *Data
	train  []int // numbers of pairs
	held   []int
	fold   []int     // of train
	margin []float64 // of train
	depth  int       // layers of the model
	asked  int       // the epochs of the options

	longest    int          // tokens of the longest answer to be trained on
	last, mean [2][]float32 // of each pair's sides, [pairs][width of all stored layers]
	mentions   [2][]float32 // [pairs][width of those above the embeddings]; nil where prompts are not stored
	tokens     [2][]int
}

// Train learns a head from the pairs, and measures it on those that are held out.
func (t Trunk) Train(ctx context.Context, d *Data, o Options) (*head.Head, *Report, error) {
	if !(o.Noise >= 0 && o.Noise < 0.5) {
		return nil, nil, fault.New(op, "", 0.5, "choose one below .5, or 0", "a share %v of the pairs is swapped", o.Noise)
	}
	r := &trainer{Options: o, data: d, asked: o.Epochs, depth: t.Model.Info().Layers}
	if err := r.part(); err != nil {
		return nil, nil, err
	}
	if err := r.pool(ctx); err != nil {
		return nil, nil, err
	}
	best, tried, err := r.choose(ctx)
	if err != nil {
		return nil, nil, err
	}
	h, err := best.fit(ctx)
	if err != nil {
		return nil, nil, err
	}
	info := t.Model.Info()
	h.Trunk = head.Trunk{Architecture: info.Architecture, Width: info.Width, Vocabulary: info.Vocab, Template: t.Template}
	if gains, err := t.Model.Metadata().ReadF32("output_norm.weight"); err == nil && len(gains) == info.Width {
		h.Trunk.Norm = gains
	}
	h.Source = fmt.Sprintf("Bradley-Terry on %d pairs: %s", len(r.train), best.Name)
	report, err := r.measure(ctx, h)
	if err != nil {
		return nil, nil, err
	}
	report.Head, report.Tried = best.Trial, tried
	return h, report, nil
}

// part holds out pairs, and parts the others into folds, by their prompts.
func (r *trainer) part() error {
	r.Kind, r.HeldOut, r.Hidden, r.Epochs = cmp.Or(r.Kind, Auto), cmp.Or(r.HeldOut, 0.2), cmp.Or(r.Hidden, 32), cmp.Or(r.Epochs, min(40, max(8, 40_000/len(r.data.Pairs))))
	r.Workers = cmp.Or(r.Workers, runtime.GOMAXPROCS(0))
	_, held, err := preference.Split(r.data.Pairs, r.HeldOut)
	if err != nil {
		return &fault.Error{Op: op, Field: "pairs", Err: err, Hint: "bring pairs of several prompts"}
	}
	out, prompts := map[string]bool{}, map[string]bool{}
	for _, p := range held {
		out[p.Group()] = true
	}
	for i, p := range r.data.Pairs {
		g := p.Group()
		if out[g] {
			r.held = append(r.held, i)
			continue
		}
		prompts[g] = true
		r.train = append(r.train, i)
		r.fold = append(r.fold, int(xxhash.Sum64String("fold "+g)%folds))
		r.margin = append(r.margin, r.Margins*p.Margin)
	}
	if len(prompts) < 4*folds {
		return fault.New(op, "pairs", nil, "bring pairs of more prompts", "pairs of %d prompts to learn from; cross-validation needs %d", len(prompts), 4*folds)
	}
	return nil
}

// pool makes the last and the mean state of every side.
func (r *trainer) pool(ctx context.Context) error {
	n, w := len(r.data.Pairs), r.data.schema.Width
	for side := range 2 {
		r.last[side], r.mean[side], r.tokens[side] = make([]float32, n*w), make([]float32, n*w), make([]int, n)
	}
	err := r.data.each(ctx, r.data.all(), false, func(pair, side int, t head.States) error {
		sum := make([]float64, w)
		for i, v := range t.Hidden {
			sum[i%w] += float64(v)
		}
		for j, v := range sum {
			r.mean[side][pair*w+j] = float32(v / float64(len(t.Tokens)))
		}
		copy(r.last[side][pair*w:], t.Hidden[len(t.Hidden)-w:])
		r.tokens[side][pair] = len(t.Tokens)
		return nil
	})
	for _, i := range r.train {
		r.longest = max(r.longest, r.tokens[chosen][i], r.tokens[rejected][i])
	}
	if err != nil || !r.data.schema.Prompts {
		return err
	}
	w = len(r.data.schema.PromptLayers) * r.data.width
	for side := range 2 {
		r.mentions[side] = make([]float32, n*w)
	}
	return r.data.each(ctx, r.data.all()[r.data.below():], true, func(pair, side int, t head.States) error {
		copy(r.mentions[side][pair*w:], valuehead.SumOfMentions(t.Prompt, t.Tokens))
		return nil
	})
}

// pooled is the pooled state of a side, as a head of the candidate reads it.
func (r *trainer) pooled(c candidate, pair, side int) []float32 {
	w, d := r.data.schema.Width, r.data.width
	from, by := r.mean[side], float32(1)
	switch c.pooling {
	case head.Last:
		from = r.last[side]
	case head.Sum, head.Mentions:
		by = float32(r.tokens[side][pair]) / float32(r.longest)
	}
	var x []float32
	for _, l := range c.layers {
		for _, v := range from[pair*w+l*d : pair*w+(l+1)*d] {
			x = append(x, by*v)
		}
	}
	if c.pooling == head.Sum || c.pooling == head.Mentions {
		x = append(x, by)
	}
	if c.pooling == head.Mentions {
		w, below := len(r.data.schema.PromptLayers)*d, r.data.below()
		for _, l := range c.layers {
			for _, v := range r.mentions[side][pair*w+(l-below)*d : pair*w+(l-below+1)*d] {
				x = append(x, v/float32(r.longest))
			}
		}
	}
	return x
}

// reading is what a head of the candidate reads.
func (r *trainer) reading(c candidate) head.Reading {
	read := head.Reading{Pooling: c.pooling}
	for _, l := range c.layers {
		read.Layers = append(read.Layers, r.data.layers[l])
	}
	if c.pooling == head.Sum || c.pooling == head.Mentions {
		read.Longest = r.longest
	}
	if c.pooling == head.Last {
		read.Pooling = ""
	}
	return read
}

func (r *trainer) name(c candidate) string {
	where := "layer"
	if len(c.layers) > 1 {
		where = "layers"
	}
	for i, l := range c.layers {
		if i > 0 {
			where += ","
		}
		where += fmt.Sprintf(" %d", r.data.layers[l])
	}
	if r.data.layers[c.layers[0]] == head.Embeddings {
		where = "embeddings"
	}
	if c.kind != Attend && c.kind != Recall {
		where = string(c.pooling) + ", " + where
	}
	return c.kind + ", " + where
}

// fitted is a candidate that was tried, and how its head is made of all training pairs.
type fitted struct {
	Trial
	candidate candidate
	fit       func(ctx context.Context) (*head.Head, error)
}

// choose tries heads by cross-validation and returns the one with the least log loss: linear ones of
// all poolings and layers first, then the other kinds where those were best.
func (r *trainer) choose(ctx context.Context) (best *fitted, tried []Trial, err error) {
	if r.Kind == Recall {
		f, err := r.tryRecall(ctx)
		if err != nil {
			return nil, nil, err
		}
		if r.Progress != nil {
			r.Progress(1, 1, f.Trial)
		}
		return f, []Trial{f.Trial}, nil
	}
	var linear []candidate
	poolings := []head.Pooling{head.Last, head.Mean, head.Sum}
	if r.data.schema.Prompts {
		poolings = append(poolings, head.Mentions)
	}
	if r.Pooling != "" {
		poolings = []head.Pooling{r.Pooling}
	}
	if r.Pooling == head.Mentions && !r.data.schema.Prompts {
		return nil, nil, errNoPrompts
	}
	for _, p := range poolings {
		var all []int
		for l, layer := range r.data.layers {
			if layer == head.Embeddings && p == head.Mentions { // of which prompts have none
				continue
			}
			linear = append(linear, candidate{Linear, []int{l}, p})
			if layer != head.Embeddings { // which are read alone
				all = append(all, l)
			}
		}
		if len(all) > 1 {
			linear = append(linear, candidate{Linear, all, p})
		}
	}
	var trained []string
	for _, kind := range []string{MLP, Attend, Tokens} {
		if r.Kind == Auto || r.Kind == kind {
			trained = append(trained, kind)
		}
	}
	recalls := r.Kind == Auto && r.data.schema.Prompts
	total := len(linear) + len(trained)
	if recalls {
		total++
	}
	done := 0
	tell := func(f *fitted) {
		done++
		tried = append(tried, f.Trial)
		slog.Debug("reward head tried", "name", f.Name, "log loss", f.LogLoss, "accuracy", f.Accuracy)
		if r.Progress != nil {
			r.Progress(done, total, f.Trial)
		}
	}
	results := make([]*fitted, len(linear))
	if err := r.parallel(ctx, len(linear), func(ctx context.Context, i int) (err error) {
		results[i], err = r.tryLinear(ctx, linear[i])
		return err
	}); err != nil {
		return nil, nil, err
	}
	better := func(a, b *fitted) int { return cmp.Compare(a.LogLoss, b.LogLoss) }
	for _, f := range results {
		tell(f)
	}
	guide := slices.MinFunc(results, better)
	if r.Kind == Auto || r.Kind == Linear {
		best = guide
	}
	for _, kind := range trained {
		c := candidate{kind, guide.candidate.layers, guide.candidate.pooling}
		switch kind {
		case Attend:
			c.pooling = head.Attention
		case Tokens:
			c.pooling = head.Sum
		}
		f, err := r.tryNet(ctx, c)
		if err != nil {
			return nil, nil, err
		}
		tell(f)
		if best == nil || f.LogLoss < best.LogLoss {
			best = f
		}
	}
	if recalls {
		f, err := r.tryRecall(ctx)
		if err != nil {
			return nil, nil, err
		}
		if tell(f); f.LogLoss < best.LogLoss {
			best = f
		}
	}
	if best == nil {
		return nil, nil, fault.New(op, "", nil, "choose one of them", "no kind of head is called %q: there are %v", r.Kind, Kinds())
	}
	return best, tried, nil
}

// parallel runs work on as many goroutines as there are workers.
func (r *trainer) parallel(ctx context.Context, n int, work func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(r.Workers, n) {
		g.Go(func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := work(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// judged is the log loss and the accuracy of differences of rewards.
func judged(differences []float64, noise float64) (loss, accuracy float64) {
	for _, d := range differences {
		one, _ := valuehead.Surprise(d, noise)
		loss += one
		accuracy += right(d)
	}
	n := float64(len(differences))
	return loss / n, accuracy / n
}

// right is 1 where the chosen side has the larger reward, and a half where both have the same.
func right(difference float64) float64 {
	switch {
	case difference > 0:
		return 1
	case difference == 0:
		return 0.5
	}
	return 0
}

// tryLinear tries a linear head of all penalties.
func (r *trainer) tryLinear(ctx context.Context, c candidate) (*fitted, error) {
	var x []float32
	p := 0
	for _, i := range r.train {
		a, b := r.pooled(c, i, chosen), r.pooled(c, i, rejected)
		for j := range a {
			a[j] -= b[j]
		}
		x, p = append(x, a...), len(a)
	}
	d := newDesign(x, p, r.margin, r.fold)
	w, columns, err := d.fit(ctx)
	if err != nil {
		return nil, err
	}
	f := &fitted{Trial: Trial{Name: r.name(c), LogLoss: math.Inf(1)}, candidate: c}
	at := 0
	for l, penalty := range penalties {
		if loss, accuracy := judged(d.validated(w, columns, l), r.Noise); loss < f.LogLoss {
			f.LogLoss, f.Accuracy, f.Penalty, at = loss, accuracy, penalty, l
		}
	}
	weights := d.column(w, columns, folds*len(penalties)+at)
	f.fit = func(context.Context) (*head.Head, error) {
		layer := head.Layer{In: p, Out: 1, Weight: make([]float32, p), Bias: []float32{0}}
		for j, v := range weights {
			layer.Weight[j] = float32(v)
		}
		return &head.Head{Reading: r.reading(c), Layers: []head.Layer{layer}}, nil
	}
	return f, nil
}
