package reward

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// sum is the weighted sum of some rewards, or one of them alone. It holds its parts to the
// contract: one score an item, each finite or an error.
type sum struct {
	parts []part
	info  Info
}

type part struct {
	name   string // its spec without the weight
	weight float64
	Model
}

func newSum(parts []part) *sum {
	s := &sum{parts: parts, info: Info{Prefixes: true}}
	var names []string
	hash := sha256.New()
	for _, p := range parts {
		info := p.Info()
		kind, argument, _ := strings.Cut(info.Name, ":")
		names = append(names, term{p.weight, kind, argument}.String())
		fmt.Fprintf(hash, "%g %q\n", p.weight, info.Fingerprint)
		if p.weight == 0 {
			continue
		}
		lo, hi := p.weight*info.Lo, p.weight*info.Hi
		s.info.Lo += min(lo, hi)
		s.info.Hi += max(lo, hi)
		s.info.Prefixes = s.info.Prefixes && info.Prefixes
	}
	s.info.Name = strings.Join(names, " + ")
	s.info.Fingerprint = "sum 1 " + hex.EncodeToString(hash.Sum(nil))
	if len(parts) == 1 && parts[0].weight == 1 {
		s.info.Fingerprint = parts[0].Info().Fingerprint
	}
	return s
}

func (s *sum) Info() Info { return s.info }

// Score asks all parts at once: some of them wait for programs and servers.
func (s *sum) Score(ctx context.Context, items []Item) ([]Score, error) {
	return s.ask(ctx, items, func(ctx context.Context, m Model) ([]Score, error) { return m.Score(ctx, items) })
}

// Follow is Score of responses that grow.
func (s *sum) Follow(ctx context.Context, items []Item) ([]Score, error) {
	return s.ask(ctx, items, func(ctx context.Context, m Model) ([]Score, error) { return Follow(ctx, m, items) })
}

func (s *sum) ask(ctx context.Context, items []Item, score func(context.Context, Model) ([]Score, error)) ([]Score, error) {
	if len(items) == 0 {
		return nil, ctx.Err()
	}
	scores := make([][]Score, len(s.parts))
	g, gctx := errgroup.WithContext(ctx)
	for i, p := range s.parts {
		g.Go(func() (err error) {
			if scores[i], err = score(gctx, p.Model); err != nil {
				return s.of(p, err)
			}
			if len(scores[i]) != len(items) {
				return s.of(p, fmt.Errorf("it gave %d scores for %d responses", len(scores[i]), len(items)))
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
	out := make([]Score, len(items))
	for i := range out {
		for k, p := range s.parts {
			score := scores[k][i]
			if score.Err == nil && (math.IsNaN(score.Value) || math.IsInf(score.Value, 0)) {
				score.Err = fmt.Errorf("the score is %v, and has to be a finite number", score.Value)
			}
			if score.Err != nil {
				out[i] = Score{Err: s.of(p, score.Err)}
				break
			}
			out[i].Value += p.weight * score.Value
		}
		if out[i].Err == nil && math.IsInf(out[i].Value, 0) {
			out[i] = Score{Err: errors.New("the weighted sum is infinite (lower the weights)")}
		}
	}
	return out, nil
}

// of says which part an error is of, where there are several.
func (s *sum) of(p part, err error) error {
	if len(s.parts) == 1 {
		return err
	}
	return fmt.Errorf("%s: %w", p.name, err)
}

// Check asks the parts that can tell.
func (s *sum) Check(ctx context.Context, records []prompt.Record) error {
	for _, p := range s.parts {
		if c, ok := p.Model.(Checker); ok {
			if err := c.Check(ctx, records); err != nil {
				return s.of(p, err)
			}
		}
	}
	return nil
}

func (s *sum) Close() error {
	var errs []error
	for _, p := range s.parts {
		if err := p.Model.Close(); err != nil {
			errs = append(errs, s.of(p, err))
		}
	}
	return errors.Join(errs...)
}
