package loop

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Options say what a run does. They are stored in the run directory, resolved.
type Options struct {
	Model       string `yaml:"model"`
	Prompts     string `yaml:"prompts"`
	EvalPrompts string `yaml:"eval_prompts,omitempty"`
	// The model's adapters, as they were given: what they hold is in Inputs.Backbone.
	LoRA          []string `yaml:"lora,omitempty" json:",omitzero"`
	ControlVector []string `yaml:"control_vector,omitempty" json:",omitzero"`
	HoldOut       int      `yaml:"hold_out,omitempty"` // prompts of Prompts that are evaluated on instead
	Reward        string   `yaml:"reward"`             // its spec, as it was given
	// SecondReward is the spec of a reward from which nothing is learned: it judges the evaluation's
	// answers, too.
	SecondReward string `yaml:"second_reward,omitempty"`

	Encoding Encoding `yaml:"encoding"`

	Rounds       int             `yaml:"rounds"`
	Samples      int             `yaml:"samples"`       // trajectories a prompt, K
	RoundPrompts int             `yaml:"round_prompts"` // prompts of rounds after the first; 0 for all
	ShardPrompts int             `yaml:"shard_prompts"` // prompts a shard
	MaxTokens    int             `yaml:"max_tokens"`    // of a response
	Sampling     policy.Sampling `yaml:"sampling"`
	Stop         []string        `yaml:"stop,omitempty"`
	Thoughts     decode.Thoughts `yaml:"thoughts,omitempty" json:",omitzero"` // of a model that thinks before it answers
	Seed         uint64          `yaml:"seed"`
	SkipUnscored bool            `yaml:"skip_unscored,omitempty"` // train and evaluate without responses that have no score

	// Collect is the search that draws the trajectories of rounds after the first,
	// Search the one that is evaluated.
	Collect decode.Beam `yaml:"collect"`
	Search  decode.Beam `yaml:"search"`

	Layers []int      `yaml:"layers"` // layers whose states the head reads
	Head   learn.Head `yaml:"head"`

	Inputs Inputs `yaml:"inputs"` // filled in by Run

	Context  batch.Context `yaml:"context"`  // of one engine
	Parallel int           `yaml:"parallel"` // sequences at once
}

// Encoding says how prompts become tokens; see [prompt.Options]. Inputs.Encoding is what it
// comes to.
type Encoding struct {
	Chat         bool   `yaml:"chat"`
	System       string `yaml:"system,omitempty"`
	Template     string `yaml:"template,omitempty"`
	Kwargs       string `yaml:"kwargs,omitempty"` // JSON
	ParseContent bool   `yaml:"parse_content,omitempty"`
	Date         string `yaml:"date,omitempty"` // on which the run was begun, if the template tells the date
}

// Options are those of the encoder.
func (e Encoding) Options() (prompt.Options, error) {
	o := prompt.Options{Chat: e.Chat, System: e.System, Template: e.Template, ParseContent: e.ParseContent}
	if e.Kwargs != "" {
		var kwargs map[string]json.RawMessage // keeps the order of the keys within
		if err := json.Unmarshal([]byte(e.Kwargs), &kwargs); err != nil {
			return o, fmt.Errorf("the template's variables: %w (they are kept in %s)", err, run.OptionsFile)
		}
		o.TemplateKwargs = map[string]any{}
		for name, v := range kwargs {
			o.TemplateKwargs[name] = v
		}
	}
	if e.Date == "" {
		return o, nil
	}
	var err error
	if o.Now, err = time.ParseInLocation(time.DateOnly, e.Date, time.Local); err != nil {
		err = fmt.Errorf("the date on which the run was begun: %w (it is kept in %s)", err, run.OptionsFile)
	}
	return o, err
}

// Inputs identify what a run was started with: a path may come to mean another file, and what
// was learned from the old one must not be taken for the new one's.
type Inputs struct {
	Backbone    string `yaml:"backbone"`               // fingerprint of the model
	Encoding    string `yaml:"encoding"`               // how prompts become tokens: [prompt.Encoder.Identity]
	Reward      string `yaml:"reward"`                 // fingerprint
	Scores      string `yaml:"scores"`                 // folder of what it says
	Prompts     string `yaml:"prompts"`                // key of the prompts
	EvalPrompts string `yaml:"eval_prompts,omitempty"` // key of these
	// SampleFrom are the numbers of the samples from which on they were added: 0, then more where
	// a run was continued with more samples.
	SampleFrom []int `yaml:"sample_from"`
}

