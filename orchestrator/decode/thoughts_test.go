package decode_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/think"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// thinker begins with a thought, which e opens and f ends: of letters a and b, for ever if nobody stops it. Then it
// answers c or d.
func thinker(t *testing.T) (*engine.Engine, *think.Marks) {
	t.Helper()
	e := toy(t, map[byte]map[byte]float64{
		'^': {'e': 1}, 'e': {'a': 0.5, 'b': 0.5}, 'a': {'a': 0.4, 'b': 0.4, 'f': 0.2}, 'b': {'a': 0.4, 'b': 0.4, 'f': 0.2},
		'f': {'c': 0.5, 'd': 0.5}, 'c': {'c': 0.3, 'd': 0.3, '.': 0.4}, 'd': {'c': 0.3, 'd': 0.3, '.': 0.4},
	})
	specials, err := e.Model().Specials()
	if err != nil {
		t.Fatal(err)
	}
	return e, think.Compile(think.Tags("e", "f"), e.Model(), specials, []int32{token('f')})
}

// lettersWorth values a response by its letters, thoughts included: each a or c costs 1.
type lettersWorth struct{ value.Source }

func (lettersWorth) Open(value.Request) (value.Valuer, error) { return lettersValuer{}, nil }

type lettersValuer struct{}

func (lettersValuer) ReadsStates() bool                { return false }
func (lettersValuer) Begin() (value.Memory, error)     { return nil, nil }
func (lettersValuer) Fork(m value.Memory) value.Memory { return m }
func (lettersValuer) Drop(value.Memory)                {}
func (lettersValuer) Push([]*value.Candidate) error    { return nil }
func (lettersValuer) Close()                           {}
func (lettersValuer) Value(_ context.Context, cs []*value.Candidate, out []float32) error {
	for i, c := range cs {
		out[i] = worth(c.Tokens())
	}
	return nil
}
func (lettersValuer) Score(_ context.Context, c *value.Candidate, tokens []int32, out []float32) error {
	for i, y := range tokens {
		out[i] = worth(append(c.Tokens(), y))
	}
	return nil
}

func worth(tokens []int32) (v float32) {
	for _, y := range tokens {
		if y == token('a') || y == token('c') {
			v--
		}
	}
	return v
}

// By every method the thought is apart from the answer, has no more tokens than its budget, and what is handed out is
// what the response has. What is forced adds nothing to the KL of sampling.
func TestThoughts(t *testing.T) {
	e, marks := thinker(t)
	for _, s := range append(strategies(), rolling()...) {
		s.Guide.Rest = decode.RestParent
		for _, thoughts := range []decode.Thoughts{{}, {Limited: true}, {Limited: true, Budget: 1}, {Limited: true, Budget: 3}} {
			for key := range uint64(8) {
				var said, thought strings.Builder
				req := decode.Request{
					Prompt: []int32{begin}, MaxTokens: 24, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: lettersWorth{short}, Thinks: marks, Thoughts: thoughts,
					Emit: func(b []byte) { said.Write(b) }, EmitThinking: func(b []byte) { thought.Write(b) },
				}
				if s.Rollouts.N > 0 {
					req.Rerank = func(_ context.Context, texts []string) ([]float64, error) {
						for _, text := range texts {
							if strings.ContainsAny(text, "abef") {
								t.Errorf("%s: the reward was shown %q", s.Method, text)
							}
						}
						return make([]float64, len(texts)), nil
					}
				}
				var r decode.Response
				job, err := s.Job(e, req, func(got decode.Response) { r = got })
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
				var all strings.Builder
				for _, y := range r.Tokens {
					if y != end {
						all.WriteByte(letters[y])
					}
				}
				inside, answer, closed := strings.Cut(strings.TrimPrefix(all.String(), "e"), "f")
				if r.Thinking != inside || r.Text != answer || closed && strings.ContainsAny(answer, "ab") {
					t.Errorf("%s, %+v: %q is taken for the thought %q and the answer %q", s.Method, thoughts, all.String(), r.Thinking, r.Text)
				}
				if thoughts.Limited && (len(inside) > thoughts.Budget || !closed) {
					t.Errorf("%s, %+v: thought %q", s.Method, thoughts, inside)
				}
				if said.String() != r.Text || thought.String() != r.Thinking {
					t.Errorf("%s: handed out %q and %q of %q and %q", s.Method, thought.String(), said.String(), r.Thinking, r.Text)
				}
				if s.Method == decode.MethodSample && r.KL != 0 || math.IsNaN(r.KL) || math.IsInf(r.KL, 0) {
					t.Errorf("%s, %+v: KL %v", s.Method, thoughts, r.KL)
				}
			}
		}
	}
}

