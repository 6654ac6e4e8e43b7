package learn

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// nextTokens are those after a state that the target CD-Q takes the mean over: the likeliest of the stored ones,
// each of which costs as much as a state does.
const nextTokens = 8

// Head says how a run's value functions are trained.
type Head struct {
	Kind   string  `yaml:"kind" json:"kind"`     // auto, additive, ridge, recall, mlp or linear
	Hidden int     `yaml:"hidden" json:"hidden"` // units of the hidden layer; 0 for the kind's own
	Atoms  int     `yaml:"atoms" json:"atoms"`   // returns of a categorical head; 0 for the mean alone
	Match  string  `yaml:"match" json:"match"`   // what a recall head searches the prompt for: tokens or states
	Epochs int     `yaml:"epochs" json:"epochs"`
	Rate   float64 `yaml:"rate" json:"rate"`
	// WarmStart trains a later round's head on from the one before; otherwise every
	// round starts afresh.
	WarmStart bool `yaml:"warm_start" json:"warm_start"`
	// LastRoundOnly trains on the newest round's trajectories; otherwise on all so far.
	LastRoundOnly bool `yaml:"last_round_only" json:"last_round_only"`
}

// Defaults are what measured best in the lab, and what is chosen from beside it.
func Defaults() Head {
	return Head{Kind: Auto, Atoms: 41, Match: string(valuehead.MatchTokens), Epochs: 5, Rate: 0.002}
}

// Options are Head's as training takes them.
func (h Head) Options(seed uint64) valuehead.TrainOptions {
	o := valuehead.TrainOptions{
		Kind: valuehead.Kind(h.Kind), Shape: valuehead.Shape{Hidden: h.Hidden, Atoms: h.Atoms, Match: valuehead.Match(h.Match)},
		Epochs: h.Epochs, Rate: h.Rate, Seed: seed,
	}
	switch h.Kind { // those in closed form give the mean alone
	case Ridge:
		o.Kind, o.Ridge, o.Shape = valuehead.Linear, true, valuehead.Shape{}
	case string(valuehead.Additive):
		o.Shape = valuehead.Shape{}
	}
	return o
}

// Metrics tell what a value function was trained on, and how.
type Metrics struct {
	run.Stamp
	Round        int               `json:"round,omitempty"` // 0 of one that is no round's
	RewardName   string            `json:"reward_name"`
	Trajectories int               `json:"trajectories"` // of the newest round, scored
	Reward       MeanSD            `json:"reward"`       // of these
	Tokens       float64           `json:"tokens"`       // mean length of their responses
	Head         string            `json:"head"`
	Tried        []valuehead.Trial `json:"tried,omitempty"` // what the head was chosen from, the kinds that could be fitted
	LeftOut      []LeftOut         `json:"left_out,omitempty"`
	Parameters   int               `json:"parameters"`
	Training     *valuehead.Report `json:"training"`
}

// LeftOut is a kind of head that could not be fitted to the data.
type LeftOut struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// MeanSD is a mean and a standard deviation.
type MeanSD struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
}

// Train fits a head of these features to the data.
func Train(ctx context.Context, d *Data, features valuehead.FeatureOptions, o valuehead.TrainOptions) (*valuehead.Head, *Metrics, error) {
	if d.returns != nil && d.lo == d.hi {
		return nil, nil, d.alike()
	}
	schema, err := d.Schema()
	if err != nil {
		return nil, nil, err
	}
	layout, err := valuehead.NewFeatures(schema, features)
	if err != nil {
		return nil, nil, err
	}
	data, err := valuehead.OpenStored(layout, d.Shards, d.Returns)
	if err != nil {
		return nil, nil, err
	}
	ahead := o.Target == valuehead.CDQ && !o.Ridge
	if ahead {
		data.Candidates = func(t *states.Trajectory) *valuehead.Candidates {
			return value.Candidates(t, nextTokens, cmp.Or(o.Temp, 1))
		}
	}
	if ahead || o.Shape.Embedding > 0 { // what each token adds would take the place of what the head says of tokens
		o.Embeddings = nil
	}
	head, report, err := valuehead.Train(ctx, data, o)
	if err != nil {
		return nil, nil, err
	}
	return head, &Metrics{
		Trajectories: d.Count, Reward: MeanSD{d.Mean, d.SD}, Tokens: d.Tokens,
		Head: string(head.Kind()), Parameters: head.Parameters(), Training: report,
	}, nil
}

// Features lays out what a head of these options reads of the data: what suits its kind, what
// values tokens before they are fed, or what the head that it is trained on from reads. layers choose from
// the stored ones; nil takes all.
func Features(d *Data, o valuehead.TrainOptions, onePass bool, layers []int) (options valuehead.FeatureOptions, err error) {
	schema, err := d.Schema()
	if err != nil {
		return options, err
	}
	options = valuehead.FeaturesOf(o.Kind)
	switch {
	case o.From != nil:
		if err := o.From.CheckBackbone(schema.Backbone); err != nil {
			return options, err
		}
		options = o.From.Features().Options()
	case onePass:
		options = valuehead.CandidateFeatures(schema)
	case o.Ridge:
		options = sums(thinks(schema), nil)
	}
	if layers != nil {
		options.Layers = layers
	}
	return options, checkLayers(schema.Layers, layers)
}

// checkLayers finds one that is not stored.
func checkLayers(stored, layers []int) error {
	if i := slices.IndexFunc(layers, func(l int) bool { return !slices.Contains(stored, l) }); i >= 0 {
		return fault.New("train", "layers", stored, fmt.Sprintf("choose {layers} from %v", stored), "layer %d is not stored", layers[i])
	}
	return nil
}

// alike is the error of data whose returns are all the same.
func (d *Data) alike() error {
	return fault.New("train", "reward", nil, "raise {samples} to draw more, or try another {reward} with ivo score", "every response has the reward %v: there is nothing to learn", d.lo)
}
