package decode_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// The toy vocabulary: the token of a letter is its place here.
const (
	letters = "?^.abcdef" // unknown, begin, end
	begin   = int32(1)
	end     = int32(2)
)

func token(letter byte) int32 { return int32(strings.IndexByte(letters, letter)) }

// toy is a real model whose next token depends on the last one alone: next[x][y] is the
// probability of letter y after x. Letters that are not named are all but impossible.
func toy(t testing.TB, next map[byte]map[byte]float64) *engine.Engine {
	t.Helper()
	const width, ff = 16, 16
	n := len(letters)
	// The embedding of a token is a unit vector, and blocks that add nothing leave it so.
	embedding, output := make([]float32, n*width), make([]float32, n*width)
	for i := range n {
		embedding[i*width+i] = 10
		for j := range n {
			p := next[letters[i]][letters[j]]
			output[j*width+i] = float32(math.Log(max(p, 1e-30)))
		}
	}
	fill := func(n int, x float32) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = x
		}
		return out
	}
	square, gain := []uint64{width, width}, []uint64{width}
	tensors := []gguf.Tensor{
		{Name: "token_embd.weight", Shape: []uint64{width, uint64(n)}, Data: embedding},
		{Name: "output_norm.weight", Shape: gain, Data: fill(width, float32(1/math.Sqrt(width)))},
		{Name: "output.weight", Shape: []uint64{width, uint64(n)}, Data: output},
		{Name: "blk.0.attn_norm.weight", Shape: gain, Data: fill(width, 1)},
		{Name: "blk.0.ffn_norm.weight", Shape: gain, Data: fill(width, 1)},
		{Name: "blk.0.ffn_gate.weight", Shape: []uint64{width, ff}, Data: fill(width*ff, 0)},
		{Name: "blk.0.ffn_up.weight", Shape: []uint64{width, ff}, Data: fill(width*ff, 0)},
		{Name: "blk.0.ffn_down.weight", Shape: []uint64{ff, width}, Data: fill(width*ff, 0)},
	}
	for _, name := range []string{"q", "k", "v", "output"} {
		tensors = append(tensors, gguf.Tensor{Name: "blk.0.attn_" + name + ".weight", Shape: square, Data: fill(width*width, 0)})
	}
	var texts []string
	kinds := []int32{2, 3, 3} // unknown, control, control
	for i, l := range letters {
		texts = append(texts, string(l))
		if i >= len(kinds) {
			kinds = append(kinds, 1)
		}
	}
	path := filepath.Join(t.TempDir(), "toy.gguf")
	err := gguf.Write(path, []gguf.KV{
		{Key: "general.architecture", Value: "llama"},
		{Key: "llama.vocab_size", Value: uint32(n)},
		{Key: "llama.context_length", Value: uint32(128)},
		{Key: "llama.embedding_length", Value: uint32(width)},
		{Key: "llama.block_count", Value: uint32(1)},
		{Key: "llama.feed_forward_length", Value: uint32(ff)},
		{Key: "llama.attention.head_count", Value: uint32(1)},
		{Key: "llama.attention.head_count_kv", Value: uint32(1)},
		{Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-6)},
		{Key: "llama.rope.dimension_count", Value: uint32(width)},
		{Key: "tokenizer.ggml.model", Value: "llama"},
		{Key: "tokenizer.ggml.tokens", Value: texts},
		{Key: "tokenizer.ggml.scores", Value: make([]float32, n)},
		{Key: "tokenizer.ggml.token_type", Value: kinds},
		{Key: "tokenizer.ggml.add_space_prefix", Value: false},
		{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(begin)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(end)},
	}, tensors)
	if err != nil {
		t.Fatal(err)
	}
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(m, engine.Params{Threads: 1, Sequences: 64, Ctx: 2048})
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

// table values texts by what is written down for them, plus the shift; a text without a value is a mistake
// of the test.
func table(values map[string]float64, shift float64) value.Source {
	return value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			v, ok := values[text]
			if !ok {
				return nil, fmt.Errorf("no value for %q", text)
			}
			out[i] = v + shift
		}
		return out, nil
	})
}

