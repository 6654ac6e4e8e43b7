package states

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var testSchema = Schema{Backbone: "sha256:ab12", Layers: []int{2, 4}, Width: 6, Scalars: []string{"logp", "entropy", "rank"}}

// sample makes n trajectories whose hidden floats are exact in half precision.
func sample(n int, s Schema, seed uint64) []Trajectory {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]Trajectory, n)
	for i := range out {
		t := &out[i]
		length := rng.IntN(8) // some responses are empty
		*t = Trajectory{
			Prompt: fmt.Sprint("prompt-", i/4), Sample: i % 4, Reward: rng.Float32(),
			Tokens:  make([]int32, length),
			Hidden:  make([]float32, length*s.Width),
			Scalars: make([]float32, length*len(s.Scalars)),
		}
		for k := range t.Tokens {
			t.Tokens[k] = rng.Int32N(32000)
		}
		for k := range t.Hidden {
			t.Hidden[k] = fromHalf(toHalf(float32(rng.NormFloat64())))
		}
		for k := range t.Scalars {
			t.Scalars[k] = float32(rng.NormFloat64())
		}
	}
	return out
}

// shard writes a shard with blocks of about 1 KiB.
func shard(t *testing.T, s Schema, trajectories []Trajectory) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shard")
	if err := write(path, s, trajectories, 1<<10); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	for name, test := range map[string]struct {
		schema Schema
		n      int
	}{
		"no trajectories": {testSchema, 0},
		"one block":       {testSchema, 40},
		"several blocks":  {testSchema, 200},
		"scalars only":    {Schema{Backbone: "m", Scalars: []string{"logp"}}, 10},
		"hidden only":     {Schema{Backbone: "m", Layers: []int{1}, Width: 3}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			want := sample(test.n, test.schema, 1)
			path := shard(t, test.schema, want)
			got, err := Read(path, test.schema)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatal("the trajectories changed on the way through the file")
			}
			one, _ := os.ReadFile(path)
			two, _ := os.ReadFile(shard(t, test.schema, want))
			if !bytes.Equal(one, two) {
				t.Error("the same content gave different bytes")
			}
		})
	}
}

func TestRewardMayBeMissing(t *testing.T) {
	trajectories := sample(1, testSchema, 1)
	trajectories[0].Reward = float32(math.NaN())
	got, err := Read(shard(t, testSchema, trajectories), testSchema)
	if err != nil || got[0].Reward == got[0].Reward {
		t.Fatalf("reward %v, error %v; want NaN and none", got[0].Reward, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	base := func() Trajectory {
		return Trajectory{Tokens: []int32{1}, Hidden: make([]float32, 6), Scalars: make([]float32, 3)}
	}
	for name, test := range map[string]struct {
		schema func(*Schema)
		spoil  func(*Trajectory)
		want   string
	}{
		"short hidden":   {nil, func(t *Trajectory) { t.Hidden = t.Hidden[1:] }, "hidden floats"},
		"short scalars":  {nil, func(t *Trajectory) { t.Scalars = nil }, "scalars"},
		"NaN state":      {nil, func(t *Trajectory) { t.Hidden[3] = float32(math.NaN()) }, "NaN"},
		"infinite logp":  {nil, func(t *Trajectory) { t.Scalars[0] = float32(math.Inf(-1)) }, "-Inf"},
		"sample":         {nil, func(t *Trajectory) { t.Sample = -1 }, "sample"},
		"uneven layers":  {func(s *Schema) { s.Width = 5 }, nil, "one width"},
		"scalar twice":   {func(s *Schema) { s.Scalars = []string{"a", "b", "a"} }, nil, "twice"},
		"negative width": {func(s *Schema) { s.Width = -2 }, nil, "-2 floats"},
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
			err := Write(path, s, []Trajectory{tr})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("a file was left behind")
			}
		})
	}
}

