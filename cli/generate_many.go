package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// many is a run over many prompts. They are decoded in shards, fixed lists of prompts that
// begin with an empty context, so that a run that was stopped goes on to the same answers, but
// for those that a value model's rounding decides (see [decode.ValueModel]).
type many struct {
	*generation
	model   *llama.Model
	prompts []prompt.Record
	tokens  [][]int32 // of the prompts
	lengths []int     // most tokens of the responses
	samples int       // responses a prompt
	shard   int       // prompts
	answers answers
}

// manyOptions are what the answers depend on.
type manyOptions struct {
	Model       string          `json:"model"`   // its fingerprint
	Prompts     string          `json:"prompts"` // their hash
	Value       string          `json:"value"`   // hash of the value function
	ValueBeta   float64         `json:"value_beta"`
	Pessimistic float64         `json:"pessimistic"`
	Quantile    float64         `json:"quantile"`
	Method      decode.Method   `json:"method"`
	Samples     int             `json:"samples"`
	Beam        decode.Beam     `json:"beam"`
	Guide       decode.Guide    `json:"guide"`
	Sampling    decode.Sampling `json:"sampling"`
	Predict     int             `json:"predict"`
	Stop        []string        `json:"reverse_prompt"`
	Seed        uint64          `json:"seed"`
	Shard       int             `json:"shard"`
	Parallel    int             `json:"parallel"`
	Context     int             `json:"ctx_size"`
	Batch       int             `json:"batch_size"`
	UBatch      int             `json:"ubatch_size"`
	Flash       string          `json:"flash_attn"`
	CacheK      string          `json:"cache_type_k"`
	CacheV      string          `json:"cache_type_v"`
}

func (g *generation) many(c *cli.Context) (err error) {
	if c.IsSet("prompt") || c.IsSet("file") {
		return usagef(c, "--prompts and a single prompt (give -p or -f, or --prompts)")
	}
	r := &many{generation: g, samples: 1, shard: c.Int("shard")}
	if r.shard < 1 {
		return usagef(c, "--shard %d: give a positive number of prompts", r.shard)
	}
	if g.strategy.Method == decode.MethodSample && c.IsSet("samples") {
		r.samples = g.strategy.N
	}
	if err := r.readParallel(c); err != nil {
		return err
	}
	if r.prompts, err = prompt.Read(c.String("prompts"), prompt.ReadOptions{}); err != nil {
		return err
	}
	path := c.String("out")
	if path != "" {
		old, err := readOptionsOf(path)
		if err != nil {
			return err
		}
		if old != nil && c.Int64("seed") < 0 {
			g.seed = old.Seed
		}
	}
	if err := g.open(c); err != nil {
		return err
	}
	defer g.value.Close()
	if r.model, err = load(c); err != nil {
		return err
	}
	defer r.model.Close()
	if err := g.value.checkHead(r.model); err != nil {
		return err
	}
	if err := r.fit(c); err != nil {
		return err
	}
	options, err := r.options(c)
	if err != nil {
		return err
	}
	pool, err := engine.NewPool(r.model, g.params, 0)
	if err != nil {
		return err
	}
	defer pool.Close()

	r.answers = answers{w: c.App.Writer, shard: r.shard * r.samples, total: len(r.prompts) * r.samples, waiting: map[int][]byte{}}
	if path != "" {
		if err := r.answers.open(path); err != nil {
			return err
		}
		defer r.answers.file.Close()
		if err := options.store(path); err != nil {
			return err
		}
		if err := r.answers.resume(r.key); err != nil {
			return err
		}
	}
	return r.run(c, pool)
}

// readParallel reads how many sequences are decoded at once.
func (r *many) readParallel(c *cli.Context) error {
	n, each := c.Int("parallel"), r.strategy.Sequences()
	if r.samples > 1 {
		each = r.samples
	}
	switch {
	case n == 0:
		n = min(max(32, 8*each), llama.MaxSequences)
		if b := r.params.Batch; b > 0 {
			n = min(n, max(b, each))
		}
	case n < 0 || n > llama.MaxSequences:
		return usagef(c, "--parallel %d: llama.cpp holds 1 to %d sequences", n, llama.MaxSequences)
	}
	if each > n {
		return usagef(c, "%s takes %d sequences for a prompt, there are %d (lower --samples, --beams or --candidates, or raise --parallel)", r.strategy.Method, each, n)
	}
	r.params.Sequences = n
	return nil
}

// keptCells bounds the context that is taken for several prompts at once: gigabytes of
// memory, with the models that have most a cell.
const keptCells = 16384

// fit tokenizes the prompts, sees to it that each fits the context with all that is decoded
// for it, and makes the context large enough for several of them.
func (r *many) fit(c *cli.Context) error {
	most, each := 0, max(r.samples, r.strategy.Sequences())
	for _, p := range r.prompts {
		tokens, err := r.model.Tokenize(p.Text, true, true)
		if err != nil {
			return fmt.Errorf("prompt %s: %w", p.ID, err)
		}
		length, err := r.length(c, r.model, len(tokens))
		if err != nil {
			return fmt.Errorf("prompt %s: %w", p.ID, err)
		}
		r.tokens, r.lengths = append(r.tokens, tokens), append(r.lengths, length)
		cells := r.strategy.Cells(len(tokens), length)
		if r.samples > 1 {
			cells = len(tokens) + r.samples*length
		}
		most = max(most, cells)
	}
	together := min(r.params.Sequences/each, r.shard, len(r.prompts))
	r.params.Ctx = max(most, min(together*most, keptCells))
	r.params.Sequences = min(together*each, r.params.Ctx)
	return nil
}

