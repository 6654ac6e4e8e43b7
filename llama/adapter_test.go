package llama_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

const (
	loraRank  = 2
	loraAlpha = 3
)

// adapter is a LoRA pair for every query matrix of the random model.
type adapter map[string][2][]float32 // A [rank][in], B [out][rank]

func newAdapter(seed uint64) adapter {
	rng := rand.New(rand.NewPCG(seed, 9))
	draw := func() []float32 {
		x := make([]float32, testWidth*loraRank)
		for i := range x {
			x[i] = float32(0.1 * rng.NormFloat64())
		}
		return x
	}
	a := make(adapter)
	for l := range testLayers {
		a[fmt.Sprintf("blk.%d.attn_q.weight", l)] = [2][]float32{draw(), draw()}
	}
	return a
}

func (a adapter) write(t testing.TB, edit func([]gguf.KV, []gguf.Tensor) ([]gguf.KV, []gguf.Tensor)) string {
	t.Helper()
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: "llama"}, {Key: "general.type", Value: "adapter"},
		{Key: "adapter.type", Value: "lora"}, {Key: "adapter.lora.alpha", Value: float32(loraAlpha)},
	}
	var tensors []gguf.Tensor
	for l := range testLayers {
		name := fmt.Sprintf("blk.%d.attn_q.weight", l)
		tensors = append(tensors,
			gguf.Tensor{Name: name + ".lora_a", Shape: []uint64{testWidth, loraRank}, Data: a[name][0]},
			gguf.Tensor{Name: name + ".lora_b", Shape: []uint64{loraRank, testWidth}, Data: a[name][1]})
	}
	if edit != nil {
		kvs, tensors = edit(kvs, tensors)
	}
	path := filepath.Join(t.TempDir(), "lora.gguf")
	if err := gguf.Write(path, kvs, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

// merge adds scale * alpha/rank * B A to the model's weights.
func (a adapter) merge(scale float64) func([]gguf.KV, []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
	return func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		for _, w := range ts {
			p, ok := a[w.Name]
			if !ok {
				continue
			}
			for out := range testWidth {
				for in := range testWidth {
					sum := 0.0
					for r := range loraRank {
						sum += float64(p[1][out*loraRank+r]) * float64(p[0][r*testWidth+in])
					}
					w.Data[out*testWidth+in] += float32(scale * loraAlpha / loraRank * sum)
				}
			}
		}
		return kvs, ts
	}
}

