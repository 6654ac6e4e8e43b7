package states

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var (
	testSchema   = Schema{Backbone: "sha256:ab12", Layers: []int{2, 4}, Width: 6, Scalars: []string{"logp", "entropy", "rank"}, Top: 64, Candidates: 2}
	promptSchema = Schema{Backbone: "sha256:ab12", Layers: []int{2, 4}, Width: 6, Scalars: []string{"logp"}, Prompts: true, PromptLayers: []int{4}}
	// tiny makes several blocks and pages of a few trajectories.
	tiny = Options{BlockBytes: 700, pageBytes: 300}
)

// sample makes n trajectories whose hidden floats are exact in half precision.
func sample(n int, s Schema, seed uint64) []Trajectory {
	out, _ := scored(n, s, seed)
	return out
}

// scored is sample with rewards.
func scored(n int, s Schema, seed uint64) (out []Trajectory, rewards []float32) {
	rng := rand.New(rand.NewPCG(seed, 0))
	out = make([]Trajectory, n)
	for i := range out {
		t := &out[i]
		length := rng.IntN(8) // some responses are empty
		*t = Trajectory{
			Prompt: fmt.Sprint("prompt-", i/4), Sample: i % 4,
			Tokens:  make([]int32, length),
			Hidden:  make([]float32, length*s.Width),
			Scalars: make([]float32, length*len(s.Scalars)),
		}
		rewards = append(rewards, rng.Float32())
		for k := range t.Tokens {
			t.Tokens[k] = rng.Int32N(32000)
		}
		for k := range t.Hidden {
			t.Hidden[k] = fromHalf(toHalf(float32(rng.NormFloat64())))
		}
		for k := range t.Scalars {
			t.Scalars[k] = float32(rng.NormFloat64())
		}
		if s.Candidates == 0 {
			continue
		}
		t.Candidates, t.CandidateLogProbs = make([]int32, length*s.Candidates), make([]float32, length*s.Candidates)
		for k := range t.Candidates {
			t.Candidates[k] = rng.Int32N(32000)
			t.CandidateLogProbs[k] = fromHalf(toHalf(float32(-rng.ExpFloat64())))
		}
	}
	return out, rewards
}

// promptsOf makes the prompts of trajectories.
func promptsOf(trajectories []Trajectory, s Schema) []Prompt {
	rng := rand.New(rand.NewPCG(7, 0))
	var out []Prompt
	for i, t := range trajectories {
		if i > 0 && t.Prompt == trajectories[i-1].Prompt {
			continue
		}
		n := rng.IntN(12)
		p := Prompt{ID: t.Prompt, Tokens: make([]int32, n), Hidden: make([]float32, n*s.PromptWidth())}
		for k := range p.Tokens {
			p.Tokens[k] = rng.Int32N(32000)
		}
		for k := range p.Hidden {
			p.Hidden[k] = fromHalf(toHalf(float32(rng.NormFloat64())))
		}
		out = append(out, p)
	}
	return out
}

// shard writes a finished shard of small blocks.
func shard(t testing.TB, s Schema, prompts []Prompt, trajectories []Trajectory) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shard")
	if err := write(path, s, prompts, trajectories, tiny); err != nil {
		t.Fatal(err)
	}
	return path
}

// equal compares trajectories.
func equal(a, b []Trajectory) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