// Defaults are the paper's settings where it states them (K=4, T=0.7, two rounds, B=4,
// b=4) and the lab's best ones elsewhere. layers is the model's number of layers.
func Defaults(layers int) Options {
	return Options{
		Rounds: 2, Samples: 4, ShardPrompts: 50, MaxTokens: 128, Seed: 1, Reward: "gold",
		Sampling: policy.Sampling{Temp: 0.7},
		Collect:  decode.Beam{Beams: 2, Block: 4}, Search: decode.Beam{Beams: 4, Block: 4},
		Layers: defaultLayers(layers), Head: learn.Defaults(),
		Context: batch.Context{Cells: 4096}, Parallel: 32,
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
	wrong := func(field fault.Field, hint, format string, args ...any) error {
		return fault.New("", field, nil, hint, format, args...)
	}
	switch {
	case o.Rounds < 1:
		return wrong("rounds", "give {rounds} 1 or more", "%d rounds", o.Rounds)
	case o.Samples < 1:
		return wrong("samples", "give {samples} 1 or more", "%d samples a prompt", o.Samples)
	case o.Samples > o.Parallel:
		return wrong("samples", "raise {parallel}", "%d samples a prompt do not fit %d sequences", o.Samples, o.Parallel)
	case o.RoundPrompts < 0:
		return wrong("round_prompts", "give {round_prompts} 0 for all, or a positive number", "%d prompts a round", o.RoundPrompts)
	case o.ShardPrompts < 1:
		return wrong("shard", "give {shard} 1 or more", "shards of %d prompts", o.ShardPrompts)
	case o.MaxTokens < 1:
		return wrong("max_tokens", "give {max_tokens} 1 or more", "responses of %d tokens", o.MaxTokens)
	case o.Sampling.Temp <= 0:
		return wrong("temp", "trajectories must differ: give {temp} above 0", "temperature %v", o.Sampling.Temp)
	case len(o.Layers) == 0:
		return wrong("layers", "give {layers}", "no layers for the head to read")
	}
	for _, p := range o.policies() {
		s := p.Strategy
		if s.Method == decode.MethodBlockBeam && (s.Beam.Beams < 1 || s.Beam.Block < 1) {
			return wrong("beams", "give {beams} and {block} 1 or more", "%d beams with blocks of %d tokens", s.Beam.Beams, s.Beam.Block)
		}
		if n := p.Sequences(o.Samples); n > o.Parallel {
			return wrong("beams", "lower {beams} or {collect_beams}, or raise {parallel}", "%s takes %d sequences at once, there are %d", s.Method, n, o.Parallel)
		}
	}
	return nil
}

// policies are those that the run will decode with.
func (o *Options) policies() []batch.Policy {
	with := func(s decode.Strategy) batch.Policy {
		return batch.Policy{Strategy: s, Sampling: o.Sampling, MaxTokens: o.MaxTokens, Stop: o.Stop, Thoughts: o.Thoughts}
	}
	ps := []batch.Policy{with(decode.Strategy{Method: decode.MethodSample})}
	if o.Rounds > 1 {
		ps = append(ps, with(decode.Strategy{Method: decode.MethodBlockBeam, Beam: o.Collect}))
	}
	if o.EvalPrompts != "" || o.HoldOut > 0 {
		ps = append(ps, with(o.bestOf()), with(decode.Strategy{Method: decode.MethodBlockBeam, Beam: o.Search}))
		if o.SecondReward != "" {
			ps = append(ps, with(o.guided(1, false)))
		}
	}
	return ps
}

// bestOf is the best-of-n that guided search is compared with.
func (o *Options) bestOf() decode.Strategy {
	return decode.Strategy{Method: decode.MethodBestOfN, N: 4}
}

// Fits says why a prompt of so many tokens cannot be a part of the run, if it cannot: with all
// that is decoded for it, it must fit the context, and the text of a response what the model
// was trained with. trained is that number of tokens, 0 where it is not known.
func (o *Options) Fits(tokens, trained int) error {
	for _, p := range o.policies() {
		if need := p.Cells(tokens, o.Samples); need > o.Context.Cells {
			return fault.New("", "ctx", o.Context.Cells, "raise {ctx}, lower {max_tokens}, {samples} or {beams}, or shorten the prompt",
				"%d tokens; with all candidates of up to %d tokens they take %d of context, there are %d", tokens, o.MaxTokens, need, o.Context.Cells)
		}
	}
	if trained > 0 && tokens+o.MaxTokens > trained {
		return fault.New("", "max_tokens", trained, "lower {max_tokens}, or shorten the prompt",
			"%d tokens; with a response of up to %d tokens the text is longer than the %d that the model was trained with", tokens, o.MaxTokens, trained)
	}
	return nil
}

// free are options that make no difference to what is finished: names of inputs, whose content
// is compared, and threads. Rounds and samples may be raised.
var free = []string{"model", "lora", "control_vector", "prompts", "eval_prompts", "hold_out", "inputs.eval_prompts", "second_reward", "skip_unscored", "context.threads", "inputs.sample_from"}

// contents are what the inputs say of a change that no option tells, by the options that may.
var contents = map[string]struct{ option, change string }{
	"inputs.backbone": {"model ", "the model has other weights or adapters"},
	"inputs.encoding": {"encoding.", "the model's chat template is another one"},
	"inputs.reward":   {"reward ", "the reward's program, files or rules have changed"},
	"inputs.prompts":  {"prompts ", "the prompts have changed"},
}

// store writes the options of a new run, or compares them with those of the run that is being
// continued. With redo, what has changed takes the place of what was.
func (o *Options) store(d *run.Dir, redo bool) error {
	o.Inputs.SampleFrom = []int{0}
	old, err := ReadOptions(d.Root())
	switch {
	case run.Absent(err) || err != nil && redo:
		return o.write(d)
	case err != nil:
		return err
	}
	// The stretches of samples stay, but for those that are not wanted any more.
	o.Inputs.SampleFrom = slices.DeleteFunc(slices.Clone(old.Inputs.SampleFrom), func(from int) bool { return from > 0 && from >= o.Samples })
	if o.Samples > old.Samples {
		o.Inputs.SampleFrom = append(o.Inputs.SampleFrom, old.Samples)
	}
	changed := slices.DeleteFunc(differences(reflect.ValueOf(*old), reflect.ValueOf(*o), ""), func(c change) bool {
		return slices.Contains(free, c.name) || c.name == "rounds" && o.Rounds > old.Rounds || c.name == "samples" && o.Samples > old.Samples ||
			c.name == "reward" && o.Inputs.Scores == old.Inputs.Scores // spelled otherwise
	})
	if len(changed) > 0 && !redo {
		return &fault.Error{
			Op: "run", Field: "out", Err: fmt.Errorf("%s was started with other options: %s", d.Root(), strings.Join(named(changed), ", ")),
			Hint: "use the same ones to continue it, {redo} to make anew what depends on them and keep the rest, or another {out}",
		}
	}
	return o.write(d)
}

// named says what has changed: of contents, only where no option says so.
func named(changed []change) (texts []string) {
	for _, c := range changed {
		if !strings.HasPrefix(c.name, "inputs.") {
			texts = append(texts, c.String())
		}
	}
	for _, c := range changed {
		of, ok := contents[c.name]
		if ok && !slices.ContainsFunc(texts, func(text string) bool { return strings.HasPrefix(text, of.option) }) {
			texts = append(texts, of.change)
		}
	}
	return texts
}

func (o *Options) write(d *run.Dir) error {
	data, err := yaml.Marshal(o)
	if err != nil {
		return err
	}
	return atomicfile.WriteBytes(d.Path(run.OptionsFile), data)
}

// ReadOptions reads the options of the run in dir.
func ReadOptions(dir string) (*Options, error) {
	path := dir + "/" + run.OptionsFile
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var o Options
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&o); err != nil {
		return nil, unreadable(path, err)
	}
	if n := o.Inputs.SampleFrom; len(n) == 0 || n[0] != 0 || !slices.IsSorted(n) {
		return nil, unreadable(path, errors.New("it does not say from which samples on they were drawn"))
	}
	if err := o.Validate(); err != nil {
		return nil, unreadable(path, err)
	}
	return &o, nil
}

