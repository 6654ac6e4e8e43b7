package valuehead

import (
	"context"
	"math"
)

// AdditiveFit is a choice of how additive values are regularised, and what it gave in
// cross-validation over the prompts of training.
type AdditiveFit struct {
	Once     bool    `json:"once"`     // each token of a response counts once
	Rank     int     `json:"rank"`     // directions of the prompt that tokens are multiplied with; 0 for a table that is the same for all
	Product  float64 `json:"product"`  // weight of those products against the tokens alone
	Prompt   float64 `json:"prompt"`   // weight of V(x) against the tokens
	Words    float64 `json:"words"`    // weight of the tokens themselves against their embeddings
	Squashed bool    `json:"squashed"` // the value stays within the returns
	Lambda   float64 `json:"lambda"`   // of the ridge, where the mean response has the length 1
	R2       float64 `json:"r2"`       // of all states
	R2Last   float64 `json:"r2_last"`  // of the last state of each response
}

// AdditiveReport tells how an additive value was fitted.
type AdditiveReport struct {
	Static   AdditiveFit `json:"static"`   // the best table that is the same for every prompt
	Bilinear AdditiveFit `json:"bilinear"` // the best of those that depend on it; Rank 0 where prompts have no states
	Kept     AdditiveFit `json:"kept"`
	Other    AdditiveFit `json:"other"` // the best of the sums that were not kept: of all tokens, or of different ones
	Tried    int         `json:"tried"`
}

// Grids of the search. A rank is no more than the number of directions.
var (
	gridLambda  = []float64{0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30}
	gridPrompt  = []float64{0, 0.1, 0.3, 1, 3}
	gridProduct = []float64{0.3, 1, 3}
	gridRank    = []int{8, 32}
	gridWords   = []float64{0, 0.3, 1, 3}
)

// advantages fits an additive value: of different tokens, unless that of all of them, which may say a
// good word again and again, is better by far.
func (a *additive) advantages(ctx context.Context, features *Features, o *TrainOptions) (*Advantages, *AdditiveReport, error) {
	other, err := a.search(ctx, o.Workers)
	if err != nil {
		return nil, nil, err
	}
	bag := a
	a = a.different(o.Workers)
	report, err := a.search(ctx, o.Workers)
	if err != nil {
		return nil, nil, err
	}
	if other.Kept.R2Last > report.Kept.R2Last+repeating {
		a, report, other = bag, other, report
	}
	report.Other, report.Tried = other.Kept, report.Tried+other.Tried
	table, err := a.table(ctx, a.solve(report.Kept, -1, veryTightly), features, o.Embeddings)
	return table, report, err
}

// search looks for the fit with the best R2 at the last state: first among the tables that
// are the same for every prompt, of which it asks whether they gain by the tokens
// themselves and by a value that stays within the returns, then among those that depend on it.
func (a *additive) search(ctx context.Context, workers int) (*AdditiveReport, error) {
	report := &AdditiveReport{}
	try := func(best *AdditiveFit, fit AdditiveFit) (better bool, err error) {
		report.Tried++
		if err := a.validate(ctx, &fit, false, workers); err != nil {
			return false, err
		}
		if better = fit.R2Last > best.R2Last; better {
			*best = fit
		}
		return better, nil
	}
	lambdas := func(best *AdditiveFit) error {
		from := best.Lambda
		return climb(gridLambda, from, func(v float64) (bool, error) {
			next := *best
			if next.Lambda = v; v == from && best.R2Last > math.Inf(-1) {
				return false, nil // it was tried
			}
			return try(best, next)
		})
	}
	prompts := func(best *AdditiveFit) error {
		if a.dirs == 0 {
			return nil
		}
		for _, v := range gridPrompt {
			next := *best
			if next.Prompt = v; v != best.Prompt {
				if _, err := try(best, next); err != nil {
					return err
				}
			}
		}
		return lambdas(best)
	}
	static := AdditiveFit{Once: a.once, Lambda: 1, R2Last: math.Inf(-1)}
	bilinear := static
	if err := lambdas(&static); err != nil {
		return nil, err
	}
	if err := prompts(&static); err != nil {
		return nil, err
	}
	richer := AdditiveFit{R2Last: math.Inf(-1)}
	for _, squashed := range []bool{false, true} {
		for _, words := range gridWords {
			next := static
			if next.Squashed, next.Words = squashed, words; words == 0 && !squashed || squashed && a.squash.reach == 0 {
				continue
			}
			if _, err := try(&richer, next); err != nil {
				return nil, err
			}
		}
	}
	if err := lambdas(&richer); err != nil {
		return nil, err
	}
	if richer.R2Last > static.R2Last+leastGain {
		static = richer
	}
	for i, rank := range gridRank {
		if rank = min(rank, a.dirs); rank == 0 || i > 0 && a.dirs <= gridRank[i-1] {
			break
		}
		for _, product := range gridProduct {
			next := static
			next.Rank, next.Product = rank, product
			if _, err := try(&bilinear, next); err != nil {
				return nil, err
			}
		}
	}
	report.Static, report.Kept = static, static
	if bilinear.Rank > 0 {
		if err := lambdas(&bilinear); err != nil {
			return nil, err
		}
		if err := prompts(&bilinear); err != nil {
			return nil, err
		}
		if report.Bilinear = bilinear; bilinear.R2Last > static.R2Last+leastGain {
			report.Kept = bilinear
		}
	}
	for _, fit := range []*AdditiveFit{&report.Static, &report.Bilinear, &report.Kept} {
		if fit.Lambda > 0 {
			if err := a.validate(ctx, fit, true, workers); err != nil {
				return nil, err
			}
		}
	}
	return report, nil
}