func TestRoundTrip(t *testing.T) {
	for name, test := range map[string]struct {
		schema Schema
		n      int
	}{
		"no trajectories": {testSchema, 0},
		"one block":       {testSchema, 8},
		"several blocks":  {testSchema, 200},
		"bf16":            {Schema{Backbone: "m", Layers: []int{1}, Width: 3, Float: BF16}, 10},
		"f32":             {Schema{Backbone: "m", Layers: []int{1}, Width: 3, Float: F32}, 10},
		"scalars only":    {Schema{Backbone: "m", Scalars: []string{"logp"}}, 10},
		"tokens only":     {Schema{Backbone: "m"}, 10},
		"candidates only": {Schema{Backbone: "m", Candidates: 3}, 10},
		"hidden only":     {Schema{Backbone: "m", Layers: []int{1}, Width: 3}, 10},
		"prompts":         {promptSchema, 40},
		"prompt tokens":   {Schema{Backbone: "m", Layers: []int{1}, Width: 3, Prompts: true}, 40},
	} {
		t.Run(name, func(t *testing.T) {
			want := sample(test.n, test.schema, 1)
			if test.schema.Float == BF16 {
				for _, tr := range want {
					for k, v := range tr.Hidden {
						tr.Hidden[k] = through(BF16, v)
					}
				}
			}
			var prompts []Prompt
			if test.schema.Prompts {
				prompts = promptsOf(want, test.schema)
			}
			path := shard(t, test.schema, prompts, want)
			got, err := Read(path, test.schema)
			if err != nil {
				t.Fatal(err)
			}
			if !equal(got, want) {
				t.Fatal("the trajectories changed on the way through the file")
			}
			r, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for _, p := range prompts {
				if got, err := r.Prompt(p.ID); err != nil || !reflect.DeepEqual(got, p) {
					t.Fatalf("prompt %s changed on the way through the file (%v)", p.ID, err)
				}
			}
			one, _ := os.ReadFile(path)
			two, _ := os.ReadFile(shard(t, test.schema, prompts, want))
			if !bytes.Equal(one, two) {
				t.Error("the same content gave different bytes")
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	base := func() Trajectory {
		return Trajectory{
			Tokens: []int32{1}, Hidden: make([]float32, 6), Scalars: make([]float32, 3),
			Candidates: make([]int32, 2), CandidateLogProbs: make([]float32, 2),
		}
	}
	for name, test := range map[string]struct {
		schema  func(*Schema)
		spoil   func(*Trajectory)
		prompts []Prompt
		want    string
	}{
		"short hidden":     {nil, func(t *Trajectory) { t.Hidden = t.Hidden[1:] }, nil, "hidden floats"},
		"short scalars":    {nil, func(t *Trajectory) { t.Scalars = nil }, nil, "scalars"},
		"NaN state":        {nil, func(t *Trajectory) { t.Hidden[3] = float32(math.NaN()) }, nil, "NaN"},
		"short candidates": {nil, func(t *Trajectory) { t.Candidates = nil }, nil, "candidates"},
		"impossible one":   {nil, func(t *Trajectory) { t.CandidateLogProbs[1] = float32(math.Inf(-1)) }, nil, "-Inf"},
		"senseless top":    {func(s *Schema) { s.Top = -1 }, nil, nil, "-1 tokens"},
		"too many":         {func(s *Schema) { s.Candidates = 1 << 20 }, nil, nil, "1048576 candidates"},
		"infinite logp":    {nil, func(t *Trajectory) { t.Scalars[0] = float32(math.Inf(-1)) }, nil, "-Inf"},
		"beyond f16":       {func(s *Schema) { s.Float = F16 }, func(t *Trajectory) { t.Hidden[5] = -65520 }, nil, "states.BF16"},
		"beyond bf16":      {func(s *Schema) { s.Float = BF16 }, func(t *Trajectory) { t.Hidden[5] = math.MaxFloat32 }, nil, "states.F32"},
		"sample":           {nil, func(t *Trajectory) { t.Sample = -1 }, nil, "sample"},
		"uneven layers":    {func(s *Schema) { s.Width = 5 }, nil, nil, "one width"},
		"scalar twice":     {func(s *Schema) { s.Scalars = []string{"a", "b", "a"} }, nil, nil, "twice"},
		"negative width":   {func(s *Schema) { s.Width = -2 }, nil, nil, "-2 floats"},
		"float":            {func(s *Schema) { s.Float = "f8" }, nil, nil, "f8"},
		"prompt layer":     {func(s *Schema) { s.Prompts, s.PromptLayers = true, []int{3} }, nil, nil, "layer 3"},
		"layers of none":   {func(s *Schema) { s.PromptLayers = []int{2} }, nil, nil, "not stored"},
		"no prompts":       {nil, nil, []Prompt{{}}, "Schema.Prompts"},
		"prompt missing":   {func(s *Schema) { s.Prompts = true }, nil, nil, "AppendPrompt"},
		"prompt twice":     {func(s *Schema) { s.Prompts = true }, nil, []Prompt{{}, {}}, "already"},
		"prompt's states":  {func(s *Schema) { s.Prompts = true }, nil, []Prompt{{Hidden: make([]float32, 3)}}, "hidden floats"},
		"prompt's outlier": {func(s *Schema) { s.Float, s.Prompts, s.PromptLayers = F16, true, []int{2} }, nil, []Prompt{{Tokens: []int32{1}, Hidden: []float32{1e6, 0, 0}}}, "states.BF16"},
	} {
		t.Run(name, func(t *testing.T) {
			s, tr := testSchema, base()
			if test.schema != nil {
				test.schema(&s)
			}
			if test.spoil != nil {
				test.spoil(&tr)
			}
			path := filepath.Join(t.TempDir(), "shard")
			err := Write(path, s, test.prompts, []Trajectory{tr})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a file was left behind")
			}
		})
	}
}

// Write chooses the type by the values, where the schema leaves it open.
func TestWriteChoosesFloat(t *testing.T) {
	for want, outlier := range map[Float]float32{F16: 65504, BF16: 1e5} {
		trajectories := sample(4, testSchema, 1)
		trajectories[3].Tokens, trajectories[3].Scalars, trajectories[3].Hidden = []int32{1}, make([]float32, 3), []float32{0, outlier, 0, 0, 0, 0}
		trajectories[3].Candidates, trajectories[3].CandidateLogProbs = make([]int32, 2), make([]float32, 2)
		r, err := Open(shard(t, testSchema, nil, trajectories))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got := r.Schema().Float; got != want {
			t.Errorf("states up to %g are stored as %s, want %s", outlier, got, want)
		}
		if err := r.Expect(testSchema); err != nil {
			t.Error(err)
		}
	}
}

func TestExpect(t *testing.T) {
	path := shard(t, testSchema, nil, nil)
	for want, change := range map[string]func(*Schema){
		"model":           func(s *Schema) { s.Backbone = "other" },
		"layers":          func(s *Schema) { s.Layers = []int{2, 3} },
		"12 floats":       func(s *Schema) { s.Width = 12 },
		"scalar features": func(s *Schema) { s.Scalars = []string{"logp"} },
		"likeliest":       func(s *Schema) { s.Top = 32 },
		"candidates":      func(s *Schema) { s.Candidates = 3 },
		"prompts":         func(s *Schema) { s.Prompts = true },
	} {
		s := testSchema
		change(&s)
		_, err := Read(path, s)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
	// Who reads neither ranks nor candidates need not ask for any.
	s := testSchema
	s.Top, s.Candidates = 0, 0
	if _, err := Read(path, s); err != nil {
		t.Error(err)
	}
}

// old are the shards of earlier versions: testdata/v1.states, in blocks of 1 KiB, and
// testdata/v2.states, with prompts, hold what scored(24, schema, 2) made.
var old = map[string]Schema{
	"v1.states": {Backbone: "sha256:ab12", Layers: []int{2, 4}, Width: 6, Scalars: []string{"logp", "entropy", "rank"}},
	"v2.states": promptSchema,
}

// checkOld compares a shard with one of the old ones.
func checkOld(t *testing.T, path string, s Schema) {
	t.Helper()
	want, rewards := scored(24, s, 2)
	got, err := Read(path, s)
	if err != nil {
		t.Fatal(err)
	}
	if !equal(got, want) {
		t.Errorf("%s: other trajectories than were written", path)
	}
	set, err := OpenSet([]string{path}, s)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range rewards {
		if got, err := set.Reward(i); err != nil || got != want {
			t.Fatalf("%s: trajectory %d has the reward %v (%v), want %v", path, i, got, err, want)
		}
	}
}

func TestReadsOldVersions(t *testing.T) {
	for name, s := range old {
		checkOld(t, filepath.Join("testdata", name), s)
	}
	v3 := filepath.Join(t.TempDir(), "v3.states")
	if err := write(v3, testSchema, nil, sample(300, testSchema, 1), Options{version: 3}); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(v3, testSchema); err != nil || !equal(got, sample(300, testSchema, 1)) {
		t.Errorf("version 3: other trajectories than were written: %v", err)
	}
	set, err := OpenSet([]string{shard(t, testSchema, nil, sample(3, testSchema, 1))}, testSchema)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := set.Reward(2); err != nil || got == got {
		t.Errorf("reward %v, error %v; want NaN and none", got, err)
	}
	if _, err := set.Reward(3); err == nil {
		t.Error("a trajectory that is not there has a reward")
	}
}

// A shard of version 1 is all or nothing.
func TestDamagedVersion1(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "v1.states"))
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(what string, data []byte) {
		t.Helper()
		if _, err := memory(data); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	for i := range data {
		refuse(fmt.Sprint("cut at ", i), data[:i])
		flipped := bytes.Clone(data)
		flipped[i] ^= 1 << (i % 8)
		refuse(fmt.Sprint("byte ", i), flipped)
	}
	refuse("a byte more", append(bytes.Clone(data), 0))
}