// Guidance of one part leaves the other to the base policy.
func TestGuidedPart(t *testing.T) {
	e, marks := thinker(t)
	guide := decode.Guide{TopK: 3, Beta: 1000, Rest: decode.RestNone}
	for _, s := range []decode.Strategy{
		{Method: decode.MethodTokenwise, Guide: guide},
		{Method: decode.MethodGreedy, Guide: guide},
		{Method: decode.MethodOnePass, Guide: guide},
		{Method: decode.MethodBlockSampling, Guide: guide, Beam: decode.Beam{Block: 1}},
		{Method: decode.MethodBestOfN, N: 60},
		{Method: decode.MethodBlockBestOfK, N: 60, Beam: decode.Beam{Block: 2}},
		{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 6, Block: 2}},
	} {
		for _, part := range []decode.Guided{decode.GuidedThinking, decode.GuidedAnswer, decode.GuidedAll} {
			others := map[bool]int{} // letters that guidance avoids, in the thought or not
			for key := range uint64(20) {
				req := decode.Request{
					Prompt: []int32{begin}, MaxTokens: 24, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: lettersWorth{short},
					Thinks: marks, Thoughts: decode.Thoughts{Limited: true, Budget: 3, Guided: part},
				}
				var r decode.Response
				job, err := s.Job(e, req, func(got decode.Response) { r = got })
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
				others[true] += strings.Count(r.Thinking, "a")
				others[false] += strings.Count(r.Text, "c")
				if s.Tokenwise() != (r.KLKind == decode.KLExact) || r.KL < 0 || len(r.Text) == 0 && part != decode.GuidedThinking {
					t.Errorf("%s of %q: KL %v, %s, answer %q", s.Method, part, r.KL, r.KLKind, r.Text)
				}
			}
			if free := part == decode.GuidedAnswer; free != (others[true] > 5) {
				t.Errorf("%s of %q: %d a in thoughts", s.Method, part, others[true])
			}
			if free := part == decode.GuidedThinking; free != (others[false] > 5) {
				t.Errorf("%s of %q: %d c in answers", s.Method, part, others[false])
			}
		}
	}
}

