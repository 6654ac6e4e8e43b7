package valuehead

import (
	"context"
	"fmt"
)

// Choice is a way to make a head of a source's states.
type Choice struct {
	Name     string
	Features FeatureOptions
	Options  TrainOptions
}

// Trial is what a choice gave in cross-validation: the shares of the returns' variance that its
// values explain on prompts that they were not fitted to, over all states and the last ones.
type Trial struct {
	Name   string  `json:"name"`
	R2     float64 `json:"r2"`
	R2Last float64 `json:"r2_last"`
	Err    error   `json:"-"` // why the choice cannot be made; the rest is then 0
}

// Explained is what choices are compared by, the mean of both: searches are steered by the values of
// all states, and the best of several answers is chosen by those of the last.
func (t Trial) Explained() float64 { return (t.R2 + t.R2Last) / 2 }

// CrossValidate tries choices on the prompts that [Train] does not hold out, so that what is chosen
// by it can be measured on those that it does. Heads that are fitted in closed form have a
// cross-validation of their own, over five parts of the prompts, and are fitted once; others
// are trained once for each of the folds on the other ones, at least 2, and their scores are
// means over the folds. The last epoch's place is chosen on the fold that is left out, as Train
// does on its held-out prompts, which flatters such heads a little. A choice that cannot be made is
// no error: its trial says why.
func CrossValidate(ctx context.Context, src Source, choices []Choice, folds int) ([]Trial, error) {
	if folds < 2 {
		return nil, fmt.Errorf("valuehead: cross-validation in %d parts (choose at least 2)", folds)
	}
	all, vocabulary, err := survey(ctx, src)
	if err != nil {
		return nil, err
	}
	var out []Trial
	for _, c := range choices {
		t := Trial{Name: c.Name}
		t.R2, t.R2Last, t.Err = try(ctx, src, c, all, vocabulary, folds)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// try scores one choice.
func try(ctx context.Context, src Source, c Choice, all []entry, vocabulary, folds int) (r2, last float64, err error) {
	o, err := c.Options.resolve()
	if err != nil {
		return 0, 0, err
	}
	features, err := NewFeatures(src.Features().schema, c.Features)
	if err != nil {
		return 0, 0, err
	}
	if o.Shape.Embedding > 0 {
		o.Shape.Vocabulary = min(vocabulary, maxVocabulary)
	}
	train, held, err := split(all, o.HeldOut)
	if err != nil {
		return 0, 0, err
	}
	view := seen{src, features}
	if o.bare = o.Ridge; o.closed() { // what stands beside the head is not what is tried
		_, r, err := trainOn(ctx, view, train, held, o)
		switch {
		case err != nil:
			return 0, 0, err
		case r.Ridge != nil:
			return r.Ridge.R2, r.Ridge.R2Last, nil
		}
		return r.Additive.Kept.R2, r.Additive.Kept.R2Last, nil
	}
	o.Embeddings = nil
	scored := 0.0
	for k := range folds {
		var others, own []entry
		for _, e := range train {
			if foldOfN(e.prompt, folds) == k {
				own = append(own, e)
			} else {
				others = append(others, e)
			}
		}
		if len(own) == 0 || len(others) == 0 {
			continue
		}
		_, r, err := trainOn(ctx, view, others, own, o)
		if err != nil {
			return 0, 0, err
		}
		r2, last, scored = r2+r.HeldOut.All.R2, last+r.HeldOut.Last.R2, scored+1
	}
	if scored == 0 {
		return 0, 0, fmt.Errorf("valuehead: the trajectories of too few prompts to part them in %d (collect more prompts)", folds)
	}
	return r2 / scored, last / scored, nil
}

// seen is a source as other features lay it out.
type seen struct {
	Source
	features *Features
}

func (s seen) Features() *Features { return s.features }
