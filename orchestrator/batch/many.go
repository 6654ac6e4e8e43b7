package batch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/reward/junk"
)

// Context is how a model is decoded with. The zero value takes the defaults of
// [engine.Params].
type Context struct {
	Cells   int                  `yaml:"cells"` // KV cells
	Batch   int                  `yaml:"batch"`
	UBatch  int                  `yaml:"ubatch"`
	Flash   llama.FlashAttention `yaml:"flash"`
	CacheK  llama.CacheType      `yaml:"cache_k"`
	CacheV  llama.CacheType      `yaml:"cache_v"`
	Threads int                  `yaml:"threads"` // 0 chooses
}

// Params are those of an engine with so many sequences that taps these layers.
func (c Context) Params(sequences int, layers []int) engine.Params {
	return engine.Params{
		Ctx: c.Cells, Batch: c.Batch, UBatch: c.UBatch, Flash: c.Flash, CacheK: c.CacheK, CacheV: c.CacheV, Threads: c.Threads,
		Sequences: sequences, Layers: layers,
	}
}

// Stats are those of the engines that a run used.
type Stats = engine.Stats

// One answers one task.
func One(ctx context.Context, m *llama.Model, c Context, layers []int, p Policy, t Task, emit func([]byte)) (r decode.Response, stats Stats, err error) {
	c.Cells = p.Cells(len(t.Tokens), 1)
	e, err := engine.New(m, c.Params(p.Sequences(1), layers))
	if err != nil {
		return r, stats, err
	}
	defer e.Close()
	r, err = p.Answer(ctx, e, t, emit)
	return r, e.Stats(), errors.Join(err, p.forget(e))
}

// Many is a run over many prompts, in shards.
type Many struct {
	Policy   Policy
	Context  Context // its Cells are chosen
	Layers   []int   // that the policy's value function reads
	Parallel int     // sequences at once; 0 for those of 8 prompts, or 32 if that is more, as far as KeptCells hold them
	Shard    int     // tasks that are decoded together
	Seed     uint64  // that the policy's keys are made of, for the record
}

// sequences is the number of those at once.
func (m *Many) sequences(samples int) (int, error) {
	n, each := m.Parallel, m.Policy.Sequences(samples)
	if n == 0 {
		n = min(max(32, 8*each), llama.MaxSequences)
		if b := m.Context.Batch; b > 0 {
			n = min(n, max(b, each))
		}
	}
	if each > n {
		return 0, fault.New("", "parallel", n, "lower {samples}, {beams}, {candidates} or {rollouts}, or raise {parallel}",
			"%s takes %d sequences for a prompt, there are %d", m.Policy.Strategy.Method, each, n)
	}
	return n, nil
}

// Check finds out whether so many samples of a prompt can be drawn at once.
func (m *Many) Check(samples int) error {
	_, err := m.sequences(samples)
	return err
}

// KeptCells bounds the context that is taken for several prompts at once, where nobody has said how many: gigabytes
// of memory, with the models that have most a cell.
const KeptCells = 16384

// cells is the number that tasks which are decoded together get, where each fills up to most: what they need, within
// KeptCells or, where so many were asked for, half of the memory.
func (m *Many) cells(model *llama.Model, together, most int) int {
	room := float64(KeptCells)
	if m.Parallel > 0 {
		memory := math.Inf(1)
		for _, d := range llama.Devices() {
			if d.Total > 0 {
				memory = min(memory, float64(d.Total))
			}
		}
		room = max(room, memory/2/max(1, model.CellBytes(m.Context.CacheK, m.Context.CacheV)))
	}
	return max(most, int(min(float64(together*most), room)))
}

// pool makes engines whose contexts are large enough for several of the tasks.
func (m *Many) pool(model *llama.Model, tasks []Task) (*engine.Pool, error) {
	samples := tasks[0].samples()
	sequences, err := m.sequences(samples)
	if err != nil {
		return nil, err
	}
	most, each := 0, m.Policy.Sequences(samples)
	for _, t := range tasks {
		p := m.Policy
		if t.MaxTokens > 0 {
			p.MaxTokens = t.MaxTokens
		}
		most = max(most, p.Cells(len(t.Tokens), samples))
	}
	together := min(sequences/each, m.Shard, len(tasks))
	c := m.Context
	c.Cells = m.cells(model, together, most)
	return engine.NewPool(model, c.Params(min(together*each, c.Cells), m.Layers), 0)
}

// Run decodes what of the tasks is not answered yet; all have the same number of samples. notify,
// if set, is told of every answer that has been written.
func (m *Many) Run(ctx context.Context, model *llama.Model, tasks []Task, out *Answers, notify func(written int)) error {
	if err := m.Policy.checkRewards(ctx, tasks); err != nil {
		return err
	}
	pool, err := m.pool(model, tasks)
	if err != nil {
		return err
	}
	defer pool.Close()
	if out.notify = notify; notify != nil {
		notify(out.next)
	}
	if out.next == out.total {
		return nil
	}
	samples := tasks[0].samples()
	shards := slices.Collect(slices.Chunk(tasks, m.Shard))
	first := out.next / out.shard
	return pool.Each(ctx, len(shards)-first, func(ctx context.Context, e *engine.Engine, i int) error {
		shard := shards[first+i]
		at := (first + i) * m.Shard
		return m.Policy.Decode(ctx, e, shard, func(task, sample int, r decode.Response) error {
			t := shard[task]
			record, err := RecordOf(model, &m.Policy, t, r)
			if err != nil {
				return fmt.Errorf("prompt %s: %w", t.ID, err)
			}
			if record.ID, record.Seed = t.ID, m.Seed; samples > 1 {
				record.Sample = &sample
			}
			var line bytes.Buffer
			if err := encodeJSON(&line, record); err != nil {
				return fmt.Errorf("prompt %s: %w", t.ID, err)
			}
			return out.put((at+task)*samples+sample-t.First, line.Bytes())
		})
	})
}

// Answered answers all tasks in memory, for a reward to be tried on; told is called as it goes on.
func (m *Many) Answered(ctx context.Context, model *llama.Model, tasks []Task, told func(done, of int)) ([]junk.Answered, error) {
	var lines bytes.Buffer
	answers := PrintAnswers(&lines, tasks, m.Shard)
	if err := m.Run(ctx, model, tasks, answers, func(written int) { told(written, answers.Total()) }); err != nil {
		return nil, err
	}
	answered, _, err := junk.Read(&lines, "the model", RecordsOf(tasks))
	return answered, err
}
