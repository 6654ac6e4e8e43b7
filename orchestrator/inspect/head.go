package inspect

import (
	"fmt"
	"io"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Head describes a value function.
type Head struct {
	Kind        string    `json:"kind"`
	Head        string    `json:"head"` // additive, recall, mlp or linear
	Parameters  int       `json:"parameters"`
	Backbone    string    `json:"backbone"`           // fingerprint of its model
	Adapters    string    `json:"adapters,omitempty"` // that the model had
	Probe       int       `json:"probe"`              // states by which it knows other quantizations of that
	Layers      []int     `json:"layers"`
	Scalars     []string  `json:"scalars"`
	Blocks      []string  `json:"blocks"`
	Prompt      bool      `json:"prompt"` // it looks back at the prompt's own states
	Match       string    `json:"match"`  // what that searched for at first: tokens or states; empty for a head that does not
	Width       int       `json:"width"`  // of the input row
	Target      string    `json:"target"`
	Atoms       int       `json:"atoms"` // returns of a categorical head, 0 for one that gives the mean alone
	Members     int       `json:"members"`
	OnePass     bool      `json:"one_pass"` // it values tokens before they are fed
	Unit        float64   `json:"unit"`     // how far its values move in a response
	Tokens      *Tokens   `json:"tokens"`   // what each adds; null of a head that does not know
	RewardMean  float32   `json:"reward_mean"`
	RewardScale float32   `json:"reward_scale"`
	Training    TrainedOn `json:"training"`
}

// Tokens describes what a head knows each token of the vocabulary to add to the value.
type Tokens struct {
	Vocabulary int     `json:"vocabulary"`
	Rank       int     `json:"rank"` // directions of the prompt that it depends on; 0 where it is the same for all
	Once       bool    `json:"once"` // one that was said before adds nothing
	Unit       float64 `json:"unit"` // what beta counts in
}

// TrainedOn is [valuehead.Summary] with names for JSON.
type TrainedOn struct {
	Trajectories int     `json:"trajectories"`
	Prompts      int     `json:"prompts"`
	States       int     `json:"states"`
	HeldOut      int     `json:"held_out_prompts"`
	Epochs       int     `json:"epochs"`
	Seed         uint64  `json:"seed"`
	WarmStart    bool    `json:"warm_start"`
	R2           float64 `json:"r2"`
	R2Last       float64 `json:"r2_last"`
	Spearman     float64 `json:"spearman"`
}

func findHead(path string) (Finding, error) {
	h, err := valuehead.Load(path)
	if err != nil {
		return nil, err
	}
	mean, scale := h.Reward()
	options := h.Features().Options()
	f := &Head{
		Kind: "value-head", Head: string(h.Kind()), Parameters: h.Parameters(), Backbone: h.Backbone(),
		Layers: options.Layers, Scalars: options.Scalars, Width: h.Features().Width(),
		Prompt: h.NeedsPrompt(), Match: string(h.Shape().Match), Target: string(h.Target()), Atoms: len(h.Atoms()),
		Members: h.Shape().Members, OnePass: h.CanScoreCandidates(), Unit: h.Unit(), RewardMean: mean, RewardScale: scale, Training: TrainedOn(h.Summary()),
	}
	_, f.Adapters = fingerprint.Split(f.Backbone)
	if a := h.Advantages(); a != nil {
		f.Tokens = &Tokens{a.Len(), a.Rank(), a.Once(), a.Unit()}
	}
	if p := h.Probe(); p != nil {
		f.Probe = len(p.Tokens) - p.From
	}
	for _, b := range options.Blocks {
		f.Blocks = append(f.Blocks, string(b))
	}
	return f, nil
}

func (f *Head) Write(w io.Writer) error {
	t := f.Training
	start := "afresh"
	if t.WarmStart {
		start = "on from an earlier one"
	}
	gives := "the mean return"
	if f.Atoms > 0 {
		gives = fmt.Sprintf("a distribution over %d returns", f.Atoms)
	}
	if f.OnePass {
		gives += " of tokens before they are fed"
	}
	if f.Members > 1 {
		gives += fmt.Sprintf(" as %d members have it", f.Members)
	}
	trained := fmt.Sprintf("%d states of %d trajectories of %d prompts, %s", t.States, t.Trajectories, t.Prompts, start)
	if t.Epochs > 0 {
		trained += fmt.Sprintf(", %d epochs", t.Epochs)
	}
	weights, _ := fingerprint.Split(f.Backbone)
	model := weights + " (its fingerprint)"
	if f.Adapters != "" {
		model += ", with " + strings.ReplaceAll(strings.TrimPrefix(f.Adapters, "+"), "+", ", ")
	}
	if f.Probe > 0 {
		model += fmt.Sprintf("; knows other quantizations by %d states", f.Probe)
	}
	return sheet.Sheet{
		{"value function", f.Head},
		{"gives", fmt.Sprintf("%s, fitted to %s", gives, f.Target)},
		{"parameters", f.Parameters},
		{"of model", model},
		{"reads", f.reads()},
		{"input width", f.Width},
		{"tokens", f.Tokens.words()},
		{"unit", fmt.Sprintf("%.3g: how far values move in a response", f.Unit)},
		{"rewards", fmt.Sprintf("mean %.3f, sd %.3f", f.RewardMean, f.RewardScale)},
		{"trained on", fmt.Sprintf("%s, seed %d", trained, t.Seed)},
		{"held out", fmt.Sprintf("%d prompts: R2 %.3f, at the last state %.3f, Spearman %.3f", t.HeldOut, t.R2, t.R2Last, t.Spearman)},
	}.Write(w)
}

// reads says what the values depend on.
func (f *Head) reads() string {
	out := "the tokens alone"
	if f.Head != string(valuehead.Additive) {
		out = fmt.Sprintf("layers %v; ", f.Layers)
		if len(f.Scalars) > 0 {
			out += strings.Join(f.Scalars, ", ") + "; "
		}
		out += "as " + strings.Join(f.Blocks, ", ")
	}
	if f.Prompt {
		out += "; looks back at the prompt"
	}
	if f.Match != "" {
		out += fmt.Sprintf(" (match %s)", f.Match)
	}
	return out
}

func (t *Tokens) words() string {
	if t == nil {
		return "does not know what each adds: serves no proposals"
	}
	by := "the same after every prompt"
	if t.Rank > 0 {
		by = fmt.Sprintf("by %d directions of the prompt", t.Rank)
	}
	if t.Once {
		by += ", once a response"
	}
	return fmt.Sprintf("knows what each of %d adds, %s; unit %.3g", t.Vocabulary, by, t.Unit)
}
