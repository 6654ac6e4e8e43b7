package reward

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// sum is the weighted sum of some rewards, or one of them alone.
type sum struct {
	parts
	info Info
}

// parts are rewards that are asked together. They are held to the contract: one score an item, each
// finite or an error.
type parts []part

type part struct {
	name   string // its spec without the weight
	weight float64
	Model
}

// term is the part as its Model names itself.
func (p part) term() term {
	t := term{weight: p.weight}
	if e, ok := p.Model.(*ensemble); ok {
		t.kind, t.argument, t.of = e.kind, e.argument, e.of
	} else {
		t.kind, t.argument, _ = strings.Cut(p.Info().Name, ":")
	}
	return t
}

func newSum(of parts) *sum {
	s := &sum{parts: of, info: Info{Prefixes: true}}
	hash := sha256.New()
	for _, p := range of {
		info := p.Info()
		fmt.Fprintf(hash, "%g %q\n", p.weight, info.Fingerprint)
		if p.weight == 0 {
			continue
		}
		lo, hi := p.weight*info.Lo, p.weight*info.Hi
		s.info.Lo += min(lo, hi)
		s.info.Hi += max(lo, hi)
		s.info.Prefixes = s.info.Prefixes && info.Prefixes
	}
	s.info.Name = spell(s.terms(), false)
	s.info.Fingerprint = "sum 1 " + hex.EncodeToString(hash.Sum(nil))
	if len(of) == 1 && of[0].weight == 1 {
		s.info.Fingerprint = of[0].Info().Fingerprint
	}
	return s
}

// terms are the parts' own.
func (ps parts) terms() (terms []term) {
	for _, p := range ps {
		terms = append(terms, p.term())
	}
	return terms
}

func (s *sum) Info() Info { return s.info }

func (s *sum) Score(ctx context.Context, items []Item) ([]Score, error) {
	return s.weigh(s.parts.score(ctx, items))
}

// Follow is Score of responses that grow.
func (s *sum) Follow(ctx context.Context, place any, items []Item) ([]Score, error) {
	return s.weigh(s.parts.follow(ctx, place, items))
}

func (s *sum) weigh(scores [][]Score, err error) ([]Score, error) {
	return s.combine(scores, err, func(values []float64) (float64, error) {
		total := 0.0
		for k, p := range s.parts {
			total += p.weight * values[k]
		}
		if math.IsInf(total, 0) {
			return 0, errors.New("the weighted sum is infinite (lower the weights)")
		}
		return total, nil
	})
}

func (ps parts) score(ctx context.Context, items []Item) ([][]Score, error) {
	return ps.ask(ctx, items, func(ctx context.Context, m Model) ([]Score, error) { return m.Score(ctx, items) })
}

func (ps parts) follow(ctx context.Context, place any, items []Item) ([][]Score, error) {
	return ps.ask(ctx, items, func(ctx context.Context, m Model) ([]Score, error) { return Follow(ctx, m, place, items) })
}

// Keeps says whether any part does.
func (ps parts) Keeps() bool {
	return slices.ContainsFunc(ps, func(p part) bool { return Keeps(p.Model) })
}

// Forget frees what the parts have kept for a place.
func (ps parts) Forget(place any) (err error) {
	for _, p := range ps {
		err = errors.Join(err, Forget(p.Model, place))
	}
	return err
}

// ask asks all parts at once, some of which wait for programs and servers: [part][item].
func (ps parts) ask(ctx context.Context, items []Item, score func(context.Context, Model) ([]Score, error)) ([][]Score, error) {
	if len(items) == 0 {
		return nil, ctx.Err()
	}
	scores := make([][]Score, len(ps))
	g, gctx := errgroup.WithContext(ctx)
	for i, p := range ps {
		g.Go(func() (err error) {
			if scores[i], err = score(gctx, p.Model); err != nil {
				return ps.blame(p, err)
			}
			if len(scores[i]) != len(items) {
				return ps.blame(p, fmt.Errorf("it gave %d scores for %d responses", len(scores[i]), len(items)))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	return scores, nil
}

// combine makes one score of those that the parts give to an item: an error where one of them has none.
func (ps parts) combine(scores [][]Score, err error, one func(values []float64) (float64, error)) ([]Score, error) {
	if err != nil || len(scores) == 0 {
		return nil, err
	}
	out := make([]Score, len(scores[0]))
	values := make([]float64, len(ps))
items:
	for i := range out {
		for k, p := range ps {
			score := scores[k][i]
			if score.Err == nil && (math.IsNaN(score.Value) || math.IsInf(score.Value, 0)) {
				score.Err = fmt.Errorf("the score is %v, and has to be a finite number", score.Value)
			}
			if score.Err != nil {
				out[i] = Score{Err: ps.blame(p, score.Err)}
				continue items
			}
			values[k] = score.Value
		}
		if out[i].Value, out[i].Err = one(values); out[i].Err != nil {
			out[i].Value = 0
		}
	}
	return out, nil
}

// blame says which part an error is of, where there are several.
func (ps parts) blame(p part, err error) error {
	if len(ps) == 1 {
		return err
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

// Check asks the parts that can tell.
func (ps parts) Check(ctx context.Context, records []prompt.Record) error {
	for _, p := range ps {
		if c, ok := p.Model.(Checker); ok {
			if err := c.Check(ctx, records); err != nil {
				return ps.blame(p, err)
			}
		}
	}
	return nil
}

// Close closes the parts.
func (ps parts) Close() error {
	var errs []error
	for _, p := range ps {
		if err := p.Model.Close(); err != nil {
			errs = append(errs, ps.blame(p, err))
		}
	}
	return errors.Join(errs...)
}