// What each strategy chooses, worked out by hand. The search methods draw so many
// blocks that every likely one is among them; at beta 1000 the tokenwise ones take the
// highest value.
func TestTrace(t *testing.T) {
	// From the beginning a, b or c; after each of them d, e or the end; then the end.
	e := toy(t, map[byte]map[byte]float64{
		'^': {'a': 0.5, 'b': 0.3, 'c': 0.2},
		'a': {'d': 0.6, 'e': 0.4},
		'b': {'d': 0.5, 'e': 0.5},
		'c': {'d': 0.5, '.': 0.5},
		'd': {'.': 1}, 'e': {'.': 1},
	})
	values := map[string]float64{
		"": 0, "a": 0.6, "b": 0.5, "c": 0.7,
		"ad": 0.1, "ae": 0.2, "bd": 0.8, "be": 0.3, "cd": 0.4,
	}
	guide := decode.Guide{TopK: 3, Beta: 1000, Rest: decode.RestNone}
	two := guide
	two.TopK = 2
	mild := guide
	mild.Beta = 1
	for _, c := range []struct {
		name string
		s    decode.Strategy
		want string
	}{
		// c has the highest value of all first letters, and the end after it (V(c) = .7) more than d.
		{"tokenwise", decode.Strategy{Method: decode.MethodTokenwise, Guide: guide}, "c"},
		// Among the two likeliest, a and b, a is better; then e.
		{"tokenwise, two candidates", decode.Strategy{Method: decode.MethodTokenwise, Guide: two}, "ae"},
		{"one-pass", decode.Strategy{Method: decode.MethodOnePass, Guide: guide}, "c"},
		{"one-pass, two candidates", decode.Strategy{Method: decode.MethodOnePass, Guide: two}, "ae"},
		{"greedy", decode.Strategy{Method: decode.MethodGreedy, Guide: guide}, "c"},
		// log p + V: a -.69+.6, b -1.20+.5, c -1.61+.7; then d -.51+.1, e -.92+.2.
		{"greedy, beta 1", decode.Strategy{Method: decode.MethodGreedy, Guide: mild}, "ad"},
		// Single letters: c, then the end, whose text is c still, worth more than cd.
		{"block best of k, blocks of 1", decode.Strategy{Method: decode.MethodBlockBestOfK, N: 60, Beam: decode.Beam{Block: 1}}, "c"},
		// Pairs: bd is the best of them.
		{"block best of k, blocks of 2", decode.Strategy{Method: decode.MethodBlockBestOfK, N: 60, Beam: decode.Beam{Block: 2}}, "bd"},
		// All eight beams are c, which was drawn more often; finished, it keeps competing.
		{"block beam, blocks of 1", decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 8, Block: 1}}, "c"},
		{"block beam, blocks of 2", decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 7, Block: 2}}, "bd"},
		{"best of n", decode.Strategy{Method: decode.MethodBestOfN, N: 60}, "bd"},
	} {
		for key := range uint64(6) {
			shift := []float64{0, -10, 3}[key%3] // what all values have in common makes no difference
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: 4, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: table(values, shift)}
			var r decode.Response
			job, err := c.s.Job(e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			run(t, e, job)
			if r.Text != c.want || r.Finish != decode.FinishEOG {
				t.Errorf("%s, key %d: %q (%s), want %q", c.name, key, r.Text, r.Finish, c.want)
			}
			if want := values[c.want] + shift; math.Abs(float64(r.Value)-want) > 1e-6 {
				t.Errorf("%s: value %v, want %v", c.name, r.Value, want)
			}
		}
	}
}

