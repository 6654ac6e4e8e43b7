package experiment

import (
	"encoding/json"
	"io"
	"math"

	"github.com/parquet-go/parquet-go"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Line is an answer as samples.jsonl and samples.parquet have it: one that a method gave, or one of the samples
// that it took the best of.
type Line struct {
	Model   string                  `json:"model,omitempty"`
	Method  string                  `json:"method"`
	Family  string                  `json:"family"`
	Seed    uint64                  `json:"seed"`
	Prompt  string                  `json:"prompt_id"`
	Sample  int                     `json:"sample"`
	Taken   bool                    `json:"taken"` // it is the method's answer, not a sample that lost
	Text    string                  `json:"response"`
	Thought string                  `json:"thinking,omitempty"`
	Finish  decode.Finish           `json:"finish"`
	Emitted int                     `json:"emitted"`
	Decoded int                     `json:"decoded"`
	KL      number.Float            `json:"kl"` // of the sample
	KLKind  decode.KLKind           `json:"kl_kind"`
	Value   number.Float            `json:"value"`
	Reward  float64                 `json:"reward"`
	Others  map[string]number.Float `json:"others,omitempty"` // by the names of rewards
}

// Lines calls f for all answers to the test prompts, in the order of the methods.
func (r *Results) Lines(f func(Line) error) error {
	names := r.Watch
	for _, a := range r.Answers {
		for s, samples := range a.Samples {
			for at := 0; at < len(samples); at += a.Method.Samples {
				of := samples[at : at+a.Method.Samples]
				taken := taken(a, of)
				for i, x := range of {
					l := Line{
						Model: a.Policy.ID, Method: a.Method.ID, Family: a.Method.Family, Seed: r.Seeds[s], Prompt: x.Prompt, Sample: x.Sample, Taken: taken[i],
						Text: x.Text, Thought: x.Thinking, Finish: x.Finish, Emitted: x.Emitted, Decoded: x.Decoded, KL: x.KL, KLKind: x.KLKind, Value: x.Value, Reward: x.Rewards[0],
					}
					for k, name := range names {
						if l.Others == nil {
							l.Others = map[string]number.Float{}
						}
						l.Others[name] = number.Float(x.Rewards[1+k])
					}
					if err := f(l); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// taken says which of a prompt's samples are answers of the method.
func taken(a MethodAnswers, of []Sample) []bool {
	out := make([]bool, len(of))
	n := a.Method.BestOf
	for g := 0; g+n <= len(of); g += n {
		best, _ := takingOf(a.Method).Best(of[g : g+n])
		for i := g; i < g+n; i++ {
			out[i] = of[i].Sample == best.Sample
		}
	}
	return out
}

// write writes the results that are data.
func (w *work) write(r *Results) error {
	key := run.Key("evaluation", 1, r.Evaluation)
	if done, err := w.d.Done(EvaluationFile, key); err != nil {
		return err
	} else if !done {
		if err := run.Put(w.d, EvaluationFile, key, nil, nil, &r.Evaluation); err != nil {
			return err
		}
	}
	err := atomicfile.Write(w.d.Path(SamplesFile), func(f io.Writer) error {
		enc := json.NewEncoder(f)
		enc.SetEscapeHTML(false)
		return r.Lines(func(l Line) error { return enc.Encode(l) })
	})
	if err != nil {
		return err
	}
	return atomicfile.Write(w.d.Path(ParquetFile), r.parquet)
}

// parquet writes the lines as a table, with a column for each reward beside the one that is optimised. What is
// not a number is null in it.
func (r *Results) parquet(f io.Writer) error {
	names := r.Watch
	columns := parquet.Group{
		"model": parquet.String(), "method": parquet.String(), "family": parquet.String(), "seed": parquet.Uint(64), "prompt_id": parquet.String(),
		"sample": parquet.Int(64), "taken": parquet.Leaf(parquet.BooleanType), "response": parquet.String(), "finish": parquet.String(),
		"emitted": parquet.Int(64), "decoded": parquet.Int(64), "kl": real, "kl_kind": parquet.String(), "value": real, "reward": real,
	}
	for _, name := range names {
		columns[other(name)] = real
	}
	schema := parquet.NewSchema("sample", columns)
	w := parquet.NewGenericWriter[map[string]any](f, schema, parquet.Compression(&parquet.Zstd))
	err := r.Lines(func(l Line) error {
		row := map[string]any{
			"model": l.Model, "method": l.Method, "family": l.Family, "seed": l.Seed, "prompt_id": l.Prompt,
			"sample": int64(l.Sample), "taken": l.Taken, "response": l.Text, "finish": string(l.Finish),
			"emitted": int64(l.Emitted), "decoded": int64(l.Decoded), "kl": known(l.KL), "kl_kind": string(l.KLKind), "value": known(l.Value), "reward": known(number.Float(l.Reward)),
		}
		for _, name := range names {
			row[other(name)] = known(l.Others[name])
		}
		_, err := w.Write([]map[string]any{row})
		return err
	})
	if err != nil {
		return err
	}
	return w.Close()
}

var real = parquet.Optional(parquet.Leaf(parquet.DoubleType))

// other is the column of a reward that is not optimised.
func other(name string) string { return "reward:" + name }

// known is a number, or nothing where it is none. A zero that is no pointer would be taken for nothing too.
func known(x number.Float) any {
	if math.IsNaN(float64(x)) {
		return nil
	}
	return (*float64)(&x)
}
