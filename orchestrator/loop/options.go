package loop

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Options say what a run does. They are stored in the run directory, resolved; a run
// that is continued must be given the same ones.
type Options struct {
	Model       string `yaml:"model"`
	Prompts     string `yaml:"prompts"`
	EvalPrompts string `yaml:"eval_prompts,omitempty"` // none: no evaluation
	Reward      string `yaml:"reward"`

	Rounds       int             `yaml:"rounds"`
	Samples      int             `yaml:"samples"`       // trajectories a prompt, K
	RoundPrompts int             `yaml:"round_prompts"` // prompts of rounds after the first; 0 for all
	ShardPrompts int             `yaml:"shard_prompts"` // prompts a shard
	MaxTokens    int             `yaml:"max_tokens"`    // of a response
	Sampling     decode.Sampling `yaml:"sampling"`
	Stop         []string        `yaml:"stop,omitempty"`
	Seed         uint64          `yaml:"seed"`

	// Collect is the search that draws the trajectories of rounds after the first,
	// Search the one that is evaluated.
	Collect decode.Beam `yaml:"collect"`
	Search  decode.Beam `yaml:"search"`

	Layers []int `yaml:"layers"` // layers whose states the head reads
	Head   Head  `yaml:"head"`

	Inputs Inputs `yaml:"inputs"` // filled in by Run

	Ctx      int `yaml:"ctx"`     // KV cells of one engine
	Threads  int `yaml:"threads"` // of one engine; 0 chooses
	Parallel int `yaml:"parallel"`

	// Scoring is not stored: no file may allow a program to be started.
	Scoring reward.Options `yaml:"-"`
}

// Inputs identify what a run was started with: a path may come to mean another file,
// and what was learned from the old one must not be taken for the new one's.
type Inputs struct {
	Backbone    string `yaml:"backbone"`               // fingerprint of the model
	Prompts     string `yaml:"prompts"`                // xxhash64 of the file
	EvalPrompts string `yaml:"eval_prompts,omitempty"` // xxhash64 of the file
}

// Head says how value functions are trained.
type Head struct {
	Kind   string  `yaml:"kind"`   // recall, mlp or linear
	Hidden int     `yaml:"hidden"` // units of the hidden layer; 0 for the kind's own
	Atoms  int     `yaml:"atoms"`  // returns of a categorical head; 0 for the mean alone
	Match  string  `yaml:"match"`  // what a recall head searches the prompt for: tokens or states
	Epochs int     `yaml:"epochs"`
	Rate   float64 `yaml:"rate"`
	// WarmStart trains a later round's head on from the one before; otherwise every
	// round starts afresh.
	WarmStart bool `yaml:"warm_start"`
	// LastRoundOnly trains on the newest round's trajectories; otherwise on all so far.
	LastRoundOnly bool `yaml:"last_round_only"`
}

// Defaults are the paper's settings where it states them (K=4, T=0.7, two rounds, B=4,
// b=4) and the lab's best ones elsewhere. layers is the model's number of layers.
func Defaults(layers int) Options {
	return Options{
		Rounds: 2, Samples: 4, ShardPrompts: 50, MaxTokens: 128, Seed: 1, Reward: "gold",
		Sampling: decode.Sampling{Temp: 0.7},
		Collect:  decode.Beam{Beams: 2, Block: 4}, Search: decode.Beam{Beams: 4, Block: 4},
		Layers: defaultLayers(layers),
		Head:   Head{Kind: string(valuehead.Recall), Atoms: 41, Match: string(valuehead.MatchTokens), Epochs: 5, Rate: 0.002},
		Ctx:    4096, Parallel: 32,
	}
}

// defaultLayers are the first one, which knows the words, and the one at three fifths of the
// depth, which knows what they mean.
func defaultLayers(layers int) []int {
	if middle := layers * 3 / 5; middle > 0 {
		return []int{0, middle}
	}
	return []int{0}
}