// options tells what the answers depend on.
func (r *many) options(c *cli.Context) (*manyOptions, error) {
	o := &manyOptions{
		ValueBeta: c.Float64("value-beta"), Pessimistic: c.Float64("pessimistic"), Quantile: c.Float64("quantile"),
		Method: r.strategy.Method, Samples: r.strategy.N, Beam: r.strategy.Beam, Guide: r.strategy.Guide, Sampling: r.request.Sampling,
		Predict: r.predict, Stop: r.request.Stop, Seed: r.seed, Shard: r.shard, Parallel: c.Int("parallel"), Context: c.Int("ctx-size"),
		Batch: c.Int("batch-size"), UBatch: c.Int("ubatch-size"), Flash: c.String("flash-attn"),
		CacheK: c.String("cache-type-k"), CacheV: c.String("cache-type-v"),
	}
	if o.Method == decode.MethodSample {
		o.Samples = r.samples
	}
	var err error
	if o.Model, err = r.model.Fingerprint(); err != nil {
		return nil, err
	}
	prompts, err := json.Marshal(r.prompts)
	if err != nil {
		return nil, err
	}
	o.Prompts = hash(prompts)
	if path := c.String("value-head"); path != "" {
		head, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w (check the path)", err)
		}
		o.Value = hash(head)
	}
	if path := c.String("value-model"); path != "" {
		f, err := gguf.ReadModel(path)
		if err != nil {
			return nil, err
		}
		weights, err := llama.Fingerprint(f)
		if err != nil {
			return nil, err
		}
		o.Value += " by " + weights
	}
	return o, nil
}

func hash(data []byte) string { return fmt.Sprintf("%016x", xxhash.Sum64(data)) }

// key names the answer of line i.
func (r *many) key(i int) lineKey {
	return lineKey{r.prompts[i/r.samples].ID, i % r.samples}
}

// run decodes the shards that are not done.
func (r *many) run(c *cli.Context, pool *engine.Pool) error {
	meter := newMeter(c.App.ErrWriter)
	defer meter.close()
	quiet := r.answers.file == nil && isTerminal(c.App.Writer) // the answers themselves are seen
	r.answers.notify = func(written int) {
		slog.Debug("answer", "done", written, "total", r.answers.total)
		if !quiet {
			meter.show("answer", written, r.answers.total, "responses", "")
		}
	}
	r.answers.notify(r.answers.next)
	first := r.answers.next / r.answers.shard
	shards := slices.Collect(slices.Chunk(r.prompts, r.shard))
	if r.answers.next == r.answers.total {
		return nil
	}
	err := pool.Each(c.Context, len(shards)-first, func(ctx context.Context, e *engine.Engine, i int) error {
		return r.decode(ctx, e, (first+i)*r.shard, len(shards[first+i]))
	})
	var stop interrupted
	switch {
	case !errors.As(err, &stop):
		return err
	case r.answers.file == nil:
		return fmt.Errorf("%w (give --out FILE to be able to go on after a stop)", err)
	}
	return fmt.Errorf("%w with %d of %d responses written (run the same command again to continue)", err, r.answers.next, r.answers.total)
}

// decode answers n prompts from number first on, together.
func (r *many) decode(ctx context.Context, e *engine.Engine, first, n int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var jobs []engine.Job
	for i := first; i < first+n; i++ {
		req := r.request
		req.Prompt, req.MaxTokens, req.EachValue = r.tokens[i], r.lengths[i], true
		req.Key = decode.Key(r.seed, 0, r.prompts[i].ID, 0)
		put := func(rs []decode.Response) {
			for k, response := range rs {
				if err := r.put(i, k, response); err != nil {
					cancel(err)
					return
				}
			}
		}
		var job engine.Job
		var err error
		if r.samples > 1 {
			job, err = decode.Sample(e, req, r.samples, put)
		} else {
			job, err = r.strategy.Job(e, req, func(response decode.Response) { put([]decode.Response{response}) })
		}
		if err != nil {
			return fmt.Errorf("prompt %s: %w", r.prompts[i].ID, err)
		}
		jobs = append(jobs, job)
	}
	return e.Run(ctx, jobs)
}

// put writes response k to prompt i, when those before it are written.
func (r *many) put(i, k int, response decode.Response) error {
	out, err := r.record(r.model, r.prompts[i].Text, len(r.tokens[i]), response)
	if err != nil {
		return err
	}
	out.ID = r.prompts[i].ID
	if r.samples > 1 {
		out.Sample = &k
	}
	var line bytes.Buffer
	if err := encodeJSON(&line, out); err != nil {
		return err
	}
	return r.answers.put(i*r.samples+k, line.Bytes())
}
