package batch

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Limits of [Many.TargetKL].
const (
	targetTasks  = 32  // prompts that the KL is measured on
	TargetTries  = 6   // betas that are tried
	nearlyTarget = 0.1 // of the KL, as a share
)

// TargetKL sets the beta of the run's strategy so that its responses are about target nats from the
// base policy on average, measured on the first of the tasks, and returns it with the KL that it
// gave. KL grows about as the square of beta, so the logarithms are a line, whose slope is corrected
// with every try.
func (m *Many) TargetKL(ctx context.Context, model *llama.Model, tasks []Task, target float64, notify func(tried int, beta, kl float64)) (beta, kl float64, err error) {
	if !m.Policy.Strategy.UsesBeta() {
		return 0, 0, fault.New("", "target_kl", nil, "leave {target_kl} out, or choose a {method} that follows the value function by a beta, or {proposal}", "%s has no beta", m.Policy.Strategy.Method)
	}
	if !(target > 0) || math.IsInf(target, 1) {
		return 0, 0, fault.New("", "target_kl", nil, "give {target_kl} a positive number of nats, such as 4", "a KL of %v", target)
	}
	tasks = tasks[:min(len(tasks), targetTasks)]
	pool, err := m.pool(model, tasks)
	if err != nil {
		return 0, 0, err
	}
	defer pool.Close()
	beta, slope := math.Sqrt(2*target), 2.0
	var lastBeta, lastKL float64
	best := math.Inf(1)
	var bestBeta, bestKL float64
	for try := range TargetTries {
		m.Policy.Strategy.SetBeta(beta)
		if kl, err = m.meanKL(ctx, pool, tasks); err != nil {
			return 0, 0, err
		}
		if notify != nil {
			notify(try+1, beta, kl)
		}
		off := math.Abs(math.Log(max(kl, 1e-9) / target))
		if off < best {
			best, bestBeta, bestKL = off, beta, kl
		}
		if off < nearlyTarget || !(kl > 0) {
			break
		}
		if try > 0 && kl != lastKL {
			if s := math.Log(kl/lastKL) / math.Log(beta/lastBeta); s > 0.5 && s < 8 {
				slope = s
			}
		}
		lastBeta, lastKL = beta, kl
		beta *= math.Exp(max(-1.5, min(1.5, math.Log(target/kl)/slope)))
	}
	m.Policy.Strategy.SetBeta(bestBeta)
	return bestBeta, bestKL, nil
}

// TargetInWords says what a beta gave where a KL was asked for.
func TargetInWords(target, beta, kl float64) string {
	words := fmt.Sprintf("beta %.3g gives a KL of %.3g nats a response", beta, kl)
	if math.Abs(kl-target) > target/4 {
		words += fmt.Sprintf("; none of those tried came nearer to %g", target)
	}
	return words
}

// meanKL is the mean over tasks of the KL of one response to each.
func (m *Many) meanKL(ctx context.Context, pool *engine.Pool, tasks []Task) (float64, error) {
	one := make([]Task, len(tasks))
	for i, t := range tasks {
		one[i] = t
		one[i].Samples = 1
	}
	var mu sync.Mutex
	sum := make([]float64, len(one))
	err := pool.Each(ctx, 1, func(ctx context.Context, e *engine.Engine, _ int) error {
		return m.Policy.Decode(ctx, e, one, func(task, _ int, r decode.Response) error {
			mu.Lock()
			defer mu.Unlock()
			sum[task] = r.KL
			return nil
		})
	})
	if err != nil {
		return 0, fmt.Errorf("measure the KL: %w", err)
	}
	total := 0.0
	for _, kl := range sum { // in a fixed order
		total += kl / float64(len(sum))
	}
	return total, nil
}
