package decode_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// exact are the params of a context whose results do not depend on what else is in it, but
// for rounding.
func exact(ctx, sequences int) engine.Params {
	return engine.Params{Ctx: ctx, Sequences: sequences, Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32}
}

func valueModel(t testing.TB, path string, head *valuehead.Head, p engine.Params) *value.Model {
	t.Helper()
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := value.OpenModel(m, head, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(v.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return v
}

// guided are strategies of all kinds, small ones.
var guided = []decode.Strategy{
	{Method: decode.MethodSample},
	{Method: decode.MethodBestOfN, N: 4},
	{Method: decode.MethodTokenwise, Guide: decode.Guide{TopK: 5, Beta: 2, Rest: decode.RestParent}},
	{Method: decode.MethodGreedy, Guide: decode.Guide{TopK: 5, Beta: 2, Rest: decode.RestNone}},
	{Method: decode.MethodBlockSampling, Beam: decode.Beam{Block: 3}, Guide: decode.Guide{TopK: 5, Beta: 2, Rest: decode.RestMean}},
	{Method: decode.MethodOnePass, Guide: decode.Guide{TopK: 5, Beta: 2, Rest: decode.RestParent}},
	{Method: decode.MethodBlockBestOfK, N: 4, Beam: decode.Beam{Block: 3}},
	{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 3, Block: 4}},
}

// prompts are of different lengths.
var prompts = []string{text, strings.Repeat(text, 3)}

// asked is a request about prompt i.
func asked(t testing.TB, e *engine.Engine, i int) decode.Request {
	t.Helper()
	req := request(t, e, uint64(i+40))
	var err error
	if req.Prompt, err = e.Model().Tokenize(prompts[i], true, false); err != nil {
		t.Fatal(err)
	}
	return req
}

// answers are the responses of a strategy to all prompts at once.
func answers(t testing.TB, e *engine.Engine, s decode.Strategy, source value.Source, each bool) []decode.Response {
	t.Helper()
	out := make([]decode.Response, len(prompts))
	var jobs []engine.Job
	for i := range out {
		req := asked(t, e, i)
		req.MaxTokens, req.Value, req.EachValue = 20, source, each
		job, err := s.Job(e, req, func(r decode.Response) { out[i] = r })
		if err != nil {
			t.Fatalf("%s: %v", s.Method, err)
		}
		jobs = append(jobs, job)
	}
	run(t, e, jobs...)
	return out
}

// The policy as its own value model gives the values that its states give on the way, be there
// room for everything or for little.
func TestValueModelOfThePolicy(t *testing.T) {
	e := open(t)
	reading := valuehead.Reading{Beta: 0.5}
	for _, kind := range []valuehead.Kind{valuehead.MLP, valuehead.Recall} {
		head := brevity(t, e, kind)
		want := value.Head(head, reading)
		tight := exact(256, 24) // for one request's candidates, not for two
		tight.Batch = 16
		for _, p := range []engine.Params{exact(2048, 64), tight} {
			source := valueModel(t, labModel, head, p).Source(reading)
			for _, s := range guided {
				if s.Method == decode.MethodOnePass {
					continue // a head on the policy's own states would have to be trained for it
				}
				each := s.Method == decode.MethodSample
				a, b := answers(t, e, s, want, each), answers(t, e, s, source, each)
				for i := range a {
					same(t, string(kind)+", "+string(s.Method), a[i], b[i])
				}
				if t.Failed() {
					t.Fatalf("context %d, batch %d, %d sequences", p.Ctx, p.Batch, p.Sequences)
				}
			}
		}
	}
}

func same(t testing.TB, what string, a, b decode.Response) {
	t.Helper()
	if !slices.Equal(a.Tokens, b.Tokens) || math.Abs(float64(a.Value-b.Value)) > 1e-3 {
		t.Errorf("%s: %q of value %v on the way, %q of value %v by the model", what, a.Text, a.Value, b.Text, b.Value)
		return
	}
	for i, v := range a.Values {
		w := b.Values[i]
		if nan := math.IsNaN(float64(v)); nan != math.IsNaN(float64(w)) || !nan && math.Abs(float64(v-w)) > 1e-3 {
			t.Errorf("%s: V(s_%d) is %v on the way, %v by the model", what, i+1, v, w)
		}
	}
}

// otherVocabulary writes a model of random weights that spells where the lab's tokens are
// words: bytes, letters and a few pairs, so that what a letter is part of depends on the next.
func otherVocabulary(t testing.TB, more ...gguf.KV) string {
	t.Helper()
	tokens, kinds := []string{"<unk>", "<s>", "</s>"}, []int32{2, 3, 3}
	for b := range 256 {
		tokens, kinds = append(tokens, "<0x"+strings.ToUpper(string("0123456789abcdef"[b>>4])+string("0123456789abcdef"[b&15]))+">"), append(kinds, 6)
	}
	scores := make([]float32, len(tokens))
	for i, s := range strings.Fields("▁ a b c d e f g h i j k l m n o p q r s t u v w x y z . : ; T L D R th he the ▁t ▁a in ing an er ed re la lamp ▁lamp") {
		tokens, kinds, scores = append(tokens, s), append(kinds, 1), append(scores, -float32(i))
	}
	m, err := train.New(train.Config{Vocab: len(tokens), Width: 16, Layers: 2, Heads: 2, FF: 16, Context: 512}, 3)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "other.gguf")
	err = m.WriteGGUF(path, append([]gguf.KV{
		{Key: "tokenizer.ggml.model", Value: "llama"},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.scores", Value: scores},
		{Key: "tokenizer.ggml.token_type", Value: kinds},
		{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
		{Key: "tokenizer.ggml.add_bos_token", Value: true},
		{Key: "tokenizer.ggml.add_space_prefix", Value: true},
	}, more...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var atoms = []float32{-3, -1, 0, 2, 5}

// A value model of another vocabulary reads the text in its own tokens, however it has grown.
func TestValueModelOfAnotherVocabulary(t *testing.T) {
	e := open(t)
	path := otherVocabulary(t, gguf.KV{Key: train.AtomsKey, Value: atoms})
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := m.NewContext(llama.ContextParams{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	value := func(text string, ended bool) float32 {
		tokens, err := m.Tokenize(text, true, false)
		if err != nil {
			t.Fatal(err)
		}
		if ended {
			tokens = append(tokens, m.EOS())
		}
		if err := c.Clear(); err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			if _, err := c.Add(token, int32(i), 0, i == len(tokens)-1, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Decode(); err != nil {
			t.Fatal(err)
		}
		row, err := c.Row(0)
		if err != nil {
			t.Fatal(err)
		}
		var sum, v float64
		for i, a := range atoms {
			p := math.Exp(float64(row.Logits[i]))
			sum, v = sum+p, v+p*float64(a)
		}
		return float32(v / sum)
	}
	for _, p := range []engine.Params{exact(2048, 64), exact(512, 3)} {
		source := valueModel(t, path, nil, p).Source(valuehead.Reading{})
		for _, s := range guided {
			each := s.Method == decode.MethodSample || s.Method == decode.MethodBlockBeam
			for prompt, r := range answers(t, e, s, source, each) {
				said := prompts[prompt]
				for i, token := range r.Tokens {
					ended := e.Model().IsEOG(token)
					if !ended {
						piece, err := e.Model().Piece(token, false)
						if err != nil {
							t.Fatal(err)
						}
						said += string(piece)
					}
					if math.IsNaN(float64(r.Values[i])) && !each && i < len(r.Tokens)-1 {
						continue
					}
					if want := value(said, ended); !(math.Abs(float64(r.Values[i]-want)) < 1e-3) {
						t.Errorf("%s: %q, ended %v, has value %v, decoded alone %v", s.Method, said, ended, r.Values[i], want)
					}
				}
			}
		}
	}
}

// A head on the states of a model of another vocabulary: what was read piece by piece,
// bytes that are no text among it, has the value of what was read at once.
func TestValueModelHeadOfAnotherVocabulary(t *testing.T) {
	lab := open(t)
	head := brevity(t, lab, valuehead.Recall)
	m, err := llama.Load(otherVocabulary(t), llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(m, exact(2048, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close(); m.Close() })
	at := valueModel(t, labModel, head, exact(2048, 64)).Source(valuehead.Reading{})
	for _, p := range []engine.Params{exact(2048, 64), exact(256, 3)} {
		source := valueModel(t, labModel, head, p).Source(valuehead.Reading{})
		once := answers(t, e, decode.Strategy{Method: decode.MethodSample}, at, false)
		for i, r := range answers(t, e, decode.Strategy{Method: decode.MethodSample}, source, true) {
			if !slices.Equal(r.Tokens, once[i].Tokens) || math.Abs(float64(r.Value-once[i].Value)) > 1e-3 {
				t.Errorf("%q has value %v, read at once %v", r.Text, r.Value, once[i].Value)
			}
		}
		for _, s := range guided {
			for i, r := range answers(t, e, s, source, false) {
				req := asked(t, e, i)
				req.Value = at
				job, err := decode.Follow(e, req, r.Tokens, func(got decode.Response) {
					if math.Abs(float64(r.Value-got.Value)) > 1e-3 {
						t.Errorf("%s: %q has value %v, followed alone %v", s.Method, r.Text, r.Value, got.Value)
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
			}
		}
	}
}

// The policy fine-tuned for a few steps as a value function guides every strategy, and its
// values are those of training.
func TestValueModelFineTuned(t *testing.T) {
	e := open(t)
	f, err := gguf.Read(labModel)
	if err != nil {
		t.Fatal(err)
	}
	base, err := train.Read(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	var docs []train.ValueDoc
	req := request(t, e, 1)
	for _, r := range sample(t, e, req, 16) {
		docs = append(docs, train.ValueDoc{Tokens: slices.Concat(req.Prompt, r.Tokens), From: len(req.Prompt), Return: -float32(len(r.Tokens))})
	}
	tuned, err := train.TrainValue(t.Context(), base, train.Atoms(docs, 11), train.Options{Steps: 4}, docs, nil)
	if err != nil {
		t.Fatal(err)
	}
	var tokenizer []gguf.KV
	for _, kv := range f.KVs {
		if strings.HasPrefix(kv.Key, "tokenizer.") {
			tokenizer = append(tokenizer, kv)
		}
	}
	path := filepath.Join(t.TempDir(), "value.gguf")
	if err := tuned.WriteGGUF(path, tokenizer); err != nil {
		t.Fatal(err)
	}
	v := valueModel(t, path, nil, exact(1024, 16))
	for _, s := range guided {
		for i, r := range answers(t, e, s, v.Source(valuehead.Reading{}), true) {
			req := asked(t, e, i)
			values, err := tuned.Values(t.Context(), []train.ValueDoc{{Tokens: slices.Concat(req.Prompt, r.Tokens), From: len(req.Prompt)}}, 0)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range values[0] {
				if math.Abs(float64(r.Values[i]-want)) > 1e-3 {
					t.Errorf("%s: V(s_%d) is %v, in training %v", s.Method, i+1, r.Values[i], want)
				}
			}
		}
	}
	for _, reading := range []valuehead.Reading{{Beta: 1}, {Pessimistic: 0.2}, {Quantile: 0.3}} {
		answers(t, e, guided[1], v.Source(reading), false)
	}
}

func TestValueModelErrors(t *testing.T) {
	e := open(t)
	head := brevity(t, e, valuehead.Linear)
	lab, other := labModel, otherVocabulary(t)
	returns := func(value any) string { return otherVocabulary(t, gguf.KV{Key: train.AtomsKey, Value: value}) }
	for _, c := range []struct {
		path string
		head *valuehead.Head
		p    engine.Params
		want string
	}{
		{other, head, engine.Params{}, "model it was trained with"},
		{lab, nil, engine.Params{}, "says nothing of returns"},
		{returns(make([]float32, 1000)), nil, engine.Params{}, "1000 returns"},
		{returns([]float32{1, 0}), nil, engine.Params{}, "rising"},
		{returns("none"), nil, engine.Params{}, "numbers"},
		{lab, head, engine.Params{Sequences: 1000}, "1000 sequences"},
	} {
		m, err := llama.Load(c.path, llama.ModelParams{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := value.OpenModel(m, c.head, c.p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want an error about %q", err, c.want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	ask := func(s value.Source, most int) error {
		req := request(t, e, 1)
		req.Value, req.MaxTokens = s, most
		req.Prompt = slices.Concat(req.Prompt, req.Prompt, req.Prompt)
		job, err := decode.BestOfN(e, req, 2, func(decode.Response) {})
		if err != nil {
			return err
		}
		return e.Run(t.Context(), []engine.Job{job})
	}
	// A prompt and a response that the value model has no room for.
	spelled := valueModel(t, returns(atoms), nil, exact(64, 4))
	for _, v := range []*value.Model{valueModel(t, lab, head, exact(256, 4)), spelled} {
		if err := ask(v.Source(valuehead.Reading{}), 1000); err == nil || !strings.Contains(err.Error(), "context size") {
			t.Errorf("%v, want an error about the context", err)
		}
	}
	if err := ask(spelled.Source(valuehead.Reading{Beta: 1, Quantile: 0.5}), 8); err == nil || !strings.Contains(err.Error(), "choose one") {
		t.Errorf("two readings at once: %v", err)
	}
	v := valueModel(t, lab, head, exact(256, 4))
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ask(v.Source(valuehead.Reading{}), 8); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A run that is cancelled ends, and the value model serves the next one.
func TestValueModelCancelled(t *testing.T) {
	e := open(t)
	source := valueModel(t, labModel, brevity(t, e, valuehead.Linear), exact(512, 8)).Source(valuehead.Reading{})
	want := answers(t, e, guided[1], source, true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var jobs []engine.Job
	for i := range 4 {
		req := request(t, e, uint64(i))
		req.Value, req.EachValue = source, true
		req.Progress = func(decoded int) {
			if decoded > 6 {
				cancel()
			}
		}
		job, err := decode.BestOfN(e, req, 3, func(decode.Response) { t.Error("a cancelled request was answered") })
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job)
	}
	if err := e.Run(ctx, jobs); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for i, r := range answers(t, e, guided[1], source, true) {
		same(t, "after a cancelled run", want[i], r)
	}
}
