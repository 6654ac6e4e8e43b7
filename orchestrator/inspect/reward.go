package inspect

import (
	"cmp"
	"fmt"
	"io"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// RewardHead describes a reward head.
type RewardHead struct {
	Kind         string `json:"kind"`
	Source       string `json:"source"`       // the tensors that it was made of, and the checkpoint's architecture
	Architecture string `json:"architecture"` // of its trunk; empty where it is not known
	Width        int    `json:"width"`        // of the trunk's states
	Vocabulary   int    `json:"vocabulary"`   // 0 where it is not known
	Reads        []int  `json:"reads"`        // the trunk's layers whose states it reads; null for the state after the final norm
	Pooling      string `json:"pooling"`      // how those of an answer become one
	Layers       int    `json:"layers"`
	Outputs      int    `json:"outputs"`
	Gate         bool   `json:"gate"`     // the outputs are weighted by the prompt
	Template     string `json:"template"` // empty for that of the trunk's file
	Norm         bool   `json:"norm"`     // it knows its trunk by the gains of the final norm
	Prefixes     bool   `json:"prefixes"` // it judges answers that are not finished, too
}

func findReward(path string) (Finding, error) {
	h, err := head.Load(path)
	if err != nil {
		return nil, err
	}
	return &RewardHead{
		Kind: "reward-head", Source: h.Source, Architecture: h.Trunk.Architecture, Width: h.Trunk.Width, Vocabulary: h.Trunk.Vocabulary,
		Reads: h.Reading.Layers, Pooling: string(cmp.Or(h.Reading.Pooling, head.Last)), Prefixes: h.Prefixes,
		Layers: len(h.Layers), Outputs: h.Layers[len(h.Layers)-1].Out, Gate: h.Gate != nil, Template: h.Trunk.Template, Norm: h.Trunk.Norm != nil,
	}, nil
}

func (f *RewardHead) Write(w io.Writer) error {
	trunk, template := "a model", "that of the trunk's file"
	if f.Architecture != "" {
		trunk = "a " + f.Architecture + " model"
	}
	trunk += fmt.Sprintf(" with states of %d numbers", f.Width)
	if f.Vocabulary > 0 {
		trunk += fmt.Sprintf(" and %d tokens", f.Vocabulary)
	}
	if f.Norm {
		trunk += ", known by its final norm"
	}
	if f.Template != "" {
		template = fmt.Sprintf("its own, of %d characters", len(f.Template))
	}
	reads := "the state after the final norm, " + f.Pooling
	if f.Reads != nil {
		reads = fmt.Sprintf("the states of layers %v, %s", f.Reads, f.Pooling)
		if f.Reads[0] == head.Embeddings {
			reads = "the embeddings of tokens, " + f.Pooling
		}
	}
	judges := "finished answers"
	if f.Prefixes {
		judges += ", and those that are not"
	}
	outputs := fmt.Sprint(f.Outputs)
	if f.Gate {
		outputs += ", weighted by the prompt"
	}
	return sheet.Sheet{
		{"reward head", f.Source},
		{"trunk", trunk},
		{"template", template},
		{"reads", reads},
		{"layers", f.Layers},
		{"outputs", outputs},
		{"judges", judges},
	}.Write(w)
}
