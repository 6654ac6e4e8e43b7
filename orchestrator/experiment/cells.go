package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Cell is what a method gave on some prompts under a seed: all that comparisons are made of, without the answers'
// texts. It is small enough to be kept where an experiment is, so that another machine goes on from it.
type Cell struct {
	Key     string         `json:"key"` // of all that it depends on, but the rewards that are told beside
	Model   string         `json:"model,omitempty"`
	Method  string         `json:"method"`
	Seed    uint64         `json:"seed"`
	Answers int            `json:"answers"` // to each prompt
	Rewards []Scored       `json:"rewards"` // the one that is optimised first
	KL      []number.Float `json:"kl"`      // of each prompt, nats an answer
	Exact   bool           `json:"exact"`   // of the KL; else it is a bound
	Decoded int            `json:"decoded"` // tokens in all
	Emitted int            `json:"emitted"`
	Calls   int            `json:"calls,omitempty"` // texts that a reward scored
}

// Scored is what a reward says of all answers to each prompt in turn.
type Scored struct {
	Reward      string         `json:"reward"`
	Fingerprint string         `json:"fingerprint"`
	Scores      []number.Float `json:"scores"`
}

// of are the scores of the answers to each prompt, [prompt][answer].
func (s *Scored) of(answers int) (out [][]float64) {
	for part := range slices.Chunk(s.Scores, answers) {
		var of []float64
		for _, x := range part {
			of = append(of, float64(x))
		}
		out = append(out, of)
	}
	return out
}

// Means are the mean scores of each prompt's answers by a reward, by its place in the recipe.
func (c *Cell) Means(reward int) (out []float64) {
	for _, of := range c.Rewards[reward].of(c.Answers) {
		sum := 0.0
		for _, x := range of {
			sum += x / float64(len(of))
		}
		out = append(out, sum)
	}
	return out
}

// count is the number of answers.
func (c *Cell) count() int { return len(c.KL) * c.Answers }

// cell takes from a method's samples under a seed what is kept of them.
func (w *work) cell(p *recipe.Policy, m *recipe.Method, seed uint64, samples []Sample) *Cell {
	c := takingOf(m).Cell(samples)
	c.Model, c.Method, c.Seed = p.ID, m.ID, seed
	for i := range c.Rewards {
		x := w.x.Rewards[i].Info()
		c.Rewards[i].Reward, c.Rewards[i].Fingerprint = x.Name, x.Fingerprint
	}
	return c
}

// Outcome is what a method gave on the test prompts of a policy, a cell a seed.
type Outcome struct {
	Policy *recipe.Policy
	Method *recipe.Method
	Cells  []*Cell
}

// Rewards are the mean rewards of the answers, [seed][prompt], by the place of the reward in the recipe.
func (o *Outcome) Rewards(reward int) [][]float64 { return means(o.Cells, reward) }

// KL are the divergences from the base policy, [seed][prompt], in nats an answer.
func (o *Outcome) KL() [][]float64 { return divergences(o.Cells) }

// want are cells that are asked for: a method's on some prompts, one a seed.
type want struct {
	policy  *recipe.Policy
	method  *recipe.Method
	prompts []prompt.Encoded
	rewards int // the first so many of the recipe's
}

// missing is a cell that has to be made.
type missing struct {
	want   int // its place
	seed   int
	key    string
	shards []*shard
}

// gather finds or makes cells, and returns them by seed, with the samples of those that were made. Where none are to
// be made, those that are missing are nil.
func (w *work) gather(ctx context.Context, stage string, wants []want) (cells [][]*Cell, samples [][][]Sample, err error) {
	var open []*missing
	for i, x := range wants {
		cells, samples = append(cells, make([]*Cell, len(w.x.Seeds))), append(samples, make([][]Sample, len(w.x.Seeds)))
		for s := range w.x.Seeds {
			m := &missing{want: i, seed: s}
			if cells[i][s], err = w.kept(ctx, x, m); err != nil {
				return nil, nil, err
			}
			if cells[i][s] == nil && !w.only {
				open = append(open, m)
			}
		}
	}
	// What is kept is made bit by bit, so that little is lost.
	for _, some := range w.portions(wants, open) {
		if err := w.make(ctx, stage, wants, some); err != nil {
			return nil, nil, err
		}
		for _, m := range some {
			x := wants[m.want]
			answers, err := w.read(m.shards, x.rewards)
			if err != nil {
				return nil, nil, err
			}
			c := w.cell(x.policy, x.method, w.x.Seeds[m.seed], answers)
			if err := w.keep(m.key, c); err != nil {
				return nil, nil, err
			}
			cells[m.want][m.seed], samples[m.want][m.seed] = c, answers
		}
	}
	return cells, samples, nil
}

