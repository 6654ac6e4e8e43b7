package decode_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// strategies are all methods, with options that the lab engine has room for.
func strategies() []decode.Strategy {
	guide := decode.Guide{TopK: 4, Beta: 0.7, Rest: decode.RestParent}
	var out []decode.Strategy
	for _, m := range decode.Methods {
		out = append(out, decode.Strategy{Method: m, N: 3, Beam: decode.Beam{Beams: 2, Block: 3}, Guide: guide})
	}
	return out
}

// short prefers responses of few words.
var short = value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
	out := make([]float64, len(texts))
	for i, text := range texts {
		out[i] = -float64(len(strings.Fields(text)))
	}
	return out, nil
})

// By every method and source, what a response says of itself is what going through it gives:
// values, probabilities, states and their features, the number of tokens decoded. To ask for all
// of them does not change it.
func TestAccounts(t *testing.T) {
	e := open(t)
	head := brevityOf(t, e, valuehead.Recall, valuehead.CandidateFeatures(schema(t, e)))
	for name, source := range map[string]value.Source{"head": value.Head(head, valuehead.Reading{}), "prefix": short, "advantages": additive(someAdvantages(e))} {
		all := append(strategies(), rolling()...)
		if source.Advantages() {
			all = append(proposing(0.8), all[5]) // one-pass
		}
		for _, s := range all {
			for key := range uint64(4) {
				answer := func(req decode.Request) decode.Response {
					var r decode.Response
					job, err := s.Job(e, req, func(got decode.Response) { r = got })
					if err != nil {
						t.Fatal(err)
					}
					before := e.Stats().Tokens
					run(t, e, job)
					if got := e.Stats().Tokens - before - len(req.Prompt); got != r.Decoded {
						t.Errorf("%s by %s: says that it decoded %d tokens, it was %d", s.Method, name, r.Decoded, got)
					}
					return r
				}
				req := request(t, e, key)
				req.MaxTokens, req.Value = 12, source
				if s.Rollouts.N > 0 {
					req.Rerank = words
				}
				plain := answer(req)
				req.EachValue, req.Record = true, true
				r := answer(req)
				if !slices.Equal(r.Tokens, plain.Tokens) || math.Abs(r.KL-plain.KL) > 1e-3 {
					t.Errorf("%s by %s, key %d: %q at KL %.3f, %q at KL %.3f without a value for each token", s.Method, name, key, r.Text, r.KL, plain.Text, plain.KL)
				}
				var f decode.Response
				job, err := decode.Follow(e, req, r.Tokens, func(got decode.Response) { f = got })
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
				for _, c := range []struct {
					what      string
					got, want []float32
				}{
					{"log-probabilities", r.LogProbs, f.LogProbs}, {"base log-probabilities", r.BaseLogProbs, f.BaseLogProbs},
					{"states", r.States, f.States}, {"features", r.Scalars, f.Scalars}, {"values", r.Values, f.Values},
				} {
					if !slices.EqualFunc(c.got, c.want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 5e-3*math.Max(1, math.Abs(float64(b))) }) {
						t.Errorf("%s by %s, key %d: the %s differ from those of the same text", s.Method, name, key, c.what)
					}
				}
			}
		}
	}
}

// What is known of a state is not asked again, and a token before it is fed is valued as it
// will be after: without a stop string that it completes.
func TestAskedOnce(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 0.9, 'd': 0.1}, 'd': {'a': 1}, 'a': {'b': 1}, 'b': {'c': 1}})
	for _, s := range strategies() {
		asked := map[string]int{}
		req := decode.Request{
			Prompt: []int32{begin}, MaxTokens: 3, Sampling: policy.Sampling{Temp: 1, TopK: 1}, Stop: []string{"bc"}, EachValue: true,
			Value: value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
				for _, text := range texts {
					asked[text]++
				}
				return make([]float64, len(texts)), nil
			}),
		}
		s.N, s.Beam.Beams = 1, 1
		var r decode.Response
		job, err := s.Job(e, req, func(got decode.Response) { r = got })
		if err != nil {
			t.Fatal(err)
		}
		run(t, e, job)
		want := map[string]int{"a": 2, "ab": 1} // in the end abc, of which bc is cut off
		if r.Text != "a" || !maps.Equal(asked, want) {
			t.Errorf("%s: %q after asking for the values of %v, want %v", s.Method, r.Text, asked, want)
		}
	}
}

