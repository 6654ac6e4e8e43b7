package value

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Options say which value function [Open] opens.
type Options struct {
	Heads   []string // files of heads; of several the mean
	Model   string   // file of a model to take values from instead of the policy: by the head, or by itself
	Reading valuehead.Reading
	// Of the model:
	Load   func(path string) (*llama.Model, error) // nil for [llama.Load] as it comes
	Params engine.Params                           // of its context
	// Length is the most tokens of prompt and response together, by the model. The context of each engine's requests has room
	// for two such texts, which is all that the candidates of a request take, for they share most of
	// theirs, or for Params.Ctx if that is more: what it forgets of many requests it reads again.
	Length func(*llama.Model) (int, error)
}

// Function is a value function that was opened from files.
type Function struct {
	Source                 // nil where the options name no file
	Layers []int           // that the policy's engine has to tap
	Head   *valuehead.Head // the only one, on the policy's own states; else nil
	// Lo and Hi are what its values lie between, most of the time: two standard deviations of the
	// rewards that it was trained on to either side of their mean, or the least and the greatest.
	Lo, Hi float64

	o     Options
	heads []*valuehead.Head
	own   []*headSource // on the policy's states
	model *llama.Model  // instead of the policy
	of    *Model
}

// Open opens a value function. Close it after whatever decodes with it.
func Open(o Options) (f *Function, err error) {
	f = &Function{o: o}
	for _, path := range o.Heads {
		head, err := valuehead.Load(path)
		if err != nil {
			return nil, err
		}
		if err := head.CheckReading(o.Reading); err != nil {
			return nil, err
		}
		f.heads = append(f.heads, head)
	}
	for _, head := range f.heads {
		mean, deviation := head.Reward()
		f.Lo += float64(mean-2*deviation) / float64(len(f.heads))
		f.Hi += float64(mean+2*deviation) / float64(len(f.heads))
	}
	switch {
	case o.Model != "":
		if err := f.openModel(); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	case len(f.heads) > 0:
		return f, f.openHeads()
	}
	return f, nil
}

// openHeads makes the heads read the policy's own states.
func (f *Function) openHeads() error {
	f.Layers = f.heads[0].Features().Schema().Layers
	var sources []Source
	for i, head := range f.heads {
		if layers := head.Features().Schema().Layers; !slices.Equal(layers, f.Layers) {
			return fault.New("", "value_head", f.Layers, "take heads of the same layers", "%s reads layers %v, %s reads %v", f.o.Heads[0], f.Layers, f.o.Heads[i], layers)
		}
		f.own = append(f.own, newHeadSource(head, f.o.Reading))
		sources = append(sources, f.own[i])
	}
	if f.Source = Mean(sources...); len(f.heads) == 1 {
		f.Head = f.heads[0]
	}
	return nil
}

func (f *Function) openModel() (err error) {
	var head *valuehead.Head
	if n := len(f.heads); n > 1 {
		return fault.New("", "value_head", 1, "give one {value_head} with {value_model}", "%d heads on one value model", n)
	} else if n == 1 {
		head = f.heads[0]
	}
	if f.o.Load == nil {
		f.model, err = llama.Load(f.o.Model, llama.ModelParams{})
	} else {
		f.model, err = f.o.Load(f.o.Model)
	}
	if err != nil {
		return err
	}
	p := f.o.Params
	if f.o.Length != nil {
		n, err := f.o.Length(f.model)
		if err != nil {
			return err
		}
		p.Ctx = max(p.Ctx, 2*n)
	}
	if f.of, err = OpenModel(f.model, head, p); err != nil {
		return err
	}
	f.Source = f.of.Source(f.o.Reading)
	if atoms := f.of.Atoms(); atoms != nil {
		f.Lo, f.Hi = float64(atoms[0]), float64(atoms[len(atoms)-1])
	}
	return nil
}

// CheckPolicy checks that heads on the policy's own states were trained on those of this model,
// or of another quantization of it.
func (f *Function) CheckPolicy(policy *llama.Model) error {
	for i, h := range f.own {
		if err := h.knows(policy); err != nil {
			return fmt.Errorf("%s: %w", f.o.Heads[i], err)
		}
	}
	return nil
}

// Identity tells the function from others: by the content of its files, and by what is read.
func (f *Function) Identity() (string, error) {
	var parts []string
	for _, path := range f.o.Heads {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("%w (check the path)", err)
		}
		parts = append(parts, fmt.Sprintf("head %016x", xxhash.Sum64(data)))
	}
	if f.model != nil {
		fingerprint, err := f.model.Fingerprint()
		if err != nil {
			return "", err
		}
		parts = append(parts, "model "+fingerprint)
	}
	if r := f.o.Reading; r != (valuehead.Reading{}) {
		parts = append(parts, fmt.Sprintf("%+v", r))
	}
	return strings.Join(parts, ", "), nil
}

// Close frees the value function. A second Close does nothing.
func (f *Function) Close() error {
	var err error
	if f.of != nil {
		err = f.of.Close()
	}
	if f.model != nil {
		err = errors.Join(err, f.model.Close())
	}
	return err
}