func TestThoughtsChecked(t *testing.T) {
	e, marks := thinker(t)
	for want, req := range map[string]decode.Request{
		"no part":       {Thinks: marks, Thoughts: decode.Thoughts{Guided: "end"}},
		"no thoughts":   {Thoughts: decode.Thoughts{Guided: decode.GuidedAnswer}},
		"a budget of":   {Thinks: marks, Thoughts: decode.Thoughts{Limited: true, Budget: -1}},
		"among thought": {Thinks: marks, Thoughts: decode.Thoughts{Guided: decode.GuidedThinking}, Rerank: words},
	} {
		req.Prompt, req.MaxTokens, req.Sampling, req.Value = []int32{begin}, 4, policy.Sampling{Temp: 1}, lettersWorth{short}
		_, err := decode.Strategy{Method: decode.MethodBestOfN, N: 2}.Job(e, req, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A grammar is of the answer alone, whether the thought before it ends by itself or is ended.
func TestThoughtsBeforeGrammar(t *testing.T) {
	e, marks := thinker(t)
	for _, s := range strategies() {
		for _, thoughts := range []decode.Thoughts{{}, {Limited: true}, {Limited: true, Budget: 2}, {Limited: true, Budget: 2, Guided: decode.GuidedAnswer}} {
			if s.Method == decode.MethodGreedy && !thoughts.Limited {
				continue // it would think for ever
			}
			for key := range uint64(6) {
				req := decode.Request{
					Prompt: []int32{begin, token('e')}, MaxTokens: 40, Sampling: policy.Sampling{Temp: 1, Grammar: `root ::= "d" "c" "c"`}, Key: key,
					Value: lettersWorth{short}, Thinks: marks, Thoughts: thoughts,
				}
				var r decode.Response
				job, err := s.Job(e, req, func(got decode.Response) { r = got })
				if err != nil {
					t.Fatal(err)
				}
				run(t, e, job)
				if r.Text != "dcc" || r.Finish != decode.FinishEOG || thoughts.Limited && len(r.Thinking) > thoughts.Budget {
					t.Errorf("%s, %+v: %q after %q (%s)", s.Method, thoughts, r.Text, r.Thinking, r.Finish)
				}
			}
		}
	}
}

// openThinker is the lab's model that thinks.
func openThinker(t *testing.T) (*engine.Engine, *prompt.Encoder) {
	t.Helper()
	m, err := llama.Load("../../testdata/lab/lab-think.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(m, engine.Params{Threads: 1, Sequences: 32, Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return e, encoder
}

// A real model's thought is found, and the states within it say so: a head knows which it is in. Heads that were learned
// without that guide it as well.
func TestHeadsKnowThoughts(t *testing.T) {
	e, encoder := openThinker(t)
	const post = "i misplaced a yellow piano last week. i cracked a dusty helmet at work. that is all. i bought a red bell at work. yesterday, by the river, " +
		"i auctioned a huge guitar. i stashed a leather sofa years ago. i spotted a vintage book years ago. i dreamed that i painted a shiny drum.\nTL;DR:"
	tokens, err := encoder.Encode(prompt.Record{Text: post})
	if err != nil {
		t.Fatal(err)
	}
	base := decode.Request{Prompt: tokens, MaxTokens: 90, Sampling: policy.Sampling{Temp: 0.7}, Thinks: encoder.Thinks()}
	of := map[string]*valuehead.Dataset{}
	width := len(value.ScalarsOf(true))
	for name, thinks := range map[string]bool{"thinking": true, "before": false} {
		s := schema(t, e)
		s.Scalars = value.ScalarsOf(thinks)
		options := valuehead.FeatureOptions{Layers: []int{}, Blocks: []valuehead.Block{valuehead.Scalar}}
		if thinks {
			options.Scalars = []string{"thinking"}
		}
		f, err := valuehead.NewFeatures(s, options)
		if err != nil {
			t.Fatal(err)
		}
		of[name] = valuehead.NewDataset(f)
	}
	for key := range uint64(12) {
		req := base
		req.Key, req.Record, req.RecordPrompt = key, true, true
		for k, r := range sample(t, e, req, 4) {
			if r.Thinking == "" || strings.Contains(r.Text, "think") || len(r.Scalars) != width*len(r.Tokens) {
				t.Fatalf("thought %q, answered %q, %d scalars of %d tokens", r.Thinking, r.Text, len(r.Scalars), len(r.Tokens))
			}
			// States within thoughts are worth 1 and others nothing, which a head of that indicator alone can know.
			for _, data := range of {
				for _, inside := range []float32{0, 1} {
					part := &states.Trajectory{Prompt: fmt.Sprint(key), Sample: 2*k + int(inside)}
					for i, token := range r.Tokens {
						if scalars := r.Scalars[i*width:][:width]; scalars[value.Thinking] == inside {
							part.Tokens = append(part.Tokens, token)
							part.Hidden = append(part.Hidden, r.States[i*len(r.States)/len(r.Tokens):][:len(r.States)/len(r.Tokens)]...)
							part.Scalars = append(part.Scalars, scalars[:len(data.Features().Schema().Scalars)]...)
							part.Candidates = append(part.Candidates, r.Candidates[i*decode.Candidates:][:decode.Candidates]...)
							part.CandidateLogProbs = append(part.CandidateLogProbs, r.CandidateLogProbs[i*decode.Candidates:][:decode.Candidates]...)
						}
					}
					if len(part.Tokens) < 3 {
						t.Errorf("%d of %d states are of inside %v: thought %q", len(part.Tokens), len(r.Tokens), inside, r.Thinking)
					}
					if err := data.AddExample(valuehead.Example{Return: inside, Prompt: r.Prompt, Trajectory: part}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
	for name, data := range of {
		head, _, err := valuehead.Train(t.Context(), data, valuehead.TrainOptions{Kind: valuehead.MLP, Epochs: 30, Batch: 64, HeldOut: 0.2, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []decode.Strategy{{Method: decode.MethodSample}, {Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 2, Block: 4}}} {
			req := base
			req.Key, req.Value, req.EachValue, req.Record = 99, value.Head(head, valuehead.Reading{}), true, true
			var r decode.Response
			job, err := s.Job(e, req, func(got decode.Response) { r = got })
			if err != nil {
				t.Fatal(err)
			}
			run(t, e, job)
			wrong := 0
			for i, v := range r.Values {
				if (v > 0.5) != (r.Scalars[i*width+value.Thinking] == 1) {
					wrong++
				}
			}
			if name == "thinking" && wrong > 0 || len(r.Values) != len(r.Tokens) {
				t.Errorf("%s by a head of %s: %d of %d values tell the thought from the answer wrongly", s.Method, name, wrong, len(r.Values))
			}
		}
	}
}
