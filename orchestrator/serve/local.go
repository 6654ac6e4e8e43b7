package serve

import (
	"context"
	"maps"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// local decodes in this process, all answers together.
type local struct{ engine *engine.Engine }

// newLocal makes the engine: with as many sequences as any method may take, and as many cells as the
// options say, or as several answers take.
func newLocal(o Options) (*local, error) {
	var layers []int
	first := ""
	for _, name := range slices.Sorted(maps.Keys(o.Heads)) {
		if f := o.Heads[name]; layers == nil {
			layers, first = f.Layers, name
		} else if f.Layers != nil && !slices.Equal(layers, f.Layers) {
			return nil, fault.New("", "value_head", layers, "take heads of the same layers", "the head %s reads layers %v, %s reads %v", first, layers, name, f.Layers)
		}
	}
	c := o.Context
	if c.Cells == 0 {
		c.Cells = max(o.Size, min(8*o.Size, batch.KeptCells))
	}
	e, err := engine.New(o.Model, c.Params(min(llama.MaxSequences, c.Cells), layers))
	if err != nil {
		return nil, err
	}
	return &local{e}, nil
}

func (l *local) sequences() int { return l.engine.Params().Sequences }

func (l *local) answer(ctx context.Context, p *batch.Policy, t batch.Task, emit func([]byte)) (decode.Response, error) {
	return p.Answer(ctx, l.engine, t, emit)
}

func (l *local) Close() error { return l.engine.Close() }
