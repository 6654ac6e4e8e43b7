// Package recipe reads experiments that people have written down: models, prompts, rewards, value
// functions, and methods with what is swept over, in YAML. All that is wrong with a recipe is found
// before any work, and told at once, with its lines.
//
// The package says what an experiment is. It decodes no answers and knows nothing of results.
package recipe

import (
	"fmt"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Recipe is an experiment as it is written down.
type Recipe struct {
	Path      string
	Models    []Model
	Encoding  Encoding
	Prompts   Parts
	Reward    Reward   // that is optimised
	Watch     []Reward // others that are told
	Judges    []Reward // that compare answers with those of the first method
	Sampling  policy.Sampling
	MaxTokens int // of a response
	Stop      []string
	Thoughts  decode.Thoughts // of the base policy, where the model thinks before it answers: a budget
	Seeds     []uint64
	Rerolls   int // of each state for the ceiling; 0 for no ceiling
	Runs      []Run
	Values    []Value
	Tuned     []Tuned
	Methods   []Method
	Context   batch.Context // of one engine
	Parallel  int           // sequences at once
	context   int           // line of its cells
	threads   int           // line of its threads
	biased    int           // line of the sampling's biases
	looksBack bool          // how far penalties look back is said
}

// Model is a policy.
type Model struct {
	ID, File string
	Adapters llama.Adapters // that it computes with
	line     int
}

// Encoding says how prompts become tokens; see [prompt.Options].
type Encoding struct {
	Chat         bool
	System       string
	Template     string
	Kwargs       map[string]any
	ParseContent bool
	Date         time.Time // that the template tells
	line         int
}

// Parts are prompts that have none in common.
type Parts struct{ Train, Validation, Test Part }

// Part are prompts of a file.
type Part struct {
	File    string
	Skip    int // so many at the beginning
	First   int // so many of the rest; 0 for all
	Records []prompt.Record
	most    int   // see [Most]
	lines   []int // of the file, on which the records begin
	line    int   // of the recipe
}

// Reward is the spec of one.
type Reward struct {
	Spec string
	line int
}

// Value is a value function, or what stands for one. Files may have {seed} in their names, which
// stands for the seed that answers are drawn with.
type Value struct {
	ID      string
	Source  Source
	Reading valuehead.Reading // of one that knows a distribution
	line    int
}

// Source is where a value function comes from: one of these.
type Source struct {
	Heads  []string // files of heads on the policy's states; of several the mean
	Model  string   // a model of its own, by the head or by itself
	Reward string   // spec of a reward whose scores of unfinished responses are the values
	Learn  *Learn   // from the states of a run
	Run    string   // id of the recipe's run that Learn, or After, is about; empty for one that is there
	After  int      // the run's own value function after this round
}

// Learn says what is learned from a run of ivo iterate.
type Learn struct {
	Run    string `json:"-"` // its folder, or the id of one of the recipe's
	Round  int    // of which the states are; 0 for all
	Target string // see [valuehead.Target]
	Kind   string // of the head; see [learn.Head]
	Ahead  bool   // values tokens before they are fed
	Seed   uint64
}

// Method is a way to answer: one variation of what is swept over.
type Method struct {
	ID       string // of this variation
	Entry    string // of the method whose variation it is
	Family   string // of methods that differ in settings alone
	Settings []Setting
	Models   []string // ids of the policies; all where it is nil
	Strategy decode.Strategy
	Rerank   bool   // the reward takes part in the search
	Value    string // id; empty for none
	Policy   string // id of a tuned policy that answers; empty for the model itself
	Soft     bool   // the value is V_beta of the strategy's own beta
	Sampling policy.Sampling
	Thoughts decode.Thoughts
	Samples  int // answers to a prompt
	BestOf   int // answers of which the best is taken; 1 for every one
	By       By  // what it is the best by
	Choose   *Choose
	set      []Setting // all that its keys set
	line     int
}

// Setting is what a variation sets.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// By is what the best of some answers is chosen by.
type By string

const (
	ByReward By = "reward" // that is optimised
	ByValue  By = "value"  // of the last state
)

// Choose says that of a method's variations the one with the largest reward on the validation
// prompts is taken to the test.
type Choose struct {
	MaxKL  float64 // nats a response, of what may be chosen; 0 for any
	Within []Within
}

// Within says that what may be chosen has no less of a reward that is watched than the first method has, by more
// than some room: so a policy that pays for its reward with another one is not chosen.
type Within struct {
	Watch string // its spec
	Room  float64
}

// defaults are the paper's settings where it has them (arXiv 2503.02368), and those of ivo generate.
func defaults() *Recipe {
	return &Recipe{
		Sampling: policy.Sampling{Temp: 0.7}, MaxTokens: 128, Seeds: []uint64{1},
		Context: batch.Context{Cells: 8192}, Parallel: 64,
	}
}

// Files are those that the seed stands in the names of, under a seed.
func Files(names []string, seed uint64) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = strings.ReplaceAll(name, "{seed}", fmt.Sprint(seed))
	}
	return out
}