// A value that is no number ends the run, whoever asks for it.
func TestValuesAreFinite(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 0.5, 'b': 0.5}, 'a': {'c': 1}, 'b': {'c': 1}, 'c': {'.': 1}})
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e300} {
		for _, s := range strategies() {
			req := decode.Request{
				Prompt: []int32{begin}, MaxTokens: 8, Sampling: policy.Sampling{Temp: 1},
				Value: value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
					return slices.Repeat([]float64{bad}, len(texts)), nil
				}),
			}
			job, err := s.Job(e, req, func(r decode.Response) { t.Errorf("%s: value %v", s.Method, r.Value) })
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Run(t.Context(), []engine.Job{job}); err == nil || !strings.Contains(err.Error(), "finite") {
				t.Errorf("%s with the value %v: %v", s.Method, bad, err)
			}
		}
	}
}

// By every method, what was emitted on the way is the text, though stop strings straddle
// tokens and begin like each other; and its tokens are the response's, none later than its text.
func TestEmitted(t *testing.T) {
	flat := map[byte]float64{'a': .3, 'b': .3, 'c': .3, '.': .1}
	e := toy(t, map[byte]map[byte]float64{'^': flat, 'a': flat, 'b': flat, 'c': flat})
	cut := 0
	for _, stop := range [][]string{nil, {"a"}, {"abc"}, {"abca", "bc"}, {"cab", "aba", "bcb"}} {
		for _, s := range append(strategies(), rolling()...) {
			for key := range uint64(20) {
				var emitted strings.Builder
				var tokens []decode.Said
				req := decode.Request{
					Prompt: []int32{begin}, MaxTokens: 9, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: short, Stop: stop, TopLogProbs: 2,
					EmitTokens: func(said []decode.Said) { tokens = append(tokens, said...) },
					Emit: func(text []byte) {
						if emitted.Write(text); emitted.Len() > len(tokens) { // of one letter each
							t.Errorf("%s, stop %q: %q came before its tokens %v", s.Method, stop, emitted.String(), tokens)
						}
					},
				}
				if s.Rollouts.N > 0 {
					req.Rerank = words
				}
				var r decode.Response
				job, err := s.Job(e, req, func(got decode.Response) { r = got })
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
				if emitted.String() != r.Text {
					t.Errorf("%s, stop %q: emitted %q, the text is %q", s.Method, stop, emitted.String(), r.Text)
				}
				valued := cmp.Comparer(func(a, b float32) bool { return a == b || a != a || b != b }) // some are known later, if at all
				if diff := cmp.Diff(r.Said(), tokens, valued); diff != "" {
					t.Errorf("%s, stop %q: tokens %s", s.Method, stop, diff)
				}
				all := ""
				for _, id := range r.Tokens {
					if id != end {
						all += letters[id : id+1]
					}
				}
				if !strings.HasPrefix(all, r.Text) || (all == r.Text) != (r.Finish == decode.FinishLength || r.Tokens[len(r.Tokens)-1] == end) {
					t.Errorf("%s, stop %q: %q of %q (%s)", s.Method, stop, r.Text, all, r.Finish)
				}
				if all != r.Text {
					cut++
				}
				for _, str := range stop {
					if strings.Contains(r.Text, str) {
						t.Errorf("%s, stop %q: %q", s.Method, stop, r.Text)
					}
				}
			}
		}
	}
	if cut < 100 {
		t.Errorf("only %d responses ended with a stop string", cut)
	}
}

// A run that is cancelled in the middle ends with the cause, by every method, and the next one
// is as if nothing had been.
func TestCancelAnywhere(t *testing.T) {
	flat := map[byte]float64{'a': .3, 'b': .3, 'c': .4}
	e := toy(t, map[byte]map[byte]float64{'^': flat, 'a': flat, 'b': flat, 'c': flat})
	stopped := errors.New("stopped by the test")
	for _, s := range append(strategies(), rolling()...) {
		var want []int32
		for steps := range 20 {
			ctx, cancel := context.WithCancelCause(t.Context())
			var r decode.Response
			req := decode.Request{Prompt: []int32{begin}, MaxTokens: 16, Sampling: policy.Sampling{Temp: 1}, Value: short}
			if s.Rollouts.N > 0 {
				req.Rerank = words
			}
			n := 0
			req.Progress = func(int) {
				if n++; n == steps {
					cancel(stopped)
				}
			}
			job, err := s.Job(e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatal(err)
			}
			err = e.Run(ctx, []engine.Job{job})
			cancel(nil)
			if steps > 0 && n >= steps && !errors.Is(err, stopped) {
				t.Errorf("%s, cancelled after %d steps: %v", s.Method, steps, err)
			}
			if steps == 0 || n < steps {
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = r.Tokens
				}
				if !slices.Equal(r.Tokens, want) {
					t.Errorf("%s: %v, and after a cancelled run %v", s.Method, want, r.Tokens)
				}
			}
		}
	}
}