// Blockwise guided sampling follows the value at every second token alone.
func TestTraceBlockSampling(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{
		'^': {'a': 0.5, 'b': 0.5}, 'a': {'c': 0.5, 'd': 0.5}, 'b': {'c': 0.5, 'd': 0.5},
		'c': {'e': 0.5, 'f': 0.5}, 'd': {'e': 0.5, 'f': 0.5}, 'e': {'.': 1}, 'f': {'.': 1},
	})
	// a is better than b, c than d, e than f, each everywhere.
	better := value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		out := make([]float64, len(texts))
		for i, text := range texts {
			for _, l := range text {
				if strings.ContainsRune("ace", l) {
					out[i]++
				}
			}
		}
		return out, nil
	})
	seen := map[string]int{}
	for key := range uint64(60) {
		req := decode.Request{Prompt: []int32{begin}, MaxTokens: 4, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: better}
		s := decode.Strategy{Method: decode.MethodBlockSampling, Beam: decode.Beam{Block: 2}, Guide: decode.Guide{TopK: 2, Beta: 1000, Rest: decode.RestParent}}
		job, err := s.Job(e, req, func(r decode.Response) { seen[r.Text]++ })
		if err != nil {
			t.Fatal(err)
		}
		run(t, e, job)
	}
	if len(seen) != 2 || seen["ace"] < 15 || seen["ade"] < 15 {
		t.Errorf("guided at the first and third letter: %v, want ace and ade about equally often", seen)
	}
}

// Tokenwise sampling follows its closed form (chi-squared), and the KL and the
// log-probabilities that it reports are those of the closed form.
func TestTokenwiseDistribution(t *testing.T) {
	base := map[byte]float64{'a': 0.35, 'b': 0.25, 'c': 0.2, 'd': 0.12, 'e': 0.08}
	next := map[byte]map[byte]float64{'^': {'f': 1}, 'f': base}
	e := toy(t, next)
	values := map[string]float64{"": 0, "f": 0.3, "fa": -0.4, "fb": 0.5, "fc": 1, "fd": 3, "fe": -2}
	const temp = 0.8
	z := 0.0
	for _, p := range base {
		z += math.Pow(p, 1/temp)
	}
	pi := func(l byte) float64 { return math.Pow(base[l], 1/temp) / z }
	for _, c := range []struct {
		name   string
		method decode.Method
		guide  decode.Guide
		others float64 // the value of d and e
	}{
		{"Eq. 5", decode.MethodTokenwise, decode.Guide{TopK: 3, Beta: 1.3, Rest: decode.RestParent}, 0.3},
		{"VAS", decode.MethodTokenwise, decode.Guide{TopK: 3, Beta: 1.3, Rest: decode.RestMean}, (-0.4 + 0.5 + 1) / 3},
		{"FUDGE", decode.MethodTokenwise, decode.Guide{TopK: 3, Beta: 1.3, Rest: decode.RestNone}, math.Inf(-1)},
		{"beta 0", decode.MethodTokenwise, decode.Guide{TopK: 3, Rest: decode.RestParent}, 0},
		{"least probability", decode.MethodTokenwise, decode.Guide{TopK: 5, LeastP: 0.15, Beta: 1.3, Rest: decode.RestParent}, 0.3}, // pi(c) = .19, pi(d) = .10
		{"one-pass", decode.MethodOnePass, decode.Guide{TopK: 3, Beta: 1.3, Rest: decode.RestParent}, 0.3},
		{"block sampling", decode.MethodBlockSampling, decode.Guide{TopK: 3, Rest: decode.RestParent, Beta: 1.3}, math.NaN()}, // the second token is not guided
	} {
		q := map[byte]float64{}
		sum := 0.0
		for l := range base {
			v := c.others
			if strings.IndexByte("abc", l) >= 0 {
				v = values["f"+string(l)]
			}
			q[l] = pi(l) * math.Exp(c.guide.Beta*v)
			if math.IsNaN(c.others) {
				q[l] = pi(l)
			}
			sum += q[l]
		}
		kl := 0.0
		for l := range q {
			if q[l] /= sum; q[l] > 0 {
				kl += q[l] * math.Log(q[l]/pi(l))
			}
		}
		const n = 2000
		count := map[byte]float64{}
		var jobs []engine.Job
		responses := make([]decode.Response, n) // jobs run at once
		for key := range uint64(n) {
			s := decode.Strategy{Method: c.method, Guide: c.guide, Beam: decode.Beam{Block: 2}}
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: 2, Sampling: policy.Sampling{Temp: temp}, Key: key, Value: table(values, 0)}
			job, err := s.Job(e, req, func(r decode.Response) { responses[key] = r })
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		run(t, e, jobs...)
		for _, r := range responses {
			l := r.Text[1]
			count[l]++
			if math.Abs(r.KL-kl) > 1e-4 || r.KLKind != decode.KLExact {
				t.Errorf("%s: KL %v (%s), want %v", c.name, r.KL, r.KLKind, kl)
			}
			if got := math.Exp(float64(r.GuidedLogProbs[1])); math.Abs(got-q[l]) > 1e-4 {
				t.Errorf("%s: guided probability of %c %v, want %v", c.name, l, got, q[l])
			}
			if got := math.Exp(float64(r.BaseLogProbs[1])); math.Abs(got-pi(l)) > 1e-4 {
				t.Errorf("%s: base probability of %c %v, want %v", c.name, l, got, pi(l))
			}
		}
		if t.Failed() {
			return
		}
		chi2, cells := 0.0, 0
		for l, p := range q {
			if p == 0 {
				if count[l] > 0 {
					t.Errorf("%s: %c was drawn", c.name, l)
				}
				continue
			}
			d := count[l] - n*p
			chi2 += d * d / (n * p)
			cells++
		}
		if df := float64(cells - 1); chi2 > df+6*math.Sqrt(2*df)+6 {
			t.Errorf("%s: chi-squared %.1f on %d cells: %v of %v", c.name, chi2, cells, count, q)
		}
	}
}