// Date is the date on which the run in dir was begun, today's for a new one.
func Date(dir string) string {
	today := time.Now().Format(time.DateOnly)
	if o, err := ReadOptions(dir); err == nil {
		return cmp.Or(o.Encoding.Date, today)
	}
	return today
}

// unreadable is the error of stored options.
func unreadable(path string, err error) error {
	return &fault.Error{
		Op: "run", Field: "out", Err: fmt.Errorf("%s: it is damaged, or was written by another version of ivo: %w", path, err),
		Hint: "run its ivo iterate again with {redo}, which writes it anew and keeps what is finished, or use another {out}",
	}
}

// change is an option that differs.
type change struct {
	name     string
	old, new any
}

func (c change) String() string { return fmt.Sprintf("%s %v -> %v", c.name, c.old, c.new) }

// differences are the fields that differ.
func differences(a, b reflect.Value, prefix string) []change {
	var out []change
	for i := range a.NumField() {
		name := prefix + strings.Split(a.Type().Field(i).Tag.Get("yaml"), ",")[0]
		x, y := a.Field(i), b.Field(i)
		if x.Kind() == reflect.Struct {
			out = append(out, differences(x, y, name+".")...)
			continue
		}
		// An empty list reads back as none.
		if x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			out = append(out, change{name, x.Interface(), y.Interface()})
		}
	}
	return out
}
