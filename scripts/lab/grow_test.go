package main

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama/train"
)

// A grown model says the same as the one it was made from, and its two halves part in training.
func TestGrow(t *testing.T) {
	dir := t.TempDir()
	cfg := train.Config{Vocab: 50, Width: 16, Layers: 2, Heads: 2, FF: 24, Context: 32, Tied: true, Theta: ropeTheta}
	small, err := train.New(cfg, 3)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "small.gguf")
	if err := small.WriteGGUF(path, nil); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Width, cfg.Heads, cfg.FF = 32, 4, 48
	large, err := grow(f, cfg, filepath.Join(dir, "large.gguf"), 1)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	var docs []train.Doc
	for range 20 {
		var d train.Doc
		for range 30 {
			d.Tokens = append(d.Tokens, int32(r.IntN(50)))
		}
		docs = append(docs, d)
	}
	loss := func(m *train.Model) float64 {
		t.Helper()
		l, err := m.Loss(t.Context(), docs, 1)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	if a, b := loss(small), loss(large); math.Abs(a-b) > 1e-4 {
		t.Errorf("the loss is %.5f, of the grown model %.5f", a, b)
	}
	trained, err := train.Run(t.Context(), cfg, train.Options{Steps: 3, From: large, Workers: 1}, docs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := trained.WriteGGUF(path, nil); err != nil {
		t.Fatal(err)
	}
	if f, err = gguf.Read(path); err != nil {
		t.Fatal(err)
	}
	rows, err := f.ReadF32("blk.1.ffn_up.weight")
	if err != nil {
		t.Fatal(err)
	}
	if half := len(rows) / 2; rows[0]+rows[16] == rows[half]+rows[half+16] {
		t.Error("the two of a unit stay the same in training")
	}
	if _, err := grow(f, cfg, path, 1); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("growing to the same size: %v", err)
	}
}
