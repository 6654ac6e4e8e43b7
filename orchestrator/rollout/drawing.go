package rollout

import (
	"context"
	"slices"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/think"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Drawing is a shard to draw, with all that its responses depend on: it can be written down, sent to
// another machine and drawn there, from an empty context, with the same result.
type Drawing struct {
	Key      string         `json:"key"`                // by which a run knows the result
	Name     string         `json:"name"`               // the file of the run that it becomes, for people
	Model    string         `json:"model"`              // fingerprint
	Context  batch.Context  `json:"context"`            // of the engine
	Parallel int            `json:"parallel"`           // sequences at once
	Layers   []int          `json:"layers,omitempty"`   // that the engine taps
	Schema   *states.Schema `json:"schema,omitempty"`   // of the states, where they are kept
	Thinking *Thinking      `json:"thinking,omitempty"` // of a model that thinks before it answers

	Strategy  decode.Strategy  `json:"strategy"`
	Sampling  policy.Sampling  `json:"sampling"`
	Reference *policy.Sampling `json:"reference,omitempty"`
	MaxTokens int              `json:"max_tokens"`
	Stop      []string         `json:"stop,omitempty"`
	Thoughts  decode.Thoughts  `json:"thoughts,omitzero"`
	Guide     Guide            `json:"guide,omitzero"`
	Streams   Streams          `json:"streams"`
	Tasks     []Task           `json:"tasks"`

	// Policy has what of it is open on this machine: the value function and the rewards; the rest
	// is filled in by Draw.
	Policy batch.Policy `json:"-"`
	// Marks are those of Thinking, for the model that is open.
	Marks *think.Marks `json:"-"`
}

// Guide is what a drawing is guided by.
type Guide struct {
	Heads   []File            `json:"heads,omitempty"` // of several the mean
	Reading valuehead.Reading `json:"reading,omitzero"`
	ValueBy string            `json:"value_by,omitempty"` // fingerprint of a reward
	Rerank  string            `json:"rerank,omitempty"`   // and of another
	Here    string            `json:"-"`                  // why it can be drawn on this machine alone; empty if it can elsewhere
}

// File is one by its content.
type File struct {
	SHA256 string `json:"sha256"`
	Path   string `json:"-"` // where it lies on this machine
}

// Thinking says how prompts became tokens, which tells how a model marks its thoughts.
type Thinking struct {
	Template     string         `json:"template,omitempty"`
	Kwargs       map[string]any `json:"kwargs,omitempty"`
	ParseContent bool           `json:"parse_content,omitempty"`
}

// ThinkingOf is what of an encoder's options tells it.
func ThinkingOf(o prompt.Options) *Thinking {
	return &Thinking{Template: o.Template, Kwargs: o.TemplateKwargs, ParseContent: o.ParseContent}
}

// Marks are those of the thoughts of a model.
func (t *Thinking) Marks(m prompt.Model) (*think.Marks, error) {
	e, err := prompt.NewEncoder(m, prompt.Options{Chat: true, Template: t.Template, TemplateKwargs: t.Kwargs, ParseContent: t.ParseContent})
	if err != nil {
		return nil, err
	}
	return e.Thinks(), nil
}

// Streams are the random streams of a drawing; see [policy.Key].
type Streams struct {
	Seed  uint64 `json:"seed"`
	Round int    `json:"round"`
	Of    string `json:"of,omitempty"` // stands before the prompts' ids
}

// Key is that of a sample's stream.
func (s Streams) Key(id string, sample int) uint64 {
	return policy.Key(s.Seed, s.Round, s.Of+id, sample)
}

// Task is a prompt of a drawing; see [batch.Task].
type Task struct {
	ID      string         `json:"id"`
	Tokens  []int32        `json:"tokens"`
	First   int            `json:"first,omitempty"`
	Samples int            `json:"samples,omitempty"`
	Stop    []string       `json:"stop,omitempty"`
	Record  *prompt.Record `json:"record,omitempty"` // where a reward takes part
}

// TasksOf are tasks as they are written down.
func TasksOf(tasks []batch.Task) []Task {
	out := make([]Task, len(tasks))
	for i, t := range tasks {
		out[i] = Task{ID: t.ID, Tokens: t.Tokens, First: t.First, Samples: t.Samples, Stop: t.Stop}
	}
	return out
}

// Count is the number of responses.
func (d *Drawing) Count() int {
	n := 0
	for _, t := range d.Tasks {
		n += max(1, t.Samples)
	}
	return n
}

// Answer is a response, with what methods that choose among several need to know of it.
type Answer struct {
	batch.Response
	Value number.Float `json:"value"` // V of the last state
	// Ratio is the log of a sample's probability under the policy that drew it over the base policy's.
	Ratio number.Float `json:"ratio"`
}

// Shard is what was drawn: the answers of the tasks, in their order.
type Shard struct {
	Answers []Answer
	// With a schema, one each of the answers and of the tasks:
	States  []states.Trajectory
	Prompts []states.Prompt
	// File holds these two instead, of a shard that was drawn elsewhere.
	File string
	// Drawn are the answers as they were decoded, where they were on this machine.
	Drawn []decode.Response
}

// Responses are the answers without what methods need to know of them.
func (s *Shard) Responses() []batch.Response {
	out := make([]batch.Response, len(s.Answers))
	for i, a := range s.Answers {
		out[i] = a.Response
	}
	return out
}

// Draw draws the shard on an engine of its model. finished, if set, is told of every response.
func (d *Drawing) Draw(ctx context.Context, e *engine.Engine, finished func()) (*Shard, error) {
	p := d.Policy
	p.Strategy, p.Sampling, p.Reference, p.MaxTokens, p.Stop, p.Thoughts = d.Strategy, d.Sampling, d.Reference, d.MaxTokens, d.Stop, d.Thoughts
	p.Key, p.Record, p.Finished = d.Streams.Key, d.Schema != nil, finished
	tasks := make([]batch.Task, len(d.Tasks))
	for i, t := range d.Tasks {
		tasks[i] = batch.Task{Encoded: prompt.Encoded{Record: prompt.Record{ID: t.ID}, Tokens: t.Tokens, Thinks: d.Marks}, First: t.First, Samples: t.Samples, Stop: t.Stop}
		if t.Record != nil {
			tasks[i].Record = *t.Record
		}
	}
	return draw(ctx, e, p, tasks)
}

// Taker takes what is drawn.
type Taker struct {
	Wants    func() bool             // asked before a shard is begun; nil for yes
	Finished func(shard int)         // told of every response, as far as that is known before the shard is finished
	Put      func(int, *Shard) error // gets each shard; calls may overlap, and an error ends the drawing
}

// Drawer draws shards, in any order: on this machine ([Pool]) or on others.
type Drawer interface {
	Draw(ctx context.Context, all []*Drawing, to Taker) error
}

// Pool draws on engines of this machine, all of which must suit the drawings.
type Pool struct {
	*engine.Pool
	Own batch.Own // is told of what is drawn
}

func (p Pool) Draw(ctx context.Context, all []*Drawing, to Taker) error {
	return p.Each(ctx, len(all), func(ctx context.Context, e *engine.Engine, i int) error {
		if to.Wants != nil && !to.Wants() {
			return nil
		}
		s, err := all[i].Draw(ctx, e, func() {
			if to.Finished != nil {
				to.Finished(i)
			}
		})
		if err != nil {
			return err
		}
		if err := to.Put(i, s); err != nil {
			return err
		}
		p.Own.Responses(all[i].Name, s.Responses())
		return nil
	})
}

// Under has drawings drawn whose files lie in a folder of what the drawer knows.
func Under(folder string, by Drawer) Drawer {
	if by == nil {
		return nil
	}
	return under{folder, by}
}

type under struct {
	folder string
	by     Drawer
}

func (u under) Draw(ctx context.Context, all []*Drawing, to Taker) error {
	named := make([]*Drawing, len(all))
	for i, d := range all {
		of := *d
		of.Name = u.folder + "/" + d.Name
		named[i] = &of
	}
	return u.by.Draw(ctx, named, to)
}

// Suits says whether drawings can be drawn by the engines of one pool.
func (d *Drawing) Suits(o *Drawing) bool {
	return d.Model == o.Model && d.Context == o.Context && d.Parallel == o.Parallel && slices.Equal(d.Layers, o.Layers)
}
