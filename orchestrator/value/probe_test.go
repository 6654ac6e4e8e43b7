package value

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

const lab = "../../testdata/lab/summarize-s.gguf"

func open(t *testing.T, path string) *llama.Model {
	t.Helper()
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// acquainted is a head on the states of a model, with a probe.
func acquainted(t *testing.T, m *llama.Model) *valuehead.Head {
	t.Helper()
	fingerprint, err := m.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	norms, err := llama.Norms(m.Metadata())
	if err != nil || norms == "" {
		t.Fatalf("norms %q, %v", norms, err)
	}
	layers := []int{3, 5}
	schema := states.Schema{Backbone: fingerprint, Norms: norms, Layers: layers, Width: len(layers) * m.Info().Width, Scalars: Scalars, Prompts: true}
	f, err := valuehead.NewFeatures(schema, valuehead.FeaturesOf(valuehead.Linear))
	if err != nil {
		t.Fatal(err)
	}
	data := valuehead.NewDataset(f)
	for i, text := range []string{"i got a red lamp yesterday. my cousin lost a tiny hat. last week i sold a huge drum.", "i washed a cheap guitar at work. near the station i donated a white basket."} {
		tokens, err := m.Tokenize(text, true, false)
		if err != nil {
			t.Fatal(err)
		}
		from := len(tokens) / 2
		hidden, err := statesOf(m, layers, &valuehead.Probe{Tokens: tokens, From: from})
		if err != nil {
			t.Fatal(err)
		}
		n := len(tokens) - from
		err = data.AddExample(valuehead.Example{
			Prompt: &states.Prompt{ID: text, Tokens: tokens[:from]}, Return: float32(i),
			Trajectory: &states.Trajectory{Prompt: text, Tokens: tokens[from:], Hidden: hidden, Scalars: make([]float32, n*len(Scalars))},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	h, _, err := valuehead.Train(t.Context(), data, valuehead.TrainOptions{Kind: valuehead.Linear, Epochs: 1, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	if h, err = valuehead.Load(path); err != nil {
		t.Fatal(err)
	}
	return h
}

// rewritten is the lab model with other tensors.
func rewritten(t *testing.T, change func(*gguf.Tensor)) string {
	t.Helper()
	f, err := gguf.Read(lab)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []gguf.Tensor
	for _, info := range f.Tensors {
		data, err := f.ReadF32(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		x := gguf.Tensor{Name: info.Name, Shape: info.Shape, Data: slices.Clone(data)}
		change(&x)
		tensors = append(tensors, x)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := gguf.Write(path, f.KVs, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

// A head serves the quantizations of its model, which it says, and neither a fine-tuned one nor
// another of the same shape.
func TestRecognize(t *testing.T) {
	own := open(t, lab)
	h := acquainted(t, own)
	dir := t.TempDir()
	var log bytes.Buffer
	old := slog.Default()
	defer slog.SetDefault(old)
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))

	knows := func(what string, m *llama.Model, word string) {
		t.Helper()
		log.Reset()
		src := Head(h, valuehead.Reading{})
		e, err := engine.New(m, engine.Params{Ctx: 256, Sequences: 2, Threads: 1, Layers: []int{3, 5}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if err := errors.Join(src.Check(e), src.Check(e)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := strings.Count(log.String(), "another quantization"); word != "" && n != 1 || word == "" && n != 0 {
			t.Errorf("%s: it says %q", what, log.String())
		}
	}
	refuses := func(what, path, why string) {
		t.Helper()
		err := (&acquaintance{head: h}).knows(open(t, path))
		var f *fault.Error
		if !errors.As(err, &f) && why != "" || err == nil || !strings.Contains(err.Error(), why) || !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("%s: error %v, want one about %q", what, err, why)
		}
	}

	knows("its own model", own, "")
	for _, quantized := range []string{"F16", "Q8_0", "Q5_1", "Q4_0"} {
		path := filepath.Join(dir, quantized+".gguf")
		if err := llama.Quantize(lab, path, llama.QuantizeParams{Type: quantized, Threads: 1}); err != nil {
			t.Fatal(err)
		}
		knows(quantized, open(t, path), "warned")
	}

	// A few steps of training.
	base, err := train.Read(own.Metadata(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := own.Tokenize("the rain in the market is cheap. my uncle got a blue tent, and the tent got my uncle.", true, false)
	if err != nil {
		t.Fatal(err)
	}
	tuned, err := train.Run(t.Context(), base.Config, train.Options{Steps: 3, LR: 1e-4, From: base, Workers: 1}, []train.Doc{{Tokens: tokens}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tuned.gguf")
	if err := tuned.WriteGGUF(path, nil); err != nil {
		t.Fatal(err)
	}
	refuses("fine-tuned", path, "fine-tuning")

	// Other matrices under the same norms.
	rng := rand.New(rand.NewPCG(1, 1))
	refuses("other matrices", rewritten(t, func(x *gguf.Tensor) {
		if len(x.Shape) == 2 && strings.HasPrefix(x.Name, "blk.") {
			rng.Shuffle(len(x.Data), func(i, j int) { x.Data[i], x.Data[j] = x.Data[j], x.Data[i] })
		}
	}), "agree to")
	// And a slight change of them, as a slight adapter makes: the head's values stay what they are.
	knows("slightly other matrices", open(t, rewritten(t, func(x *gguf.Tensor) {
		if len(x.Shape) == 2 {
			for i := range x.Data {
				x.Data[i] *= 1 + 0.01*rng.Float32()
			}
		}
	})), "warned")
}