// Samples of a block that have drawn the same tokens are decoded once; the end is not decoded,
// for nobody asks for its state.
func TestBlocksShareTokens(t *testing.T) {
	values := value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
		return make([]float64, len(texts)), nil
	})
	for _, c := range []struct {
		name string
		next map[byte]map[byte]float64
		s    decode.Strategy
		want int
	}{
		{"one way", map[byte]map[byte]float64{'^': {'a': 1}, 'a': {'b': 1}, 'b': {'c': 1}, 'c': {'.': 1}},
			decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 4, Block: 2}}, len("abc")},
		{"two ways, one block", map[byte]map[byte]float64{'^': {'a': 0.5, 'b': 0.5}, 'a': {'c': 1}, 'b': {'c': 0.5, 'd': 0.5}, 'c': {'.': 1}, 'd': {'.': 1}},
			decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 7, Block: 3}}, len("ab") + len("ccd")},
		// The first in the pool, a or b, is kept.
		{"two ways, one beam", map[byte]map[byte]float64{'^': {'a': 0.5, 'b': 0.5}, 'a': {'c': 0.5, 'd': 0.5}, 'b': {'c': 0.5, 'd': 0.5}, 'c': {'.': 1}, 'd': {'.': 1}},
			decode.Strategy{Method: decode.MethodBlockBestOfK, N: 40, Beam: decode.Beam{Block: 1}}, len("ab") + len("cd")},
	} {
		e := toy(t, c.next)
		for key := range uint64(5) {
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: 8, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: values}
			var r decode.Response
			job, err := c.s.Job(e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatal(err)
			}
			run(t, e, job)
			if r.Decoded != c.want {
				t.Errorf("%s, key %d: %d tokens decoded for %q, want %d", c.name, key, r.Decoded, r.Text, c.want)
			}
		}
	}
}

// The block of highest value of k is the one of value v with probability F(v)^k - F(v-)^k, F
// being the distribution of the values of one block.
func TestBlockBestOfKDistribution(t *testing.T) {
	first, second := map[byte]float64{'a': 0.6, 'b': 0.4}, map[byte]float64{'c': 0.7, 'd': 0.3}
	e := toy(t, map[byte]map[byte]float64{'^': first, 'a': second, 'b': second})
	order := []string{"bc", "ad", "ac", "bd"} // by rising value
	values := map[string]float64{}
	for i, text := range order {
		values[text] = float64(i)
	}
	const n, k = 2000, 3
	responses := make([]decode.Response, n)
	var jobs []engine.Job
	for key := range uint64(n) {
		req := decode.Request{Prompt: []int32{begin}, MaxTokens: 2, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: table(values, 0)}
		job, err := decode.BlockBestOfK(e, req, k, 2, func(r decode.Response) { responses[key] = r })
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, job)
	}
	run(t, e, jobs...)
	count := map[string]float64{}
	for _, r := range responses {
		count[r.Text]++
	}
	below, chi2 := 0.0, 0.0
	for _, text := range order {
		upTo := below + first[text[0]]*second[text[1]]
		want := n * (math.Pow(upTo, k) - math.Pow(below, k))
		chi2 += (count[text] - want) * (count[text] - want) / want
		below = upTo
	}
	if df := float64(len(order) - 1); chi2 > df+6*math.Sqrt(2*df)+6 {
		t.Errorf("chi-squared %.1f: %v", chi2, count)
	}
}

