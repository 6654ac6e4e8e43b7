package decode_test

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// By every method, source and proposal a response keeps to the grammar, and its probabilities are those that the same
// text has under it.
func TestGrammar(t *testing.T) {
	e := open(t)
	head := brevityOf(t, e, valuehead.Recall, valuehead.CandidateFeatures(schema(t, e)))
	const grammar = "root ::= \" \"? word (\" \" word){1,3} \".\"\nword ::= [a-z] [a-z]? [a-z]?"
	form := regexp.MustCompile(`^ ?[a-z]{1,3}( [a-z]{1,3}){1,3}\.$`)
	for name, source := range map[string]value.Source{"head": value.Head(head, valuehead.Reading{}), "prefix": short, "advantages": additive(someAdvantages(e))} {
		all := append(strategies(), rolling()...)
		if source.Advantages() {
			all = append(proposing(0.8), all[5]) // one-pass
		}
		for _, s := range all {
			for key := range uint64(3) {
				req := request(t, e, key)
				req.Value, req.Sampling.Grammar = source, grammar
				if key%2 == 1 {
					req.Sampling.TopK = 5
				}
				if s.Rollouts.N > 0 {
					req.Rerank = words
				}
				var r, f decode.Response
				job, err := s.Job(e, req, func(got decode.Response) { r = got })
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
				if r.Finish != decode.FinishEOG || !form.MatchString(r.Text) {
					t.Errorf("%s by %s, key %d: %q (%s)", s.Method, name, key, r.Text, r.Finish)
				}
				if math.IsNaN(r.KL) || math.IsInf(r.KL, 0) {
					t.Errorf("%s by %s, key %d: KL %v", s.Method, name, key, r.KL)
				}
				if job, err = decode.Follow(e, req, r.Tokens, func(got decode.Response) { f = got }); err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
				if !slices.EqualFunc(r.BaseLogProbs, f.BaseLogProbs, func(a, b float32) bool { return math.Abs(float64(a-b)) < 5e-3*math.Max(1, math.Abs(float64(b))) }) {
					t.Errorf("%s by %s, key %d: base log-probabilities %v, those of the same text are %v", s.Method, name, key, r.BaseLogProbs, f.BaseLogProbs)
				}
			}
		}
	}
}

// Under a grammar the base policy is the one of what may come next, and what sampling at another temperature is
// away from it is measured under the same grammar.
func TestGrammarDistribution(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 0.35, 'b': 0.25, 'c': 0.2, 'd': 0.12, 'e': 0.08}})
	req := decode.Request{Prompt: []int32{begin}, MaxTokens: 3, Sampling: policy.Sampling{Temp: 1, Grammar: "root ::= [bd]"}, Reference: &policy.Sampling{Temp: 0.5}}
	p, b := 0.25/(0.25+0.12), 0.25*0.25/(0.25*0.25+0.12*0.12)
	kl := p*math.Log(p/b) + (1-p)*math.Log((1-p)/(1-b))
	n, drawn := 0, 0.0
	for key := range uint64(50) {
		req.Key = key
		for _, r := range sample(t, e, req, 16) {
			want := math.Log(p)
			switch r.Text {
			case "b":
				drawn++
			case "d":
				want = math.Log(1 - p)
			default:
				t.Fatalf("%q", r.Text)
			}
			n++
			if got := float64(r.BaseLogProbs[0]); math.Abs(got-want) > 1e-4 {
				t.Fatalf("%q has the log-probability %v, not %v", r.Text, got, want)
			}
			if math.Abs(r.KL-kl) > 1e-4 || len(r.Tokens) != 2 || math.Abs(float64(r.BaseLogProbs[1])) > 1e-6 {
				t.Fatalf("%q: KL %v, not %v; base log-probabilities %v, of which the end's is 0", r.Text, r.KL, kl, r.BaseLogProbs)
			}
		}
	}
	if share := drawn / float64(n); math.Abs(share-p) > 4*math.Sqrt(p*(1-p)/float64(n)) {
		t.Errorf("b is drawn with probability %.3f, not %.3f", share, p)
	}
}

