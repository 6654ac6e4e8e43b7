package valuehead

import (
	"fmt"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Dataset holds the input rows and targets of scored trajectories, in the order in
// which they were added. Rows are not standardised, so one dataset serves any head with
// the same features.
type Dataset struct {
	features     *Features
	trajectories []trajectory
	states       int
	memory       *Accumulator
}

// trajectory is the rows [T][width] and targets [T] of one response.
type trajectory struct {
	prompt  string
	rows    []float32
	targets []float32
}

// NewDataset returns an empty dataset of rows as features lays them out.
func NewDataset(features *Features) *Dataset {
	return &Dataset{features: features, memory: features.NewAccumulator()}
}

// Add computes the rows of t, which must be scored and fit the schema, and keeps them
// with Monte Carlo targets; t itself is not kept. An empty response adds nothing.
func (d *Dataset) Add(t *states.Trajectory) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("valuehead: prompt %q, sample %d: %w", t.Prompt, t.Sample, fmt.Errorf(format, args...))
	}
	n, s := len(t.Tokens), d.features.schema
	ns := len(s.Scalars)
	switch {
	case !finite(t.Reward):
		return fail("reward %v (score the trajectory before training on it)", t.Reward)
	case len(t.Hidden) != n*s.Width || len(t.Scalars) != n*ns:
		return fail("%d hidden floats and %d scalars for %d tokens of %d and %d (read it with the schema it was written with)", len(t.Hidden), len(t.Scalars), n, s.Width, ns)
	case n == 0:
		return nil
	}
	rows := make([]float32, 0, n*d.features.width)
	d.memory.Reset()
	for i := range n {
		if err := d.memory.Push(t.Hidden[i*s.Width:(i+1)*s.Width], t.Scalars[i*ns:(i+1)*ns]); err != nil {
			return fail("%w", err)
		}
		rows = d.memory.AppendRow(rows)
	}
	for i, v := range rows {
		if !finite(v) {
			return fail("token %d has the feature %v (collect it again: the model gave numbers that are not finite)", i/d.features.width, v)
		}
	}
	targets := make([]float32, n)
	MonteCarlo(targets, t.Reward)
	d.trajectories = append(d.trajectories, trajectory{t.Prompt, rows, targets})
	d.states += n
	return nil
}

// Features is the layout of the rows.
func (d *Dataset) Features() *Features { return d.features }

// Trajectories is the number of responses that are not empty, States that of their tokens.
func (d *Dataset) Trajectories() int { return len(d.trajectories) }
func (d *Dataset) States() int       { return d.states }

func finite(v float32) bool { return v-v == 0 }