// No job takes more sequences or cells than its strategy says: in a context that has no more it
// is done, alone or beside another.
func TestRoom(t *testing.T) {
	next := map[byte]map[byte]float64{}
	for _, l := range letters {
		next[byte(l)] = map[byte]float64{'a': .2, 'b': .2, 'c': .2, 'd': .15, 'e': .1, 'f': .1, '.': .05}
	}
	m := toy(t, next).Model()
	flat := additive(make([]float32, len(letters)))
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string, low, high int) int { return rapid.IntRange(low, high).Draw(t, name) }
		s := decode.Strategy{
			Method: rapid.SampledFrom(decode.Methods).Draw(t, "method"),
			N:      draw("samples", 1, 9),
			Beam:   decode.Beam{Beams: draw("beams", 1, 5), Block: draw("block", 1, 9)},
			Guide:  decode.Guide{TopK: draw("candidates", 1, 12), Beta: 1, Rest: rapid.SampledFrom(decode.Rests).Draw(t, "rest")},
		}
		search := s.Method == decode.MethodBlockBestOfK || s.Method == decode.MethodBlockBeam
		var rerank func(context.Context, []string) ([]float64, error)
		if search && draw("rerank", 0, 1) == 1 {
			rerank = words
			s.Rollouts = decode.Rollouts{N: draw("rollouts", 0, 3), Tokens: draw("rollout tokens", 0, 4)}
		}
		source := short
		if s.Method == decode.MethodOnePass || !s.Tokenwise() {
			if s.Proposal = float64(draw("proposal", 0, 1)); s.Proposal != 0 {
				source = flat
			}
			if s.Method == decode.MethodOnePass {
				s.Proposal = 0
			}
		}
		const ctx = 256 // llama.cpp has no smaller one
		jobs, beside := draw("jobs", 1, 3), draw("beside", 1, 2)
		cells := ctx / beside
		most := draw("most", 1, 100)
		for most > 1 && s.Cells(1, most) > cells {
			most--
		}
		prompt := slices.Repeat([]int32{begin}, 1+cells-s.Cells(1, most))
		e, err := engine.New(m, engine.Params{Threads: 1, Sequences: s.Sequences() * beside, Ctx: ctx, Top: 4})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if e.Params().Ctx != ctx || s.Cells(len(prompt), most) != cells {
			t.Fatalf("%d cells of %d", s.Cells(len(prompt), most), e.Params().Ctx)
		}
		var all []engine.Job
		for i := range jobs {
			job, err := s.Job(e, decode.Request{
				Prompt: prompt, MaxTokens: most, Sampling: policy.Sampling{Temp: 1}, Key: uint64(i), Value: source, Rerank: rerank,
				EachValue: draw("each", 0, 1) == 1,
			}, func(decode.Response) {})
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, job)
		}
		if err := e.Run(context.Background(), all); err != nil {
			t.Fatal(err)
		}
	})
}

// A given response is followed to its first end, and the base policy may hold its tokens for
// impossible.
func TestFollow(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': .5, 'b': .25, 'c': .25}, 'b': {'c': .5, '.': .5}})
	req := decode.Request{Prompt: []int32{begin}, Sampling: policy.Sampling{Temp: 1, TopK: 1}, Value: short, Stop: []string{"b"}}
	for _, c := range []struct {
		tokens []int32
		n      int
		text   string
		finish decode.Finish
	}{
		{[]int32{token('b'), end, token('c')}, 2, "b", decode.FinishEOG},
		{[]int32{token('b'), token('c')}, 2, "bc", decode.FinishLength},
		{[]int32{end}, 1, "", decode.FinishEOG},
	} {
		var r decode.Response
		job, err := decode.Follow(e, req, c.tokens, func(got decode.Response) { r = got })
		if err != nil {
			t.Fatal(err)
		}
		run(t, e, job)
		if !slices.Equal(r.Tokens, c.tokens[:c.n]) || r.Text != c.text || r.Finish != c.finish || len(r.Values) != c.n {
			t.Errorf("%v: %+v", c.tokens, r)
		}
		if c.text != "" && (math.Abs(float64(r.LogProbs[0])-math.Log(.25)) > 1e-5 || !math.IsInf(float64(r.BaseLogProbs[0]), -1)) {
			t.Errorf("%v: log-probability %v, under the base policy %v", c.tokens, r.LogProbs, r.BaseLogProbs)
		}
	}
	for _, tokens := range [][]int32{nil, {-1}, {int32(len(letters))}} {
		if _, err := decode.Follow(e, req, tokens, func(decode.Response) {}); err == nil {
			t.Errorf("followed %v", tokens)
		}
	}
}
