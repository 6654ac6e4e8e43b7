package valuehead

import "github.com/ivo-decoding/ivo/valuehead/states"

// Dataset is a [Source] in memory: scored trajectories in the order in which they were
// added. It refers to their slices, which must not change afterwards.
type Dataset struct {
	features *Features
	examples []Example
	states   int
}

// NewDataset returns an empty dataset for heads with these features.
func NewDataset(features *Features) *Dataset { return &Dataset{features: features} }

// Add keeps t, which must fit the schema, with its return. An empty response adds nothing.
func (d *Dataset) Add(t *states.Trajectory, ret float32) error {
	return d.AddExample(Example{Trajectory: t, Return: ret})
}

// AddExample is Add with what else heads may learn from.
func (d *Dataset) AddExample(e Example) error {
	if err := checkExample(d.features, e); err != nil {
		return err
	}
	if n := len(e.Trajectory.Tokens); n > 0 {
		t := *e.Trajectory
		e.Trajectory = &t
		d.examples = append(d.examples, e)
		d.states += n
	}
	return nil
}

// Features is the layout of the rows.
func (d *Dataset) Features() *Features { return d.features }

// Len is the number of responses that are not empty, States that of their tokens.
func (d *Dataset) Len() int    { return len(d.examples) }
func (d *Dataset) States() int { return d.states }

// At returns trajectory i.
func (d *Dataset) At(i int) (Example, error) { return d.examples[i], nil }