// The KL of another temperature and of greedy decoding from the base policy is the closed form.
func TestReference(t *testing.T) {
	base := map[byte]float64{'a': 0.5, 'b': 0.3, 'c': 0.2}
	e := toy(t, map[byte]map[byte]float64{'^': base})
	tilted := func(temp float64) map[byte]float64 {
		out, z := map[byte]float64{}, 0.0
		for l, p := range base {
			out[l] = math.Pow(p, 1/temp)
			z += out[l]
		}
		for l := range out {
			out[l] /= z
		}
		return out
	}
	const reference = 0.7
	pi := tilted(reference)
	klOf := func(q, pi map[byte]float64) (sum float64) {
		for l, p := range q {
			sum += p * math.Log(p/pi[l])
		}
		return sum
	}
	kl := func(q map[byte]float64) float64 { return klOf(q, pi) }
	truncated := func(temp float64) map[byte]float64 { // without c
		q := tilted(temp)
		sum := q['a'] + q['b']
		return map[byte]float64{'a': q['a'] / sum, 'b': q['b'] / sum}
	}
	whole := policy.Sampling{Temp: reference}
	top2 := policy.Sampling{Temp: reference, TopK: 2}
	for _, c := range []struct {
		s, from policy.Sampling
		want    float64
	}{
		{policy.Sampling{Temp: 0.35}, whole, kl(tilted(0.35))},
		{policy.Sampling{Temp: 2}, whole, kl(tilted(2))},
		{policy.Sampling{Temp: reference}, whole, 0},
		{policy.Sampling{}, whole, -math.Log(pi['a'])},
		{policy.Sampling{Temp: 1, TopK: 2}, whole, kl(map[byte]float64{'a': 0.625, 'b': 0.375})},
		// Both are truncated, before the temperature: what is cut off counts in neither.
		{policy.Sampling{Temp: 0.35, TopK: 2}, top2, klOf(truncated(0.35), truncated(reference))},
		{policy.Sampling{TopK: 2}, top2, -math.Log(truncated(reference)['a'])},
		{policy.Sampling{Temp: 0.35}, top2, math.Inf(1)},
	} {
		req := decode.Request{Prompt: []int32{begin}, MaxTokens: 1, Sampling: c.s, Reference: &c.from}
		if r := sample(t, e, req, 1)[0]; r.KL != c.want && !(math.Abs(r.KL-c.want) < 1e-5) || r.KLKind != decode.KLExact {
			t.Errorf("%+v from %+v: KL %v (%s), want %v", c.s, c.from, r.KL, r.KLKind, c.want)
		}
	}

	// The best of some samples at another temperature is as much further away as these are.
	hot := tilted(2)
	worth := func(_ context.Context, texts []string) (out []float64, _ error) {
		for _, text := range texts {
			out = append(out, hot[text[0]])
		}
		return out, nil
	}
	for _, s := range []decode.Strategy{
		{Method: decode.MethodBestOfN, N: 2},
		{Method: decode.MethodBlockBestOfK, N: 2, Beam: decode.Beam{Block: 1}, Rollouts: decode.Rollouts{N: 1}},
	} {
		job, err := s.Job(e, decode.Request{Prompt: []int32{begin}, MaxTokens: 1, Sampling: policy.Sampling{Temp: 2}, Reference: &whole, Rerank: worth}, func(r decode.Response) {
			from := math.Log(hot[r.Text[0]] / pi[r.Text[0]])
			if want := math.Log(2) - 0.5 + from; math.Abs(r.Ratio-from) > 1e-5 || math.Abs(r.KL-want) > 1e-5 {
				t.Errorf("%s: %q has the ratio %v and the KL %v, want %v and %v", s.Method, r.Text, r.Ratio, r.KL, from, want)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		run(t, e, job)
	}
}