// Validate finds what is wrong before any work is done.
func (o *Options) Validate() error {
	switch {
	case o.Rounds < 1:
		return fmt.Errorf("%d rounds (give --rounds 1 or more)", o.Rounds)
	case o.Samples < 1:
		return fmt.Errorf("%d samples a prompt (give --samples 1 or more)", o.Samples)
	case o.Samples > o.Parallel:
		return fmt.Errorf("%d samples a prompt do not fit %d sequences (raise --parallel)", o.Samples, o.Parallel)
	case o.RoundPrompts < 0:
		return fmt.Errorf("%d prompts a round (give --round-prompts 0 for all, or a positive number)", o.RoundPrompts)
	case o.ShardPrompts < 1:
		return fmt.Errorf("shards of %d prompts (give --shard 1 or more)", o.ShardPrompts)
	case o.MaxTokens < 1:
		return fmt.Errorf("responses of %d tokens (give -n 1 or more)", o.MaxTokens)
	case o.Sampling.Temp <= 0:
		return fmt.Errorf("temperature %v (trajectories must differ: give --temp above 0)", o.Sampling.Temp)
	case len(o.Layers) == 0:
		return errors.New("no layers for the head to read (give --layers)")
	}
	for _, s := range o.strategies() {
		if s.Method == decode.MethodBlockBeam && (s.Beam.Beams < 1 || s.Beam.Block < 1) {
			return fmt.Errorf("%d beams with blocks of %d tokens (give --beams and --block 1 or more)", s.Beam.Beams, s.Beam.Block)
		}
		if n := s.Sequences(); n > o.Parallel {
			return fmt.Errorf("%s takes %d sequences at once, there are %d (lower --beams or --collect-beams, or raise --parallel)", s.Method, n, o.Parallel)
		}
	}
	return nil
}

// strategies are those that the run will decode with, besides plain sampling.
func (o *Options) strategies() []decode.Strategy {
	var ss []decode.Strategy
	if o.Rounds > 1 {
		ss = append(ss, decode.Strategy{Method: decode.MethodBlockBeam, Beam: o.Collect})
	}
	if o.EvalPrompts != "" {
		ss = append(ss, o.bestOf(), decode.Strategy{Method: decode.MethodBlockBeam, Beam: o.Search})
	}
	return ss
}

// bestOf is the best-of-n that guided search is compared with.
func (o *Options) bestOf() decode.Strategy {
	return decode.Strategy{Method: decode.MethodBestOfN, N: 4}
}

const (
	optionsFile = "run.yaml"
	lockFile    = ".lock"
)

// store writes the options of a new run, or compares them with those of the run that
// is being continued.
func (o *Options) store(dir string) error {
	path := filepath.Join(dir, optionsFile)
	old, err := ReadOptions(dir)
	if errors.Is(err, fs.ErrNotExist) {
		data, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		return atomicfile.WriteBytes(path, data)
	}
	if err != nil {
		return err
	}
	if changed := differences(reflect.ValueOf(*old), reflect.ValueOf(*o), ""); len(changed) > 0 {
		return fmt.Errorf("%s was started with other options: %s (use the same ones to continue it, or another --out, or remove it to start anew)", dir, strings.Join(changed, ", "))
	}
	return nil
}

// ReadOptions reads the options of the run in dir.
func ReadOptions(dir string) (*Options, error) {
	path := filepath.Join(dir, optionsFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	o := Options{Head: Head{Match: Defaults(0).Head.Match}} // which the first runs did not state
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&o); err != nil {
		return nil, fmt.Errorf("%s: %w (the run was written by another version of ivo: use another --out)", path, err)
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("%s: damaged: %w", path, err)
	}
	return &o, nil
}

// differences names the fields that differ, as "name old -> new".
func differences(a, b reflect.Value, prefix string) []string {
	var out []string
	for i := range a.NumField() {
		name := prefix + strings.Split(a.Type().Field(i).Tag.Get("yaml"), ",")[0]
		if name == prefix+"-" {
			continue
		}
		x, y := a.Field(i), b.Field(i)
		if x.Kind() == reflect.Struct {
			if name == prefix {
				name = prefix + strings.ToLower(a.Type().Field(i).Name)
			}
			out = append(out, differences(x, y, name+".")...)
			continue
		}
		// An empty list reads back as none.
		if x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			out = append(out, fmt.Sprintf("%s %v -> %v", name, x.Interface(), y.Interface()))
		}
	}
	return out
}