// An adapter at some scale gives what the model with the product added to its weights
// gives; adapters add up; none gives the model itself.
func TestLoRA(t *testing.T) {
	m := load(t, randomModel(t, "llama", 5, nil))
	a, b := newAdapter(1), newAdapter(2)
	la, err := m.LoadLoRA(a.write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	lb, err := m.LoadLoRA(b.write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	c := newContext(t, m, exact)
	logits := func(c *llama.Context) []float32 {
		t.Helper()
		if err := c.Clear(); err != nil {
			t.Fatal(err)
		}
		l, _ := feed(t, c, 0, 0, 10, 20, 30, 40)
		return l
	}
	plain := logits(c)
	for _, test := range []struct {
		name   string
		set    []llama.LoRAScale
		merged func([]gguf.KV, []gguf.Tensor) ([]gguf.KV, []gguf.Tensor)
	}{
		{"one", []llama.LoRAScale{{la, 1}}, a.merge(1)},
		{"half", []llama.LoRAScale{{la, 0.5}}, a.merge(0.5)},
		{"both", []llama.LoRAScale{{la, 2}, {lb, -1}}, func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			return b.merge(-1)(a.merge(2)(kvs, ts))
		}},
		{"the other", []llama.LoRAScale{{lb, 1}}, b.merge(1)},
		{"none", nil, nil},
	} {
		if err := c.SetLoRA(test.set...); err != nil {
			t.Fatal(err)
		}
		want := plain
		if test.merged != nil {
			want = logits(newContext(t, load(t, randomModel(t, "llama", 5, test.merged)), exact))
			if maxDiff(want, plain) < 0.05 {
				t.Fatalf("%s: the adapter changes next to nothing: %g", test.name, maxDiff(want, plain))
			}
		}
		if d := maxDiff(logits(c), want); d > 1e-4 {
			t.Errorf("%s: off by %g from the merged weights", test.name, d)
		}
	}

	young, err := m.LoadLoRA(a.write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	other, err := load(t, randomModel(t, "llama", 6, nil)).LoadLoRA(a.write(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	for want, set := range map[string][]llama.LoRAScale{
		"younger than the context": {{young, 1}}, "another model": {{other, 1}}, "stands twice": {{la, 1}, {la, 1}}, "is nil": {{}},
	} {
		if err := c.SetLoRA(set...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestLoRAErrors(t *testing.T) {
	m := load(t, randomModel(t, "llama", 5, nil))
	set := func(key string, v any) func([]gguf.KV, []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		return func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			kvs = slices.DeleteFunc(kvs, func(kv gguf.KV) bool { return kv.Key == key })
			return append(kvs, gguf.KV{Key: key, Value: v}), ts
		}
	}
	for want, edit := range map[string]func([]gguf.KV, []gguf.Tensor) ([]gguf.KV, []gguf.Tensor){
		"general.type":        set("general.type", "model"),
		"adapter.type":        set("adapter.type", uint32(1)),
		"general.architectur": set("general.architecture", "qwen2"),
		"alpha":               set("adapter.lora.alpha", "3"),
		"one half":            func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) { return kvs, ts[1:] },
		"no tensors":          func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) { return kvs, nil },
		"no half": func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			ts[0].Name = "blk.0.attn_q.weight"
			return kvs, ts
		},
		"no tensor \"blk.9": func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			ts[0].Name, ts[1].Name = "blk.9.attn_q.weight.lora_a", "blk.9.attn_q.weight.lora_b"
			return kvs, ts
		},
		"low-rank pair": func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			ts[0].Shape = []uint64{loraRank, testWidth}
			return kvs, ts
		},
	} {
		if _, err := m.LoadLoRA(newAdapter(1).write(t, edit)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := m.LoadLoRA(filepath.Join(t.TempDir(), "none.gguf")); err == nil {
		t.Error("a missing adapter loaded")
	}
}

// A control vector moves the state after its layer by exactly itself.
func TestControlVector(t *testing.T) {
	m := load(t, randomModel(t, "llama", 7, nil))
	last := testLayers - 1
	direction := make([]float32, testWidth)
	for i := range direction {
		direction[i] = float32(i%5) - 2
	}
	path := filepath.Join(t.TempDir(), "cv.gguf")
	if err := gguf.Write(path, []gguf.KV{{Key: "general.architecture", Value: "controlvector"}},
		[]gguf.Tensor{{Name: fmt.Sprintf("direction.%d", last), Shape: []uint64{testWidth}, Data: direction}}); err != nil {
		t.Fatal(err)
	}
	v, err := llama.ReadControlVector(path)
	if err != nil {
		t.Fatal(err)
	}
	double := &llama.ControlVector{}
	if err := double.Add(v, 2); err != nil {
		t.Fatal(err)
	}
	p := exact
	p.Layers = []int{last - 1, last}
	c := newContext(t, m, p)
	states := func(v *llama.ControlVector, from, to int) []float32 {
		t.Helper()
		if err := c.Clear(); err != nil {
			t.Fatal(err)
		}
		if err := c.SetControlVector(v, from, to); err != nil {
			t.Fatal(err)
		}
		_, s := feed(t, c, 0, 0, 10, 20, 30)
		return s
	}
	plain := states(nil, 0, 0)
	for _, test := range []struct {
		name     string
		v        *llama.ControlVector
		from, to int
		scale    float32
	}{
		{"all layers", v, 0, 0, 1}, {"its layer", double, last, last, 2}, {"another layer", v, 1, last - 1, 0}, {"taken away", nil, 0, 0, 0},
	} {
		want := slices.Clone(plain)
		for i, x := range direction {
			want[testWidth+i] += test.scale * x
		}
		if d := maxDiff(states(test.v, test.from, test.to), want); d > 1e-5 {
			t.Errorf("%s: off by %g", test.name, d)
		}
	}
	for want, err := range map[string]error{
		"layers run from": c.SetControlVector(v, 0, 1),
		"width":           c.SetControlVector(&llama.ControlVector{Width: 3}, 0, 0),
		"for layer 0":     c.SetControlVector(&llama.ControlVector{Width: testWidth, Directions: [][]float32{direction}}, 0, 0),
		"the last of":     c.SetControlVector(&llama.ControlVector{Width: testWidth, Directions: make([][]float32, testLayers+1)}, 0, 0),
		"widths":          double.Add(&llama.ControlVector{Width: 3}, 1),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := llama.ReadControlVector(randomModel(t, "llama", 7, nil)); err == nil {
		t.Error("a model passed for a control vector")
	}
}

// Where no sequence can take a token and drop it again, adapters stay as they are.
func TestAdaptersNeedRoom(t *testing.T) {
	for base, length := range map[string]int{"gpt2": fuzzCtx, "mamba": 3} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := os.WriteFile(path, rawBase(base).bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		c := newContext(t, load(t, path), llama.ContextParams{Ctx: 256})
		for i := range length {
			if _, err := c.Add(1, int32(i), 0, false, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Decode(); err != nil {
			t.Fatal(err)
		}
		if err := c.SetLoRA(); !errors.Is(err, llama.ErrContextFull) {
			t.Errorf("%s: %v", base, err)
		}
		if n, err := c.Len(0); n != length || err != nil {
			t.Errorf("%s: %d tokens, %v", base, n, err)
		}
		if err := c.Clear(); err != nil {
			t.Fatal(err)
		}
		if err := c.SetLoRA(); err != nil {
			t.Errorf("%s, empty: %v", base, err)
		}
	}
}