// The end does not come before its time, and biases rule tokens out.
func TestEnds(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 0.3, '.': 0.7}, 'a': {'a': 0.3, 'b': 0.1, '.': 0.6}, 'b': {'.': 1}})
	base := decode.Request{Prompt: []int32{begin}, MaxTokens: 8}
	never := number.Float(math.Inf(-1))
	for name, c := range map[string]struct {
		of   policy.Sampling
		want string // the texts
	}{
		"least":                 {policy.Sampling{Temp: 1, MinTokens: 3, LogitBias: map[int32]number.Float{token('b'): never}}, `^a{3,8}$`},
		"ignored":               {policy.Sampling{Temp: 1, IgnoreEOS: true, LogitBias: map[int32]number.Float{token('b'): never}}, `^a{8}$`},
		"ignored at the end of": {policy.Sampling{Temp: 1, IgnoreEOS: true, Grammar: `root ::= "a" "a"`}, `^aa$`},
		"least of a grammar":    {policy.Sampling{Temp: 1, MinTokens: 3, Grammar: `root ::= "a"*`}, `^a{3,8}$`},
		"greedy":                {policy.Sampling{LogitBias: map[int32]number.Float{token('.'): never, token('b'): 5}}, `^ab`},
	} {
		req := base
		req.Sampling = c.of
		for key := range uint64(20) {
			req.Key = key
			for _, r := range sample(t, e, req, 4) {
				if !regexp.MustCompile(c.want).MatchString(strings.ReplaceAll(r.Text, ".", "")) {
					t.Errorf("%s: %q", name, r.Text)
				}
			}
		}
	}
}

// Constraints that cannot be met are errors that say what to do.
func TestConstraintErrors(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 1}, 'a': {'.': 1}})
	never := number.Float(math.Inf(-1))
	biases := map[int32]number.Float{}
	for i := range int32(len(letters)) {
		biases[i] = never
	}
	for _, c := range []struct {
		of   policy.Sampling
		top  int
		want string
	}{
		{policy.Sampling{Grammar: `root ::= "a" "x"`}, 0, `no token of the vocabulary goes on as the grammar asks after "a" (mend the grammar, or take a model`},
		{policy.Sampling{Grammar: `root ::= "a" root`}, 0, "no text can satisfy it"},
		{policy.Sampling{Grammar: `root ::= root "a"`}, 0, "can begin with itself"},
		{policy.Sampling{Grammar: `root = "a"`}, 0, "1:6: expected ::="},
		{policy.Sampling{Grammar: `root ::= ("a" | "a" "b"?)* x{0,1999} ` + "\nx ::= (\"a\"?){0,1000}"}, 0, "grammar"},
		{policy.Sampling{LogitBias: biases}, 0, `the biases rule out all tokens that may come after "" (rule fewer`},
		{policy.Sampling{LogitBias: map[int32]number.Float{1000: 1}}, 0, "token 1000 has a bias, the vocabulary has 9"},
		{policy.Sampling{LogitBias: map[int32]number.Float{1: number.Float(math.NaN())}}, 0, "token 1 has the bias NaN"},
		{policy.Sampling{MinTokens: -1}, 0, "responses of -1 tokens at least"},
		{policy.Sampling{}, 1000, "the 1000 likeliest tokens of each state, of which 9 are known (lower"},
	} {
		req := decode.Request{Prompt: []int32{begin}, MaxTokens: 8, Sampling: c.of, TopLogProbs: c.top}
		job, err := decode.Sample(e, req, 1, func([]decode.Response) {})
		if err == nil {
			err = e.Run(t.Context(), []engine.Job{job})
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want %s", c.of.Grammar, err, c.want)
		}
	}
}

// A response tells as many likeliest tokens as it is asked for.
func TestTopLogProbs(t *testing.T) {
	e := toy(t, map[byte]map[byte]float64{'^': {'a': 0.5, 'b': 0.3, 'c': 0.2}, 'a': {'.': 1}, 'b': {'.': 1}, 'c': {'.': 1}})
	req := decode.Request{Prompt: []int32{begin}, MaxTokens: 4, Sampling: policy.Sampling{Temp: 1}, TopLogProbs: 3}
	for _, s := range []decode.Strategy{{Method: decode.MethodSample}, {Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 1}}} {
		req.Value = nil
		if s.Method != decode.MethodSample {
			req.Value = short
		}
		var r decode.Response
		job, err := s.Job(e, req, func(got decode.Response) { r = got })
		if err != nil {
			t.Fatal(err)
		}
		run(t, e, job)
		if want := []int32{token('a'), token('b'), token('c')}; len(r.Candidates) != 3*len(r.Tokens) || !slices.Equal(r.Candidates[:3], want) {
			t.Fatalf("%s: %v are the likeliest of %d states", s.Method, r.Candidates, len(r.Tokens))
		}
		for i, p := range []float64{0.5, 0.3, 0.2} {
			if got := math.Exp(float64(r.CandidateLogProbs[i])); math.Abs(got-p) > 1e-4 {
				t.Errorf("%s: number %d has probability %v, not %v", s.Method, i, got, p)
			}
		}
	}
}