func TestExpect(t *testing.T) {
	path := shard(t, testSchema, nil)
	for want, change := range map[string]func(*Schema){
		"model":           func(s *Schema) { s.Backbone = "other" },
		"layers":          func(s *Schema) { s.Layers = []int{2, 3} },
		"12 floats":       func(s *Schema) { s.Width = 12 },
		"scalar features": func(s *Schema) { s.Scalars = []string{"logp"} },
	} {
		s := testSchema
		change(&s)
		_, err := Read(path, s)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}

// damaged holds a damaged shard to the promise: an *Error, and what was yielded before
// it is a prefix of what was written.
func damaged(t *testing.T, what, path string, data []byte, want []Trajectory) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var got []Trajectory
	r, err := Open(path)
	if err == nil {
		defer r.Close()
		for tr, e := range r.All() {
			if err = e; err == nil {
				got = append(got, tr)
			}
		}
	}
	var fault *Error
	if !errors.As(err, &fault) || fault.Path != path || fault.Hint == "" {
		t.Fatalf("%s: error %v, want an *Error with path and hint", what, err)
	}
	if len(got) > 0 && !reflect.DeepEqual(got, want[:len(got)]) {
		t.Fatalf("%s: wrong data was read", what)
	}
}

// small is a shard of several blocks that is small enough to damage at every byte.
func small(t *testing.T) ([]byte, []Trajectory) {
	t.Helper()
	want := sample(24, testSchema, 2)
	data, err := os.ReadFile(shard(t, testSchema, want))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Count(data, []byte(magicBlock)) < 2 {
		t.Fatal("the test wants several blocks")
	}
	return data, want
}

func TestFlippedByte(t *testing.T) {
	data, want := small(t)
	path := filepath.Join(t.TempDir(), "shard")
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i % 8)
		damaged(t, fmt.Sprint("byte ", i), path, bad, want)
	}
}

func TestTruncated(t *testing.T) {
	data, want := small(t)
	path := filepath.Join(t.TempDir(), "shard")
	for n := range data {
		damaged(t, fmt.Sprint("cut at ", n), path, data[:n], want)
	}
	damaged(t, "a byte more", path, append(bytes.Clone(data), 0), want)
}

func TestBlocksExchanged(t *testing.T) {
	data, want := small(t)
	path := filepath.Join(t.TempDir(), "shard")
	one := bytes.Index(data, []byte(magicBlock))
	two := one + 4 + bytes.Index(data[one+4:], []byte(magicBlock))
	end := bytes.Index(data, []byte(magicEnd))
	bad := append(bytes.Clone(data[:one]), data[two:end]...)
	bad = append(append(bad, data[one:two]...), data[end:]...)
	damaged(t, "blocks exchanged", path, bad, want)
}

func TestErrorNamesBlock(t *testing.T) {
	data, _ := small(t)
	second := bytes.Index(data, []byte(magicBlock))
	second += 4 + bytes.Index(data[second+4:], []byte(magicBlock))
	data[second+100] ^= 1
	path := filepath.Join(t.TempDir(), "shard")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Read(path, testSchema)
	var fault *Error
	if !errors.As(err, &fault) || fault.Block != 1 || !strings.Contains(err.Error(), "block 1") {
		t.Errorf("error %v, want one that names block 1", err)
	}
}

func benchShard(b *testing.B) (Schema, []Trajectory, int64) {
	s := Schema{Backbone: "m", Layers: []int{2, 4}, Width: 256, Scalars: []string{"logp", "entropy", "rank"}}
	trajectories := sample(4000, s, 3)
	n := 0
	for i := range trajectories {
		n += s.payload(&trajectories[i])
	}
	return s, trajectories, int64(n)
}

func BenchmarkWrite(b *testing.B) {
	s, trajectories, n := benchShard(b)
	path := filepath.Join(b.TempDir(), "shard")
	b.SetBytes(n)
	for b.Loop() {
		if err := Write(path, s, trajectories); err != nil {
			b.Fatal(err)
		}
	}
	st, _ := os.Stat(path)
	b.ReportMetric(float64(st.Size())/float64(n), "ratio")
}

func BenchmarkRead(b *testing.B) {
	s, trajectories, n := benchShard(b)
	path := filepath.Join(b.TempDir(), "shard")
	if err := Write(path, s, trajectories); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(n)
	for b.Loop() {
		if _, err := Read(path, s); err != nil {
			b.Fatal(err)
		}
	}
}
