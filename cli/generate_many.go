package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/cespare/xxhash/v2"
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// manyOptions are what the answers to many prompts depend on.
type manyOptions struct {
	Model       string          `json:"model"`    // its fingerprint
	Prompts     string          `json:"prompts"`  // their hash
	Encoding    string          `json:"encoding"` // how they become tokens
	Value       string          `json:"value"`    // hash of the value function
	ValueBeta   float64         `json:"value_beta"`
	Pessimistic float64         `json:"pessimistic"`
	Quantile    float64         `json:"quantile"`
	Method      decode.Method   `json:"method"`
	Samples     int             `json:"samples"`
	Beam        decode.Beam     `json:"beam"`
	Guide       decode.Guide    `json:"guide"`
	Sampling    policy.Sampling `json:"sampling"`
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

// many answers all prompts of a file.
func (g *generation) many(c *cli.Context) error {
	if c.IsSet("prompt") || c.IsSet("file") {
		return usagef(c, "--prompts and a single prompt (give -p or -f, or --prompts)")
	}
	samples, n := 1, c.Int("parallel")
	if g.policy.Strategy.Method == decode.MethodSample && c.IsSet("samples") {
		samples = g.policy.Strategy.N
	}
	run := &batch.Many{Policy: g.policy, Context: g.context, Parallel: n, Shard: c.Int("shard")}
	switch {
	case run.Shard < 1:
		return usagef(c, "--shard %d: give a positive number of prompts", run.Shard)
	case n < 0 || n > llama.MaxSequences:
		return usagef(c, "--parallel %d: llama.cpp holds 1 to %d sequences", n, llama.MaxSequences)
	}
	if err := run.Check(samples); err != nil {
		return usagef(c, "%v", err)
	}
	records, err := readRecords(c, c.String("prompts"))
	if err != nil {
		return err
	}
	path := c.String("out")
	if path != "" {
		var old manyOptions
		begun, err := batch.AnswersOptions(path, &old)
		if err != nil {
			return err
		}
		if begun && c.Int64("seed") < 0 {
			g.seed = old.Seed
		}
	}
	if err := g.open(c); err != nil {
		return err
	}
	defer g.value.Close()
	m, err := g.load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	kept, err := fit(c, g.encoder, records, func(tokens int) error {
		_, err := g.length(c, m, tokens)
		return err
	})
	if err != nil {
		return err
	}
	tasks := make([]batch.Task, len(kept))
	for i, p := range kept {
		tasks[i] = batch.Task{Encoded: p, Samples: samples, Stop: g.encoder.Stops(p.Record)}
		if tasks[i].MaxTokens, err = g.length(c, m, len(p.Tokens)); err != nil {
			return err
		}
	}
	run.Policy, run.Layers = g.policy, g.value.Layers
	run.Policy.EachValue = true
	run.Line = func(t batch.Task, sample int, r decode.Response) ([]byte, error) {
		out, err := g.record(m, t, r)
		if err != nil {
			return nil, err
		}
		if out.ID = t.ID; samples > 1 {
			out.Sample = &sample
		}
		var line bytes.Buffer
		err = encodeJSON(&line, out)
		return line.Bytes(), err
	}
	answers := batch.PrintAnswers(harmless(c.App.Writer), tasks, run.Shard)
	if path != "" {
		options, err := g.options(c, m, tasks)
		if err != nil {
			return err
		}
		if answers, err = batch.OpenAnswers(path, *options, tasks, run.Shard); err != nil {
			return err
		}
		defer answers.Close()
	}
	meter := newMeter(c.App.ErrWriter)
	defer meter.close()
	quiet := path == "" && isTerminal(c.App.Writer) // the answers themselves are seen
	err = run.Run(c.Context, m, tasks, answers, func(written int) {
		slog.Debug("answer", "done", written, "total", answers.Total())
		if !quiet {
			meter.show("answer", written, answers.Total(), "responses", "")
		}
	})
	switch {
	case !errors.As(err, new(interrupted)):
		return err
	case path == "":
		return fmt.Errorf("%w (give --out FILE to be able to go on after a stop)", err)
	}
	return fmt.Errorf("%w with %d of %d responses written (run the same command again to continue)", err, answers.Written(), answers.Total())
}

// options tells what the answers depend on.
func (g *generation) options(c *cli.Context, m *llama.Model, tasks []batch.Task) (*manyOptions, error) {
	s := g.policy.Strategy
	o := &manyOptions{
		Encoding:  g.encoder.Identity(),
		ValueBeta: c.Float64("value-beta"), Pessimistic: c.Float64("pessimistic"), Quantile: c.Float64("quantile"),
		Method: s.Method, Samples: s.N, Beam: s.Beam, Guide: s.Guide, Sampling: g.policy.Sampling,
		Predict: g.predict, Stop: g.policy.Stop, Seed: g.seed, Shard: c.Int("shard"), Parallel: c.Int("parallel"), Context: c.Int("ctx-size"),
		Batch: g.context.Batch, UBatch: g.context.UBatch, Flash: g.context.Flash.String(), CacheK: g.context.CacheK.String(), CacheV: g.context.CacheV.String(),
	}
	if o.Method == decode.MethodSample {
		o.Samples = tasks[0].Samples
	}
	var err error
	if o.Model, err = m.Fingerprint(); err != nil {
		return nil, err
	}
	digest := xxhash.New()
	for _, t := range tasks {
		if err := json.NewEncoder(digest).Encode(t.Record); err != nil {
			return nil, err
		}
	}
	o.Prompts = fmt.Sprintf("%016x", digest.Sum64())
	if path := c.String("value-head"); path != "" {
		head, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w (check the path)", err)
		}
		o.Value = fmt.Sprintf("%016x", xxhash.Sum64(head))
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
