package states_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// record is a line that docs/states.py prints.
type record struct {
	Kind              string
	ID                string
	Sample            int
	Tokens            []int32
	Scalars           [][]float32
	Candidates        [][]int32
	CandidateLogProbs [][]float32 `json:"candidate_logprobs"`
	States            [][]float32
}

// The reader in Python that the documentation shows reads what is written here: of every type of
// floats, in blocks of several pages, with prompts and candidates and without.
func TestPythonReader(t *testing.T) {
	if err := exec.Command("python3", "-c", "import numpy, zstandard").Run(); err != nil {
		t.Skip("no python3 with numpy and zstandard")
	}
	full := states.Schema{Backbone: "b", Layers: []int{0, 5}, Width: 6, Scalars: []string{"logp", "entropy"}, Candidates: 3, Prompts: true, PromptLayers: []int{5}}
	bare := states.Schema{Backbone: "b", Layers: []int{2}, Width: 4}
	for _, schema := range []states.Schema{full, bare} {
		for _, float := range []states.Float{states.F16, states.BF16, states.F32} {
			schema.Float = float
			path := filepath.Join(t.TempDir(), "0000.states")
			w, err := states.Create(path, schema, states.Options{BlockBytes: 6_000})
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 5 {
				prompt := string(rune('α' + i))
				if schema.Prompts {
					n := 1 + rng.IntN(80)
					if err := w.AppendPrompt(&states.Prompt{ID: prompt, Tokens: ints(rng, n), Hidden: floats(rng, n*schema.PromptWidth())}); err != nil {
						t.Fatal(err)
					}
				}
				for sample := range 3 {
					n := 1 + rng.IntN(200)
					tr := states.Trajectory{Prompt: prompt, Sample: sample, Tokens: ints(rng, n), Hidden: floats(rng, n*schema.Width), Scalars: floats(rng, n*len(schema.Scalars))}
					if k := schema.Candidates; k > 0 {
						tr.Candidates, tr.CandidateLogProbs = ints(rng, n*k), floats(rng, n*k)
					}
					if err := w.Append(tr); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got, want := fromPython(t, path), fromGo(t, path); !cmp.Equal(got, want) {
				t.Errorf("%d layers, %s:\n%s", len(schema.Layers), float, cmp.Diff(want, got))
			}
		}
	}
}

func ints(rng *rand.Rand, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = rng.Int32()
	}
	return out
}

func floats(rng *rand.Rand, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(rng.NormFloat64() * math.Pow(10, 1-2*rng.Float64()))
	}
	return out
}

// fromPython is what docs/states.py says of a shard, by name.
func fromPython(t *testing.T, path string) (out []record) {
	t.Helper()
	text, err := exec.Command("python3", "../../docs/states.py", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	for line := range strings.Lines(string(text)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return sorted(out)
}

// fromGo is what the Reader says.
func fromGo(t *testing.T, path string) (out []record) {
	t.Helper()
	r, err := states.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := r.Schema()
	seen := map[string]bool{}
	for tr, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		if s.Prompts && !seen[tr.Prompt] {
			seen[tr.Prompt] = true
			p, err := r.Prompt(tr.Prompt)
			if err != nil {
				t.Fatal(err)
			}
			n := len(p.Tokens)
			out = append(out, record{"prompt", p.ID, 0, p.Tokens, rows[float32](nil, n), rows[int32](nil, n), rows[float32](nil, n), rows(p.Hidden, n)})
		}
		n := len(tr.Tokens)
		out = append(out, record{"trajectory", tr.Prompt, tr.Sample, tr.Tokens, rows(tr.Scalars, n), rows(tr.Candidates, n), rows(tr.CandidateLogProbs, n), rows(tr.Hidden, n)})
	}
	if r.Blocks() < 3 {
		t.Errorf("only %d blocks are read", r.Blocks())
	}
	return sorted(out)
}

func rows[T any](x []T, n int) [][]T {
	out := make([][]T, n)
	for i := range out {
		k := len(x) / n
		out[i] = append([]T{}, x[i*k:(i+1)*k]...)
	}
	return out
}

func sorted(records []record) []record {
	slices.SortStableFunc(records, func(a, b record) int { return strings.Compare(a.Kind+a.ID, b.Kind+b.ID) })
	return records
}
