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

// local decodes in this process, one answer after the other.
type local struct {
	engine *engine.Engine
	turn   chan struct{} // holds a token while nobody decodes
}

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
	l := &local{engine: e, turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l, nil
}

func (l *local) sequences() int { return l.engine.Params().Sequences }

func (l *local) answer(ctx context.Context, p *batch.Policy, t batch.Task, emit func([]byte)) (decode.Response, error) {
	select {
	case <-l.turn:
		defer func() { l.turn <- struct{}{} }()
	case <-ctx.Done():
		return decode.Response{}, context.Cause(ctx)
	}
	return p.Answer(ctx, l.engine, t, emit)
}

func (l *local) Close() error {
	if l == nil {
		return nil
	}
	<-l.turn
	return l.engine.Close()
}
