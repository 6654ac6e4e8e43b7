package decode_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

const labModel = "../../testdata/lab/summarize-s.gguf"

var layers = []int{2, 5}

// open makes an engine whose results do not depend on the batch but for rounding.
func open(t testing.TB) *engine.Engine {
	t.Helper()
	m, err := llama.Load(labModel, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(m, engine.Params{
		Threads: 1, Sequences: 32, Layers: layers, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func schema(t testing.TB, e *engine.Engine) states.Schema {
	t.Helper()
	fp, err := e.Model().Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return states.Schema{Backbone: fp, Layers: layers, Width: len(layers) * e.Model().Info().Width, Scalars: value.Scalars, Top: e.Params().Top, Candidates: decode.Candidates, Prompts: true, PromptLayers: layers}
}

const text = "i got a red lamp yesterday. my cousin lost a tiny hat. last week i sold a huge drum. the weather was nice.\nTL;DR:"

func request(t testing.TB, e *engine.Engine, key uint64) decode.Request {
	t.Helper()
	prompt, err := e.Model().Tokenize(text, true, false)
	if err != nil {
		t.Fatal(err)
	}
	return decode.Request{Prompt: prompt, MaxTokens: 40, Sampling: policy.Sampling{Temp: 0.7}, Key: key}
}

func run(t testing.TB, e *engine.Engine, jobs ...engine.Job) {
	t.Helper()
	if err := e.Run(context.Background(), jobs); err != nil {
		t.Fatal(err)
	}
}

func sample(t testing.TB, e *engine.Engine, req decode.Request, n int) (out []decode.Response) {
	t.Helper()
	job, err := decode.Sample(e, req, n, func(rs []decode.Response) { out = rs })
	if err != nil {
		t.Fatal(err)
	}
	run(t, e, job)
	return out
}

// brevity is a head that has learned that every token costs: the return is minus the
// length.
func brevity(t testing.TB, e *engine.Engine, kind valuehead.Kind) *valuehead.Head {
	t.Helper()
	return brevityOf(t, e, kind, valuehead.FeaturesOf(kind))
}

func brevityOf(t testing.TB, e *engine.Engine, kind valuehead.Kind, options valuehead.FeatureOptions) *valuehead.Head {
	t.Helper()
	return trained(t, e, options, valuehead.TrainOptions{Kind: kind, Shape: valuehead.Shape{Atoms: 11}, Epochs: 8, Batch: 64, HeldOut: 0.2, Seed: 1})
}

func trained(t testing.TB, e *engine.Engine, options valuehead.FeatureOptions, how valuehead.TrainOptions) *valuehead.Head {
	t.Helper()
	f, err := valuehead.NewFeatures(schema(t, e), options)
	if err != nil {
		t.Fatal(err)
	}
	data := valuehead.NewDataset(f)
	for i := range uint64(12) {
		req := request(t, e, 1000+i)
		req.Record, req.RecordPrompt = true, true
		for k, r := range sample(t, e, req, 8) {
			err := data.AddExample(valuehead.Example{Return: -float32(len(r.Tokens)), Prompt: r.Prompt, Trajectory: &states.Trajectory{
				Prompt: string(rune('a' + i)), Sample: k, Tokens: r.Tokens, Hidden: r.States, Scalars: r.Scalars,
				Candidates: r.Candidates, CandidateLogProbs: r.CandidateLogProbs,
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	h, _, err := valuehead.Train(context.Background(), data, how)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSample(t *testing.T) {
	e := open(t)
	three := sample(t, e, request(t, e, 5), 3)
	if one := sample(t, e, request(t, e, 5), 1); !slices.Equal(one[0].Tokens, three[0].Tokens) {
		t.Errorf("the first of three samples is %q, alone it is %q", three[0].Text, one[0].Text)
	}
	again := sample(t, e, request(t, e, 5), 3)
	other := sample(t, e, request(t, e, 6), 3)
	same := 0
	for i := range three {
		if !slices.Equal(three[i].Tokens, again[i].Tokens) {
			t.Errorf("sample %d differs the second time", i)
		}
		if slices.Equal(three[i].Tokens, other[i].Tokens) {
			same++
		}
		if three[i].Finish == decode.FinishEOG && !e.Model().IsEOG(three[i].Tokens[len(three[i].Tokens)-1]) {
			t.Errorf("sample %d ended without an end token", i)
		}
	}
	if same == 3 {
		t.Error("another key gave the same samples")
	}
}

// What is recorded on the way, token by token and in a batch with others, is what one
// evaluation of the whole text gives.
func TestRecord(t *testing.T) {
	e := open(t)
	req := request(t, e, 3)
	req.Record = true
	width := e.Model().Info().Width
	c, err := e.Model().NewContext(llama.ContextParams{
		Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Layers: layers, Top: 64,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	near := func(what string, got, want float32) {
		t.Helper()
		if math.Abs(float64(got-want)) > 2e-3*math.Max(1, math.Abs(float64(want))) {
			t.Errorf("%s is %g, not %g", what, got, want)
		}
	}
	for _, r := range sample(t, e, req, 4) {
		if err := c.Clear(); err != nil {
			t.Fatal(err)
		}
		all := slices.Concat(req.Prompt, r.Tokens)
		for i, tok := range all {
			if _, err := c.Add(tok, int32(i), 0, i >= len(req.Prompt)-1, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Decode(); err != nil {
			t.Fatal(err)
		}
		for i, tok := range r.Tokens {
			before, _ := c.Row(i)
			after, _ := c.Row(i + 1)
			s := r.Scalars[i*len(value.Scalars):][:len(value.Scalars)]
			logp := before.Logits[tok] - before.LSE
			near("logp", r.LogProbs[i], logp)
			near("logp feature", s[0], logp)
			near("entropy", s[1], before.Entropy)
			near("log-rank", s[2], float32(math.Log1p(float64(slices.Index(before.Top, tok)))))
			near("margin", s[3], before.TopLogits[0]-before.Logits[tok])
			near("next entropy", s[4], after.Entropy)
			for k := range decode.Candidates {
				at := i*decode.Candidates + k
				near("candidate", r.CandidateLogProbs[at], before.Logits[r.Candidates[at]]-before.LSE)
				near("candidate by rank", r.CandidateLogProbs[at], before.TopLogits[k]-before.LSE)
			}
			for k := range len(layers) * width {
				near("state", r.States[i*len(layers)*width+k], after.States[k])
			}
		}
		if t.Failed() {
			return
		}
	}
}

// A value on the way is the value that the head gives the recorded states, and the
// response that best-of-n keeps is the sample of highest value.
func TestValues(t *testing.T) {
	for _, kind := range valuehead.Kinds {
		t.Run(string(kind), func(t *testing.T) { testValues(t, kind) })
	}
}

func testValues(t *testing.T, kind valuehead.Kind) {
	e := open(t)
	req := request(t, e, 11)
	head, reading := brevity(t, e, kind), valuehead.Reading{Beta: 0.5}
	req.Value, req.EachValue, req.Record, req.RecordPrompt = value.Head(head, reading), true, true, true
	rs := sample(t, e, req, 6)
	f := head.Features()
	for _, r := range rs {
		m, err := head.Begin(r.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]float32, 1)
		width, n := f.Schema().Width, len(value.Scalars)
		for i, token := range r.Tokens {
			if err := m.Push(token, r.States[i*width:(i+1)*width], r.Scalars[i*n:(i+1)*n]); err != nil {
				t.Fatal(err)
			}
			if err := head.Values([]*valuehead.Memory{m}, reading, out); err != nil {
				t.Fatal(err)
			}
			if math.Abs(float64(out[0]-r.Values[i])) > 1e-3 {
				t.Errorf("V(s_%d) is %g, from the record %g", i+1, r.Values[i], out[0])
			}
		}
		if r.Value != r.Values[len(r.Values)-1] {
			t.Errorf("the last value is %g, the response's %g", r.Values[len(r.Values)-1], r.Value)
		}
	}
	var best decode.Response
	job, err := decode.BestOfN(e, req, 6, func(r decode.Response) { best = r })
	if err != nil {
		t.Fatal(err)
	}
	run(t, e, job)
	want := slices.MaxFunc(rs, func(a, b decode.Response) int {
		if a.Value < b.Value {
			return -1
		}
		return 1
	})
	if !slices.Equal(best.Tokens, want.Tokens) {
		t.Errorf("best-of-6 kept value %g of %v", best.Value, want.Value)
	}
	decoded := 0
	for _, r := range rs {
		decoded += len(r.Tokens)
	}
	if best.Decoded != decoded {
		t.Errorf("best-of-6 decoded %d tokens, the samples have %d", best.Decoded, decoded)
	}
}

// Guided by a head that values brevity, block beam is briefer than sampling; it decodes
// about B^2 tokens for one, and gives the same answer twice.
func TestBlockBeam(t *testing.T) {
	for _, kind := range []valuehead.Kind{valuehead.Linear, valuehead.Recall} {
		t.Run(string(kind), func(t *testing.T) { testBlockBeam(t, kind) })
	}
}

func testBlockBeam(t *testing.T, kind valuehead.Kind) {
	e := open(t)
	head := brevity(t, e, kind)
	beam := func() []decode.Response {
		out := make([]decode.Response, 12)
		var jobs []engine.Job
		for i := range out {
			req := request(t, e, uint64(i))
			req.Value = value.Head(head, valuehead.Reading{})
			job, err := decode.BlockBeam(e, req, decode.Beam{Beams: 3, Block: 4}, func(r decode.Response) { out[i] = r })
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		run(t, e, jobs...)
		return out
	}
	guided, again := beam(), beam()
	var lengths, base, decoded int
	for i, r := range guided {
		if !slices.Equal(r.Tokens, again[i].Tokens) || r.Value != again[i].Value {
			t.Errorf("prompt %d: block beam differs the second time", i)
		}
		if r.Finish == "" || len(r.LogProbs) != len(r.Tokens) {
			t.Errorf("prompt %d: %+v", i, r)
		}
		lengths += len(r.Tokens)
		decoded += r.Decoded
	}
	for i := range guided {
		base += len(sample(t, e, request(t, e, uint64(i)), 1)[0].Tokens)
	}
	if float64(lengths) > 0.9*float64(base) {
		t.Errorf("guided to be brief: %d tokens, sampled: %d", lengths, base)
	}
	if ratio := float64(decoded) / float64(lengths); ratio < 4 || ratio > 14 {
		t.Errorf("%.1f tokens decoded for each emitted with 3 beams", ratio)
	}
}

// What was emitted on the way is the text, and nothing of a stop string is in it.
func TestEmitAndStop(t *testing.T) {
	e := open(t)
	head := brevity(t, e, valuehead.Linear)
	free := sample(t, e, request(t, e, 2), 1)[0].Text
	words := strings.Fields(free)
	if len(words) < 4 {
		t.Fatalf("a response of %d words: %q", len(words), free)
	}
	for _, stop := range [][]string{nil, {words[2]}, {words[1] + " " + words[2], "zzz"}, {free[len(free)-1:]}} {
		for _, s := range []decode.Strategy{
			{Method: decode.MethodSample}, {Method: decode.MethodBestOfN, N: 3}, {Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 3}},
		} {
			req := request(t, e, 2)
			req.Stop = stop
			var mu sync.Mutex
			var emitted strings.Builder
			req.Emit = func(text []byte) {
				mu.Lock()
				defer mu.Unlock()
				emitted.Write(text)
			}
			if s.NeedsValue() {
				req.Value = value.Head(head, valuehead.Reading{})
			}
			var r decode.Response
			job, err := s.Job(e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatal(err)
			}
			run(t, e, job)
			if emitted.String() != r.Text {
				t.Errorf("%s, stop %q: emitted %q, text %q", s.Method, stop, emitted.String(), r.Text)
			}
			for _, str := range stop {
				if strings.Contains(r.Text, str) {
					t.Errorf("%s: %q contains the stop string %q", s.Method, r.Text, str)
				}
			}
			if s.Method == decode.MethodSample && !strings.HasPrefix(free, r.Text+r.Stop) {
				t.Errorf("stop %q: %q and then %q is no beginning of %q", stop, r.Text, r.Stop, free)
			}
			if r.Stop != "" && (!slices.Contains(stop, r.Stop) || r.Finish != decode.FinishEOG) || s.Method == decode.MethodSample && (r.Stop != "") != (len(stop) > 0) {
				t.Errorf("%s, stop %q: ended by %q, %s", s.Method, stop, r.Stop, r.Finish)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	e := open(t)
	head := brevity(t, e, valuehead.Linear)
	guided := request(t, e, 1)
	guided.Value = value.Head(head, valuehead.Reading{})
	with := func(change func(*decode.Request)) decode.Request {
		r := guided
		change(&r)
		return r
	}
	var bad *fault.Error
	for _, c := range []struct {
		name string
		req  decode.Request
		s    decode.Strategy
		want fault.Field
	}{
		{"no prompt", with(func(r *decode.Request) { r.Prompt = nil }), decode.Strategy{Method: decode.MethodSample}, "prompt"},
		{"a stop of nothing", with(func(r *decode.Request) { r.Stop = []string{"x", ""} }), decode.Strategy{Method: decode.MethodSample}, "stop"},
		{"no tokens", with(func(r *decode.Request) { r.MaxTokens = 0 }), decode.Strategy{Method: decode.MethodSample}, "max_tokens"},
		{"temp", with(func(r *decode.Request) { r.Sampling.Temp = -1 }), decode.Strategy{Method: decode.MethodSample}, "temp"},
		{"NaN", with(func(r *decode.Request) { r.Sampling.Temp = math.NaN() }), decode.Strategy{Method: decode.MethodSample}, "temp"},
		{"infinite", with(func(r *decode.Request) { r.Sampling.Temp = math.Inf(1) }), decode.Strategy{Method: decode.MethodSample}, "temp"},
		{"penalty", with(func(r *decode.Request) { r.Sampling.RepeatPenalty = math.NaN() }), decode.Strategy{Method: decode.MethodSample}, "repeat_penalty"},
		{"penalty", with(func(r *decode.Request) { r.Sampling.RepeatPenalty = -1 }), decode.Strategy{Method: decode.MethodSample}, "repeat_penalty"},
		{"penalty", with(func(r *decode.Request) { r.Sampling.PresencePenalty = math.Inf(-1) }), decode.Strategy{Method: decode.MethodSample}, "repeat_penalty"},
		{"nothing to choose", with(func(r *decode.Request) { r.Sampling.Temp, r.Value = 0, short }), decode.Strategy{Method: decode.MethodOnePass, Guide: decode.Guide{TopK: 3, Rest: decode.RestNone}}, "temp"},
		{"too long", with(func(r *decode.Request) { r.MaxTokens = 1 << 20 }), decode.Strategy{Method: decode.MethodSample}, "ctx"},
		{"no head", with(func(r *decode.Request) { r.Value = nil }), decode.Strategy{Method: decode.MethodBestOfN, N: 2}, "value_head"},
		{"no head", with(func(r *decode.Request) { r.Value = nil }), decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 2}}, "value_head"},
		{"too many beams", guided, decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 6, Block: 2}}, "parallel"},
		{"least probability", guided, decode.Strategy{Method: decode.MethodTokenwise, Guide: decode.Guide{TopK: 2, LeastP: 1, Rest: decode.RestNone}}, "least_p"},
		{"no beams", guided, decode.Strategy{Method: decode.MethodBlockBeam}, "beams"},
		{"no samples", guided, decode.Strategy{Method: decode.MethodBestOfN}, "samples"},
		{"unknown", guided, decode.Strategy{Method: "oracle"}, "method"},
	} {
		if _, err := c.s.Job(e, c.req, func(decode.Response) {}); !errors.As(err, &bad) || bad.Field != c.want || bad.Hint == "" {
			t.Errorf("%s, %s: got %v, want an error about %s", c.name, c.s.Method, err, c.want)
		}
	}
	other, err := engine.New(e.Model(), engine.Params{Threads: 1, Layers: []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := decode.BestOfN(other, guided, 2, func(decode.Response) {}); !errors.As(err, &bad) || bad.Field != "layers" {
		t.Errorf("a head of other layers: %v", err)
	}
}