// portions parts what is missing into what is made at once: a method's settings under a seed; all of it, where no
// cells are kept.
func (w *work) portions(wants []want, open []*missing) (out [][]*missing) {
	if w.cells == "" {
		return [][]*missing{open}
	}
	slices.SortStableFunc(open, func(a, b *missing) int { return a.seed - b.seed })
	for _, m := range open {
		last := len(out) - 1
		alike := func(a, b *recipe.Method) bool { return a.Entry == b.Entry && a.Value == b.Value }
		if last < 0 || out[last][0].seed != m.seed || !alike(wants[out[last][0].want].method, wants[m.want].method) {
			out = append(out, nil)
			last++
		}
		out[last] = append(out[last], m)
	}
	return out
}

// make draws and scores the answers of cells that are missing.
func (w *work) make(ctx context.Context, stage string, wants []want, open []*missing) error {
	var all [][]*shard
	rewards := 1
	for _, m := range open {
		x, seed := wants[m.want], w.x.Seeds[m.seed]
		if err := w.prepare(ctx, x.method.Value, seed); err != nil {
			return err
		}
		err := w.tune(ctx, x.method.Policy, seed)
		if err != nil {
			return err
		}
		if m.shards, err = w.shards(x.policy, x.method, x.prompts, seed); err != nil {
			return err
		}
		all, rewards = append(all, m.shards), max(rewards, x.rewards)
	}
	every := unique(all)
	w.expect(every)
	if err := w.decode(ctx, stage, every); err != nil {
		return err
	}
	return w.score(ctx, stage, every, rewards)
}

// cellKey is that of all that a cell depends on, on whatever machine: how answers are batched is no part of it.
func (w *work) cellKey(x want, seed uint64) (string, error) {
	drawing, err := w.x.DrawingIdentity(x.policy, x.method, seed)
	if err != nil {
		return "", err
	}
	guidance, err := w.x.Identity(x.method, seed)
	if err != nil {
		return "", err
	}
	d, m := w.x.Bare(x.method), x.method
	return run.Key("cell", 1, thinking(drawing, *d), guidance, w.x.Rewards[0].Info().Fingerprint, m.Rerank, d.Strategy, d.Sampling, d.Reference, d.MaxTokens, d.Stop,
		seed, m.Samples, m.BestOf, m.By, tasks(x.policy, x.prompts)), nil
}

func (w *work) cellFile(key string) string { return filepath.Join(w.cells, key+".json") }

// kept reads a cell that is there with all rewards that are asked for, and notes its key.
func (w *work) kept(ctx context.Context, x want, m *missing) (*Cell, error) {
	if w.cells == "" {
		return nil, nil
	}
	seed := w.x.Seeds[m.seed]
	if !w.x.Foretold(x.method.Value) {
		if w.only {
			return nil, nil // its key is known when it has been learned
		}
		if err := w.prepare(ctx, x.method.Value, seed); err != nil {
			return nil, err
		}
	}
	var err error
	if m.key, err = w.cellKey(x, seed); err != nil {
		return nil, err
	}
	c, err := readCell(w.cellFile(m.key), func(c *Cell) error { return c.check(m.key, len(x.prompts)) })
	if c == nil || err != nil {
		return nil, err
	}
	return c.with(w.x.Rewards[:x.rewards]), nil
}

// check finds what no cell of a key holds: others count on a score of each answer to each of so many prompts.
func (c *Cell) check(key string, prompts int) error {
	if err := keyed(c.Key, key); err != nil {
		return err
	}
	if c.Answers < 1 || len(c.KL) != prompts {
		return fmt.Errorf("it has %d answers to each of %d prompts, and there are %d", c.Answers, len(c.KL), prompts)
	}
	for _, r := range c.Rewards {
		if len(r.Scores)%c.Answers != 0 || len(r.Scores)/c.Answers != prompts {
			return fmt.Errorf("it has %d scores by %s of %d answers to each of %d prompts", len(r.Scores), r.Reward, c.Answers, prompts)
		}
	}
	return nil
}

