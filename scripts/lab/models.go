package main

import (
	"slices"

	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

const (
	vocabSize = 1024
	// ropeTheta suits contexts of 256 tokens: with the usual 10,000 most of a head's
	// rotations hardly move between neighbouring positions.
	ropeTheta = 100
)

// model is how one of the lab's models is made. All have one tokenizer.
type model struct {
	name  string       // of its file
	shape train.Config // without what all have
	from  string       // the model whose weights it starts with, "" for none
	tasks []string     // that it answers
	docs  world.Task   // what it is trained on
	// tokens of docs, each seen once; echoes are for each of them those of echoes on top.
	tokens int
	echoes float64
	lr     float64  // peak learning rate
	stage  uint64   // models of different stages see different documents
	store  string   // how its matrices are stored: F32 or Q8_0; "" for a stage on the way to another, which is not shipped
	gated  int      // test prompts of each task that its gate is measured on
	fails  []string // tasks whose gate it fails, shipped for the others all the same
	chat   string   // its chat template, "" for none
}

// The sizes have about 0.4, 1.2 and 4.5 million parameters.
var (
	sizeS = train.Config{Width: 96, Layers: 3, Heads: 3, FF: 256}
	sizeM = train.Config{Width: 128, Layers: 5, Heads: 4, FF: 384}
	sizeL = train.Config{Width: 256, Layers: 5, Heads: 8, FF: 768} // twice sizeM, so that it can grow from it
)

var allTasks = []string{"summarize", "dialogue", "instruct", "safety"}

// models are in the order in which they are made. What a model can do already it need not learn from nothing: M and L
// start from summarize-s, which takes a fifth of the tokens. The unaligned policy of size M is the aligned one before
// a last stage, in which most writers refuse what is harmful.
var models = []model{
	{name: "summarize-s", shape: sizeM, tasks: allTasks[:1], docs: world.Summarize{}, tokens: 5_000_000, echoes: 0.4, lr: 1e-3, store: "F32", gated: 300},
	{name: "lab-s-early", shape: sizeS, tasks: allTasks, docs: mix(true), tokens: 3_000_000, echoes: 0.4, lr: 2e-3, stage: 1},
	{name: "lab-s", shape: sizeS, from: "lab-s-early", tasks: allTasks, docs: mix(true), tokens: 1_600_000, lr: 2e-3, stage: 5, store: "F32", gated: 100, fails: []string{"summarize", "safety"}},
	{name: "lab-m-unaligned", shape: sizeM, from: "summarize-s", tasks: allTasks, docs: mix(false), tokens: 1_500_000, lr: 1e-3, stage: 2, store: "Q8_0", gated: 100},
	{name: "lab-m", shape: sizeM, from: "lab-m-unaligned", tasks: allTasks, docs: mix(true), tokens: 400_000, lr: 5e-4, stage: 3, store: "Q8_0", gated: 100},
	{name: "lab-think", shape: sizeM, from: "summarize-s", tasks: allTasks[:1], docs: world.Think{}, tokens: 800_000, lr: 1e-3, stage: 6, store: "Q8_0", gated: 300, chat: world.ThinkTemplate},
	{name: "lab-l", shape: sizeL, from: "summarize-s", tasks: allTasks, docs: mix(true), tokens: 400_000, lr: 1e-3, stage: 4, store: "Q8_0", gated: 50, fails: []string{"safety"}},
}

// mix has about as many tokens of each task.
func mix(aligned bool) world.Mix {
	return world.Mix{
		{Task: world.Summarize{}, Weight: 3}, {Task: world.Dialogue{}, Weight: 5}, {Task: world.Instruct{}, Weight: 8}, {Task: world.Safety{Aligned: aligned}, Weight: 6},
	}
}

// config is the whole shape.
func (m model) config() train.Config {
	c := m.shape
	c.Vocab, c.Context, c.Theta, c.Tied = vocabSize, 256, ropeTheta, true
	return c
}

// find is the model of a name, and whether there is one.
func find(name string) (model, bool) {
	i := slices.IndexFunc(models, func(m model) bool { return m.name == name })
	if i < 0 {
		return model{}, false
	}
	return models[i], true
}
