package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama/train"
)

// grow makes of a model's file one of twice its width, heads and feed-forward width that computes the same
// (Chen et al., "Net2Net", 2016): a larger model that begins where the smaller one ended. Every unit is there
// twice, and what follows shares its weight between the two by chance, so that they part in training. The
// work is done by way of a file at path.
func grow(f *gguf.File, cfg train.Config, path string, seed uint64) (*train.Model, error) {
	small, err := train.Read(f, nil)
	if err != nil {
		return nil, err
	}
	if c := small.Config; cfg.Width != 2*c.Width || cfg.Heads != 2*c.Heads || cfg.FF != 2*c.FF || cfg.Layers != c.Layers || cfg.Vocab != c.Vocab || !cfg.Tied {
		return nil, fmt.Errorf("a model of width %d, %d heads and feed-forward %d grows to twice that alone, not to width %d, %d heads and %d",
			c.Width, c.Heads, c.FF, cfg.Width, cfg.Heads, cfg.FF)
	}
	large, err := train.New(cfg, seed) // for its shape
	if err != nil {
		return nil, err
	}
	if err := large.WriteGGUF(path, nil); err != nil {
		return nil, err
	}
	shape, err := gguf.Read(path)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(seed, 0))
	return train.Read(shape, func(tensor string) ([]float32, error) {
		x, err := f.ReadF32(tensor)
		if err != nil {
			return nil, err
		}
		switch {
		case tensor == "output_norm.weight": // the tied output sums over both halves
			for i := range x {
				x[i] /= 2
			}
			return append(x, x...), nil
		case strings.HasSuffix(tensor, "norm.weight"):
			return append(x, x...), nil
		case tensor == "token_embd.weight":
			return widen(x, small.Config.Width, func() (float32, float32) { return 1, 1 }), nil
		}
		cols := small.Config.Width
		if strings.HasSuffix(tensor, "ffn_down.weight") {
			cols = small.Config.FF
		}
		part := func() (float32, float32) {
			a := 0.25 + 0.5*r.Float32()
			return a, 1 - a
		}
		return append(widen(x, cols, part), widen(x, cols, part)...), nil
	})
}

// widen writes every row of so many columns twice, one after the other, with the shares that part gives to each number.
func widen(x []float32, cols int, part func() (float32, float32)) []float32 {
	out := make([]float32, 2*len(x))
	for i, v := range x {
		row, col := i/cols, i%cols
		a, b := part()
		out[2*row*cols+col], out[(2*row+1)*cols+col] = a*v, b*v
	}
	return out
}
