package valuehead

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// wideSchema has states wide enough for random ones to differ. The prompts have the second
// layer, columns 24 to 47 of a row of either layout.
var wideSchema = states.Schema{Backbone: "model-a", Layers: []int{2, 4}, Width: 48, Scalars: []string{"logp"}, Prompts: true, PromptLayers: []int{4}}

// Before training, a state attracts the token of the prompt that has the same, if that is
// what attention is to search for, though no token matches.
func TestMatchStart(t *testing.T) {
	const n = 40
	for name, layout := range map[string]FeatureOptions{"after the token": FeaturesOf(Recall), "before the token": CandidateFeatures(wideSchema)} {
		for match, fits := range map[Match]func(own float32) bool{
			MatchStates: func(own float32) bool { return own > 0.7 },
			MatchTokens: func(own float32) bool { return own < 0.1 },
		} {
			shape := Shape{Match: match, Embedding: 8, Vocabulary: 3}
			shape.defaults(Recall)
			h, err := newHead(Recall, shape, mustFeatures(t, wideSchema, layout))
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(2, 2))
			h.model.init(h.params, rng)
			w, pw := h.features.Width(), h.promptWidth()
			s := randomBatch(rng, w, pw, 1, []int{n}, []int{n})
			for i := range n {
				s.promptIDs[0][i] = 100
				copy(s.x[i*w+24:i*w+48], s.p[i*pw:(i+1)*pw])
			}
			h.forward(s)
			own, alpha := float32(0), s.tape.(*recallTape).alpha[0]
			for i := range n {
				own += alpha[i*(n+1)+i] / n
			}
			if !fits(own) {
				t.Errorf("%s, match %s: a weight of %g on the same state", name, match, own)
			}
		}
	}
}

// paraphrases are responses as those of copies, in the tokens of another vocabulary: only
// the states after a token tell which word it is.
func paraphrases(t testing.TB, n int) *Dataset {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	d := NewDataset(mustFeatures(t, wideSchema, FeatureOptions{Layers: []int{4}, Blocks: []Block{Hidden}}))
	const words, pw = 16, 24
	meaning := make([]float32, words*pw)
	normal(meaning, rng, 1)
	for i := range n {
		p, tr := randomExample(rng, wideSchema)
		p.ID = fmt.Sprint("prompt ", i)
		tr.Prompt = p.ID
		var ret float32
		for j, k := range rng.Perm(words)[:len(p.Tokens)] {
			p.Tokens[j] = int32(100 + k)
			copy(p.Hidden[j*pw+1:(j+1)*pw], meaning[k*pw:])
		}
		for j := range tr.Tokens {
			k := int32(rng.IntN(words))
			tr.Tokens[j] = k
			copy(tr.Hidden[j*2*pw+pw+1:(j+1)*2*pw], meaning[k*pw:])
			if at := slices.Index(p.Tokens, 100+k); at >= 0 {
				ret += p.Hidden[at*pw]
			}
		}
		if err := d.AddExample(Example{Trajectory: tr, Return: ret, Prompt: p}); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// Where no token of the response stands in the prompt, attention that starts from like
// states learns what it finds, and attention that starts from tokens does not.
func TestMatchStatesLearns(t *testing.T) {
	last := func(m Match) float64 {
		_, r := mustTrain(t, paraphrases(t, 1000), TrainOptions{
			Kind: Recall, Hidden: 24, Epochs: 10, Rate: 0.01, HeldOut: 0.2, Dropout: -1, Seed: 1,
			Shape: Shape{Match: m, Project: 24, Channels: 8, Keys: 16, Values: 6, Products: 2, Scan: -1},
		})
		return r.HeldOut.Last.R2
	}
	if s, tok := last(MatchStates), last(MatchTokens); s < 0.6 || tok > 0.25 {
		t.Errorf("the last state explains %v from like states and %v from tokens", s, tok)
	}
}

// A head keeps its match, and one of a file without it is of tokens.
func TestMatchSaveLoad(t *testing.T) {
	small := Shape{Match: MatchStates, Hidden: 3, Project: 2, Channels: 2, Keys: 2, Values: 2, Products: 2, Members: 2}
	h, _ := mustTrain(t, copies(t, 20, FeaturesOf(Recall)), TrainOptions{Kind: Recall, Shape: small, Epochs: 1})
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got.Shape() != h.Shape() || got.Shape().Match != MatchStates {
		t.Fatalf("loaded %+v, saved %+v: %v", got.Shape(), h.Shape(), err)
	}
	for want, change := range map[Match]func([]gguf.KV) []gguf.KV{
		MatchTokens: func(kvs []gguf.KV) []gguf.KV {
			return slices.DeleteFunc(kvs, func(kv gguf.KV) bool { return kv.Key == keyMatch })
		},
		"": func(kvs []gguf.KV) []gguf.KV { // is refused
			kvs[slices.IndexFunc(kvs, func(kv gguf.KV) bool { return kv.Key == keyMatch })].Value = "sounds"
			return kvs
		},
	} {
		got, err := Load(rewritten(t, path, change))
		if (err == nil) != (want != "") || err == nil && got.Shape().Match != want {
			t.Errorf("error %v, want a head of match %q", err, want)
		}
	}
}

// rewritten is the path of a copy of a head's file with other metadata.
func rewritten(t *testing.T, path string, change func([]gguf.KV) []gguf.KV) string {
	t.Helper()
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	kvs := change(slices.DeleteFunc(slices.Clone(f.KVs), func(kv gguf.KV) bool { return kv.Key == keyChecksum }))
	sum := newChecksum()
	for _, kv := range kvs {
		sum.kv(kv)
	}
	var tensors []gguf.Tensor
	for _, x := range f.Tensors {
		data, err := f.ReadF32(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		sum.floats(x.Name, data)
		tensors = append(tensors, gguf.Tensor{Name: x.Name, Shape: x.Shape, Data: data})
	}
	out := filepath.Join(t.TempDir(), "rewritten.gguf")
	if err := gguf.Write(out, append(kvs, gguf.KV{Key: keyChecksum, Value: sum.digest.Sum64()}), tensors); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMatchRefuses(t *testing.T) {
	d := copies(t, 4, FeatureOptions{Blocks: []Block{Scalar, Length}})
	for _, m := range []Match{MatchStates, "sounds"} {
		if _, _, err := Train(t.Context(), d, TrainOptions{Kind: Recall, Shape: Shape{Match: m}}); err == nil {
			t.Errorf("match %s of rows without states was taken", m)
		}
	}
}
