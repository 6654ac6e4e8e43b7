package learn

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Auto is the kind of head that stands for the best of several, and Ridge that of linear heads
// fitted in closed form to running sums.
const (
	Auto  = "auto"
	Ridge = "ridge"
)

const (
	// parts is the number of parts of the cross-validation of heads that are trained by steps.
	parts = 2
	// enough is the number of responses, about, that kinds of heads are compared on: more would
	// make the choice cost more than what is chosen.
	enough = 8000
)

// sums are the features of heads fitted in closed form: what was said so far lies in running sums
// that a single state does not carry, and few responses do not fit more columns. Of a policy that thinks they know
// whether a state is within a thought.
func sums(thinks bool, layers []int, more ...valuehead.Block) valuehead.FeatureOptions {
	o := valuehead.FeatureOptions{Layers: layers, Scalars: []string{}, Blocks: append([]valuehead.Block{valuehead.HiddenSum}, more...)}
	if thinks {
		o.Scalars, o.Blocks = []string{value.Thought}, append(o.Blocks, valuehead.Scalar)
	}
	return o
}

// thinks says whether states are those of a policy that thinks before it answers.
func thinks(s states.Schema) bool { return slices.Contains(s.Scalars, value.Thought) }

// choices are what [Auto] chooses from: options as they are for a recall head, and those of heads
// that few prompts are enough for; thinks says whether the policy thinks before it answers.
func choices(o valuehead.TrainOptions, layers []int, thinks bool) []valuehead.Choice {
	closed := o
	closed.Kind, closed.Ridge, closed.Shape = valuehead.Linear, true, valuehead.Shape{}
	additive := closed
	additive.Kind, additive.Ridge = valuehead.Additive, false
	recall := o
	recall.Kind, recall.Progress = valuehead.Recall, nil
	features := func(f valuehead.FeatureOptions) valuehead.FeatureOptions {
		f.Layers = layers
		return f
	}
	out := []valuehead.Choice{{Name: "additive", Features: features(valuehead.FeaturesOf(valuehead.Additive)), Options: additive}}
	for _, l := range layers {
		out = append(out, valuehead.Choice{Name: fmt.Sprintf("ridge on sums of layer %d", l), Features: sums(thinks, []int{l}), Options: closed})
	}
	last := layers[len(layers)-1]
	return append(out,
		valuehead.Choice{Name: fmt.Sprintf("ridge on sums of layer %d and the prompt", last), Features: sums(thinks, []int{last}, valuehead.PromptMean), Options: closed},
		valuehead.Choice{Name: fmt.Sprintf("ridge on sums of layer %d and of mentions", last), Features: sums(thinks, []int{last}, valuehead.Mentions), Options: closed},
		valuehead.Choice{Name: "recall", Features: features(valuehead.FeaturesOf(valuehead.Recall)), Options: recall},
	)
}

// Fitting says which head is fitted, and how.
type Fitting struct {
	valuehead.TrainOptions       // of kind [Auto] too
	OnePass                bool  // a head that values tokens before they are fed
	Layers                 []int // of the stored ones; nil for all
	Trying                 func(done, total int, name string)
}

// Fit fits a head to the data: of the kind that is asked for, or the best of several.
func Fit(ctx context.Context, d *Data, f Fitting) (*valuehead.Head, *Metrics, error) {
	if d.returns != nil && d.lo == d.hi {
		return nil, nil, d.alike()
	}
	var trials []valuehead.Trial
	var features valuehead.FeatureOptions
	o, err := f.TrainOptions, error(nil)
	if o.From != nil && o.Kind == Auto {
		if o.From.Kind() == valuehead.Recall {
			o.Kind, o.Shape = valuehead.Recall, o.From.Shape()
		} else { // what is fitted in closed form begins from nothing
			o.From = nil
		}
	}
	if o.Kind == Auto {
		var best valuehead.Choice
		if best, trials, err = choose(ctx, d, o, f.Layers, f.Trying); err == nil {
			features, o = best.Features, best.Options
		}
	} else {
		features, err = Features(d, o, f.OnePass, f.Layers)
	}
	if err != nil {
		return nil, nil, err
	}
	head, m, err := Train(ctx, d, features, o)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range trials {
		if t.Err == nil {
			m.Tried = append(m.Tried, t)
			continue
		}
		why := t.Err
		if f := (*fault.Error)(nil); errors.As(why, &f) {
			why = f.Err // what to do is of no use here
		}
		m.LeftOut = append(m.LeftOut, LeftOut{t.Name, why.Error()})
	}
	return head, m, nil
}

// share are the returns of about a share of the prompts, which a hash of their names decides.
func (d *Data) share(of float64) valuehead.Returns {
	limit := uint64(of * (1 << 63) * 2)
	return func(shard, prompt string, sample int) (float32, bool) {
		if xxhash.Sum64String("compare "+prompt) >= limit {
			return 0, false
		}
		return d.Returns(shard, prompt, sample)
	}
}

// choose tries heads by cross-validation over the prompts and returns the one whose values
// explain most of the returns' variance, with what each gave. layers choose from
// the stored ones; nil takes all.
func choose(ctx context.Context, d *Data, o valuehead.TrainOptions, layers []int, notify func(done, total int, name string)) (best valuehead.Choice, trials []valuehead.Trial, err error) {
	schema, err := d.Schema()
	if err != nil {
		return best, nil, err
	}
	if err := checkLayers(schema.Layers, layers); err != nil {
		return best, nil, err
	}
	if layers == nil {
		layers = schema.Layers
	}
	layout, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{})
	if err != nil {
		return best, nil, err
	}
	data, err := valuehead.OpenStored(layout, d.Shards, d.Returns)
	if err != nil {
		return best, nil, err
	}
	if n := data.Len(); n > enough && d.Returns != nil {
		if data, err = valuehead.OpenStored(layout, d.Shards, d.share(float64(enough)/float64(n))); err != nil {
			return best, nil, err
		}
	}
	all := choices(o, layers, thinks(schema))
	all = slices.DeleteFunc(all, func(c valuehead.Choice) bool {
		switch additive := c.Options.Kind == valuehead.Additive; o.Target {
		case valuehead.TDLambda: // which what is fitted to returns alone does not know
			return additive
		case valuehead.CDQ: // and recall heads value what is not fed where that is asked for alone
			return !c.Options.Ridge
		default:
			return additive && o.Embeddings == nil
		}
	})
	at := -1
	for i, c := range all {
		if notify != nil {
			notify(i, len(all), c.Name)
		}
		t, err := valuehead.CrossValidate(ctx, data, []valuehead.Choice{c}, parts)
		if err != nil {
			return best, nil, err
		}
		trials = append(trials, t...)
		if t[0].Err == nil && (at < 0 || t[0].Explained() > trials[at].Explained()) {
			at = i
		}
	}
	if at < 0 {
		return best, trials, fmt.Errorf("train: no kind of head can be fitted: %w", trials[0].Err)
	}
	best = all[at]
	best.Options.Progress = o.Progress
	return best, trials, nil
}
