package llama_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// Contexts of an adapted model compute as those that were given the adapters one by one, and its fingerprint is
// that of its weights with the adapters, in any order.
func TestAdapt(t *testing.T) {
	a, b := newAdapter(1).write(t, nil), newAdapter(2).write(t, nil)
	direction := make([]float32, testWidth)
	for i := range direction {
		direction[i] = float32(i%3) - 1
	}
	vector := filepath.Join(t.TempDir(), "v.gguf")
	if err := gguf.Write(vector, []gguf.KV{{Key: "general.architecture", Value: "controlvector"}},
		[]gguf.Tensor{{Name: "direction.1", Shape: []uint64{testWidth}, Data: direction}}); err != nil {
		t.Fatal(err)
	}
	path := randomModel(t, "llama", 5, nil)
	plain := load(t, path)
	weights, err := plain.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	la, err := plain.LoadLoRA(a)
	if err != nil {
		t.Fatal(err)
	}
	lb, err := plain.LoadLoRA(b)
	if err != nil {
		t.Fatal(err)
	}
	v, err := llama.ReadControlVector(vector)
	if err != nil {
		t.Fatal(err)
	}
	double := &llama.ControlVector{}
	if err := double.Add(v, 2); err != nil {
		t.Fatal(err)
	}
	c := newContext(t, plain, exact)
	if err := c.SetLoRA(llama.LoRAScale{LoRA: la, Scale: 2}, llama.LoRAScale{LoRA: lb, Scale: -0.5}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetControlVector(double, 0, 0); err != nil {
		t.Fatal(err)
	}
	want, _ := feed(t, c, 0, 0, 10, 20, 30)
	var prints []string
	for _, adapters := range []llama.Adapters{
		{LoRA: []llama.AdapterFile{{Path: a, Scale: 2}, {Path: b, Scale: -0.5}}, Control: []llama.AdapterFile{{Path: vector, Scale: 2}}},
		{LoRA: []llama.AdapterFile{{Path: b, Scale: -0.5}, {Path: a, Scale: 2}}, Control: []llama.AdapterFile{{Path: vector, Scale: 2}}},
		{LoRA: []llama.AdapterFile{{Path: a, Scale: 2}, {Path: b, Scale: -0.5}}},
		{Control: []llama.AdapterFile{{Path: vector, Scale: 2}}, From: 1, To: 1},
		{},
	} {
		m := load(t, path)
		if err := m.Adapt(adapters); err != nil {
			t.Fatal(err)
		}
		print, err := m.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		prints = append(prints, print)
		got, _ := feed(t, newContext(t, m, exact), 0, 0, 10, 20, 30)
		if same := maxDiff(got, want) < 1e-5; same != (len(prints) <= 2) {
			t.Errorf("%+v: off by %g from adapters that were set one by one", adapters, maxDiff(got, want))
		}
		if err := m.Adapt(llama.Adapters{LoRA: []llama.AdapterFile{{Path: a, Scale: 1}}}); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("adapted where there is a context: %v", err)
		}
	}
	if prints[0] != prints[1] || prints[4] != weights || !strings.HasPrefix(prints[0], weights+"+control-") || !strings.Contains(prints[0], "*-0.5+lora-") && !strings.Contains(prints[0], "*2+lora-") || !strings.HasSuffix(prints[3], "*2[1-1]") {
		t.Errorf("fingerprints %s of the weights %s", prints, weights)
	}
	for want, adapters := range map[string]llama.Adapters{
		"general.type":      {LoRA: []llama.AdapterFile{{Path: path, Scale: 1}}},
		"layers run from 1": {Control: []llama.AdapterFile{{Path: vector, Scale: 1}}, From: 1, To: 100},
		"is no direction":   {Control: []llama.AdapterFile{{Path: a, Scale: 1}}},
	} {
		if err := load(t, path).Adapt(adapters); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	narrow := filepath.Join(t.TempDir(), "narrow.gguf")
	if err := gguf.Write(narrow, []gguf.KV{{Key: "general.architecture", Value: "controlvector"}}, []gguf.Tensor{{Name: "direction.1", Shape: []uint64{4}, Data: direction[:4]}}); err != nil {
		t.Fatal(err)
	}
	if err := load(t, path).Adapt(llama.Adapters{Control: []llama.AdapterFile{{Path: narrow, Scale: 1}}}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("a width of 4, the model's is %d", testWidth)) {
		t.Error(err)
	}
}
