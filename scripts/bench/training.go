package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ivo-decoding/ivo/llama/blas/openblas"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// training compares the trainer's steps with the bare matrix products that they need at
// least: forward and dW of the hidden layer, over the whole minibatch.
func training(ctx context.Context, b *bench) error {
	missing := loadOpenBLAS()
	data, err := randomStates()
	if err != nil {
		return err
	}
	fmt.Printf("%-34s %8s %10s %10s  %-22s %s\n", "minibatch", "threads", "states/s", "GFLOP/s", "of OpenBLAS [95 %]", "of llama/blas [95 %]")
	for _, threads := range threadCounts() {
		references := [][]func() error{both(onThreads(threads))}
		if missing == nil {
			openblas.SetThreads(threads)
			references = append(references, both(openblas.Gemm))
		}
		steps, bare, err := trainingSteps(ctx, data, threads, 2*b.pairs, references)
		if err != nil {
			return err
		}
		ratio := "-"
		if missing == nil {
			ratio = share(bare[1], steps)
		}
		t := median(steps)
		fmt.Printf("%-34s %8d %10.0f %10.1f  %-22s %s\n", fmt.Sprintf("%d states of %d, hidden %d", minibatch, width, hidden), threads,
			minibatch/t, (products[0].gflop()+products[1].gflop())/t, ratio, share(bare[0], steps))
	}
	fmt.Println("A step: reading, standardising, forward, dropout, loss, backward, AdamW. Its products' time in the bare library, over its own; step by step in turns.")
	return nil
}

func both(g valuehead.Gemm) []func() error {
	return []func() error{products[0].run(g), products[1].run(g)}
}

// trainingSteps trains a head, and between its steps runs the references: seconds of each.
func trainingSteps(ctx context.Context, data valuehead.Source, threads, most int, references [][]func() error) (steps []float64, bare [][]float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	bare = make([][]float64, len(references))
	epoch, begin := -1, time.Time{}
	_, _, err = valuehead.Train(ctx, data, valuehead.TrainOptions{Hidden: hidden, Batch: minibatch, Workers: threads, Epochs: 1 << 10, Patience: 1 << 10,
		Progress: func(p valuehead.Progress) {
			took := time.Since(begin).Seconds()
			within := p.Epoch == epoch && p.Step > 2 // the held-out states are no part of a step, the first two warm up
			epoch = p.Epoch
			for i := range references {
				reference := references[(i+p.Step)%len(references)]
				begin := time.Now()
				for _, run := range reference {
					run()
				}
				if within {
					k := (i + p.Step) % len(references)
					bare[k] = append(bare[k], time.Since(begin).Seconds())
				}
			}
			if within {
				steps = append(steps, took)
			}
			if len(steps) == most {
				cancel()
			}
			begin = time.Now()
		}})
	if len(steps) == most {
		err = nil
	}
	return steps, bare, err
}

// randomStates are twelve minibatches of states, and the prompts held out.
func randomStates() (*valuehead.Dataset, error) {
	schema := states.Schema{Backbone: "random", Layers: []int{0}, Width: width}
	f, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{Blocks: []valuehead.Block{valuehead.Hidden}})
	if err != nil {
		return nil, err
	}
	const length = 32
	data, rng := valuehead.NewDataset(f), rand.New(rand.NewPCG(1, 2))
	for i := range 13 * minibatch / length {
		t := &states.Trajectory{Prompt: fmt.Sprint(i), Tokens: make([]int32, length), Hidden: make([]float32, length*width)}
		for j := range t.Hidden {
			t.Hidden[j] = float32(rng.NormFloat64())
		}
		if err := data.Add(t, rng.Float32()); err != nil {
			return nil, err
		}
	}
	return data, nil
}