// keyed finds a key that is not the one that is wanted.
func keyed(has, wanted string) error {
	if has != wanted {
		return fmt.Errorf("it has the key %q", has)
	}
	return nil
}

// readCell reads a file that holds what the check says; nil where it is not there.
func readCell[T any](path string, check func(*T) error) (*T, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	c := new(T)
	if err == nil {
		err = json.Unmarshal(text, c)
	}
	if err == nil {
		err = check(c)
	}
	if err != nil {
		return nil, &fault.Error{Op: "read a cell", Err: fmt.Errorf("%s: %w", path, err), Hint: "delete the file; it is made again"}
	}
	return c, nil
}

// with is the cell with what some rewards say, in this order; nil if one is not among those that were asked.
func (c *Cell) with(rewards []reward.Model) *Cell {
	var of []Scored
	for _, r := range rewards {
		at := slices.IndexFunc(c.Rewards, func(s Scored) bool { return s.Fingerprint == r.Info().Fingerprint })
		if at < 0 {
			return nil
		}
		of = append(of, c.Rewards[at])
	}
	c.Rewards = of
	return c
}

// keep writes a cell that was made. Its numbers are rounded: what they lack is far less than what another machine's
// arithmetic makes of an answer.
func (w *work) keep(key string, c *Cell) error {
	if w.cells == "" {
		return nil
	}
	c.Key = key
	round := func(of []number.Float) {
		for i, x := range of {
			of[i] = number.Float(math.Round(float64(x)*1e4) / 1e4)
		}
	}
	round(c.KL)
	for _, r := range c.Rewards {
		round(r.Scores)
	}
	return w.writeCell(key, c)
}

func (w *work) writeCell(key string, c any) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.cells, 0o755); err != nil {
		return &fault.Error{Op: "keep a cell", Err: err, Hint: "name a folder that can be made and written to"}
	}
	return atomicfile.WriteBytes(w.cellFile(key), append(text, '\n'))
}

// Learned is what is known of a value function that a run of the recipe taught under a seed. It is kept beside the
// cells of what it guided.
type Learned struct {
	Key          string       `json:"key"`
	Value        string       `json:"value"`
	Seed         uint64       `json:"seed"`
	Head         string       `json:"head"`
	Parameters   int          `json:"parameters"`
	Trajectories int          `json:"trajectories"` // of the newest round
	Tokens       float64      `json:"tokens"`       // mean length of their responses
	R2           number.Float `json:"r2"`           // on held-out prompts, over all states
	R2Last       number.Float `json:"r2_last"`      // at the last ones
}

func (w *work) learnedKey(id string, seed uint64) (string, error) {
	key, err := w.x.Identity(&recipe.Method{Value: id}, seed)
	return "value-" + key, err
}

// keepLearned keeps what the file of a value function's metrics says.
func (w *work) keepLearned(id string, seed uint64, metrics string) error {
	if w.cells == "" {
		return nil
	}
	key, err := w.learnedKey(id, seed)
	if err != nil {
		return err
	}
	m, err := run.Value[learn.Metrics](metrics)
	if err != nil {
		return err
	}
	round := func(x float64) number.Float { return number.Float(math.Round(1e4*x) / 1e4) }
	return w.writeCell(key, &Learned{
		Key: key, Value: id, Seed: seed, Head: m.Head, Parameters: m.Parameters, Trajectories: m.Trajectories, Tokens: m.Tokens,
		R2: round(m.Training.HeldOut.All.R2), R2Last: round(m.Training.HeldOut.Last.R2),
	})
}

// allLearned are the value functions of the recipe's runs of which something is kept.
func (w *work) allLearned() (out []Learned, err error) {
	for i := range w.x.Values {
		v := &w.x.Values[i]
		if v.Source.Run == "" {
			continue
		}
		for _, seed := range w.x.Seeds {
			key, err := w.learnedKey(v.ID, seed)
			if err != nil {
				return nil, err
			}
			l, err := readCell(w.cellFile(key), func(l *Learned) error { return keyed(l.Key, key) })
			if err != nil {
				return nil, err
			}
			if l != nil {
				out = append(out, *l)
			}
		}
	}
	return out, nil
}
