package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// timed is what a method's tokens take, relative to the base policy's.
type timed struct {
	Method   string        `json:"method"`
	Seconds  float64       `json:"seconds"`  // of one thread for an emitted token
	Relative eval.Interval `json:"relative"` // to the base policy
	Decoded  float64       `json:"decoded"`  // tokens for an emitted one
}

// times is a file of them. They are measured on one machine, in one run, method by method in turns.
type times struct {
	Key     string  `json:"key"`
	Machine string  `json:"machine"`
	Prompts int     `json:"prompts"`
	Rows    []timed `json:"rows"`
}

// contenders are the methods whose time is compared, the base policy first.
var contenders = []string{"base", "CD-Q ahead", "IVO beta=2", "tokenwise beta=2", "sampling in blocks of 2", "sampling in blocks of 4", "beam of blocks of 1", "beam of blocks of 2", "beam of blocks of 4", "beam of blocks of 8", "beam of blocks of 16", "beam, IVO", "best-of-8, IVO", "best-of-16, IVO"}

// contending are those of them that a recipe has.
func contending(r *recipe.Recipe) (out []*recipe.Method) {
	for _, id := range contenders {
		if at := slices.IndexFunc(r.Methods, func(m recipe.Method) bool { return m.ID == id }); at >= 0 {
			out = append(out, &r.Methods[at])
		}
	}
	return out
}

// time measures how long methods take on some prompts, each by one thread of processor time, or reads what was measured.
func (p *paper) time(ctx context.Context, x *recipe.Experiment, prompts int, out, cells string, only bool) (*times, error) {
	seed, of := x.Seeds[0], x.Policies[0]
	fingerprint, err := of.Fingerprint()
	if err != nil {
		return nil, err
	}
	parts := []any{"times", 1, fingerprint, prompts, x.MaxTokens}
	methods := contending(x.Recipe)
	for _, m := range methods {
		parts = append(parts, m.Strategy, m.BestOf)
	}
	key := run.Key(parts...)
	file := filepath.Join(cells, "times-"+key+".json") // of its own, or a recipe that has lost a method would take it away
	if text, err := os.ReadFile(file); err == nil {
		var t times
		if err := json.Unmarshal(text, &t); err == nil && t.Key == key {
			return &t, nil
		}
	}
	if only {
		return nil, nil
	}
	for _, m := range methods {
		if err := experiment.Teach(ctx, x, out, m.Value, seed, func(e experiment.Event) { p.show(e.Stage, e.Done, e.Total, e.Unit, e.Note) }); err != nil {
			return nil, err
		}
	}
	t := times{Key: key, Machine: fmt.Sprintf("%s, %d cores", runtime.GOARCH, runtime.NumCPU()), Prompts: min(prompts, len(of.Test))}
	all := make([][]float64, len(methods)) // seconds of an emitted token, by prompt
	decoded, emitted := make([]int, len(methods)), make([]float64, len(methods))
	engines := make([]*engine.Engine, len(methods))
	draws := make([]*batch.Policy, len(methods))
	for i, m := range methods {
		draw, guide, err := x.Draw(m, seed)
		if err != nil {
			return nil, err
		}
		params := x.Context
		params.Threads = 1
		if engines[i], err = engine.New(of.Model, params.Params(x.Parallel, guide.Layers)); err != nil {
			return nil, err
		}
		defer engines[i].Close()
		draw.Key = func(id string, sample int) uint64 { return policy.Key(seed, 0, "times "+id, sample) }
		draws[i] = draw
	}
	for k, prompt := range of.Test[:t.Prompts] {
		for i, m := range methods {
			samples := float64(m.BestOf) // what the best is taken of counts for one answer
			task := batch.Task{Encoded: prompt, Samples: m.BestOf, Stop: of.Encoder.Stops(prompt.Record)}
			begin, tokens := processorTime(), 0
			err := draws[i].Decode(ctx, engines[i], []batch.Task{task}, func(_, _ int, r decode.Response) error {
				tokens += len(r.Tokens)
				decoded[i] += r.Decoded
				return nil
			})
			if err != nil {
				return nil, err
			}
			emitted[i] += float64(tokens) / samples
			all[i] = append(all[i], (processorTime()-begin).Seconds()/math.Max(1, float64(tokens)/samples))
		}
		p.show("times", k+1, t.Prompts, "prompts", "")
	}
	r := eval.NewResampling(t.Prompts, 1, 1)
	for i, m := range methods {
		own := r.Of([][]float64{all[i]})
		t.Rows = append(t.Rows, timed{m.ID, own.Mean, own.Over(r.Of([][]float64{all[0]})).Interval(), float64(decoded[i]) / emitted[i]})
	}
	text, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return nil, err
	}
	return &t, atomicfile.WriteBytes(file, append(text, '\n'))
}

// processorTime is what the process has used of all processors: others on the machine slow it little.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func (d *document) timing(all []*study) {
	d.say("")
	d.say("## Table 4 and Fig. 5: relative time, and block size")
	d.say("")
	d.say("The paper: tokenwise, in blocks of two and of four 2.7 : 1.5 : 1.0 and 4.4 : 1.6 : 1.0. Here processor time of an emitted token by one thread, prompts included, of one prompt at a time, all methods in turns in one run; CD-Q ahead is one-pass.")
	for _, s := range d.tasks(all) {
		if s.timed == 0 {
			continue
		}
		if s.times == nil {
			d.say("")
			d.say("%s: %s.", s.name, unknown)
			continue
		}
		if ratio := s.times.blocks(); ratio != "" {
			d.say("")
			d.say("%s, %d prompts (%s): tokenwise, in blocks of two and of four %s.", s.name, s.times.Prompts, s.times.Machine, ratio)
		}
		d.table(s.name, "time of a token", "relative to the base policy", "decoded a token", "reward")
		for _, t := range s.times.Rows {
			reward := ""
			if r := s.of(t.Method); r != nil {
				reward = text(r.Row.Reward)
			}
			d.say("%s | %.2g ms | %s | %.1f | %s", t.Method, 1e3*t.Seconds, digits(t.Relative, 1), t.Decoded, reward)
		}
	}
}

// blocks is what a token takes tokenwise and by sampling in blocks of two and four, relative to the last; "" where it
// was not measured.
func (t *times) blocks() string {
	of := map[string]float64{}
	for _, r := range t.Rows {
		of[r.Method] = r.Seconds
	}
	last := of["sampling in blocks of 4"]
	token := max(of["IVO beta=2"], of["tokenwise beta=2"])
	two := of["sampling in blocks of 2"]
	if last == 0 || token == 0 || two == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f : %.1f : 1.0", token/last, two/last)
}
