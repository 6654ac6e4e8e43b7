package loop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

// train fits the value function of a round, unless it is there.
func (l *looping) train(ctx context.Context, round int, heads []head) (head, error) {
	var rounds [][]string
	for k := 1; k <= round; k++ {
		if k == round || !l.o.Head.LastRoundOnly {
			rounds = append(rounds, l.o.trajectories(len(l.Prompts), k))
		}
	}
	data, err := learn.Of(l.d.Root(), rounds, l.scorer.Folder())
	if err != nil {
		return head{}, err
	}
	f := fit{
		d: l.d, o: &l.o, data: data, embeddings: l.Model.Embeddings, head: run.Head(round), metrics: run.Metrics(round), from: maps.Clone(data.From),
		notify: func(p valuehead.Progress) { l.Notify(trained(fmt.Sprintf("round %d: train", round), p)) },
		trying: func(done, total int, name string) {
			l.Notify(tried(fmt.Sprintf("round %d: try heads", round), done, total, name))
		},
	}
	if l.o.Head.WarmStart && len(heads) > 0 {
		before := heads[len(heads)-1]
		f.warm, f.from[run.Metrics(round-1)] = before.Head, before.key
	}
	h, m, err := f.do(ctx, func(m *learn.Metrics) { m.Round, m.RewardName = round, l.Reward.Info().Name })
	if err != nil {
		return head{}, err
	}
	return head{h, m.Key}, h.CheckBackbone(l.schema.Backbone)
}

// trained is the event of a training under way.
func trained(stage string, p valuehead.Progress) Event {
	return Event{
		Stage: stage, Done: p.Step, Total: p.Steps, Unit: "steps",
		Note: fmt.Sprintf("loss %.3f, held out %.3f, R^2 %.2f", p.TrainLoss, p.HeldOutLoss, p.HeldOutR2),
	}
}

// tried is the event of a kind of head that is tried.
func tried(stage string, done, total int, name string) Event {
	return Event{Stage: stage, Done: done, Total: total, Unit: "kinds", Note: name}
}

// fit is the training of a value function that the run keeps.
type fit struct {
	d             *run.Dir
	o             *Options
	data          *learn.Data
	embeddings    func() (*llama.Embeddings, error) // of the model's tokens; nil if the model is not there any more
	head, metrics string                            // names of the files
	from          map[string]string
	warm          *valuehead.Head // to train on from
	notify        func(valuehead.Progress)
	trying        func(done, total int, name string) // of the kinds of heads
}

// do trains the head, unless it is finished. describe completes what is known of it.
func (f *fit) do(ctx context.Context, describe func(*learn.Metrics)) (*valuehead.Head, *learn.Metrics, error) {
	how := f.o.Head
	how.WarmStart, how.LastRoundOnly = false, false // from says what they came to
	key := run.Key("head", 3, how, f.o.Seed, f.o.Layers, f.from)
	done, err := f.d.Done(f.metrics, key)
	if err == nil && !done && f.embeddings == nil { // a head that lacks what they teach is another one
		key = run.Key("head without embeddings", key)
		done, err = f.d.Done(f.metrics, key)
	}
	if err != nil {
		return nil, nil, err
	}
	if done {
		m, err := run.Value[learn.Metrics](f.d.Path(f.metrics))
		if err != nil {
			return nil, nil, err
		}
		h, err := valuehead.Load(f.d.Path(f.head))
		return h, m, err
	}
	options := f.o.Head.Options(f.o.Seed)
	options.From, options.Progress, options.Temp = f.warm, f.notify, f.o.Sampling.Temp
	if f.embeddings != nil {
		embeddings, err := f.embeddings()
		if err != nil {
			return nil, nil, err
		}
		defer embeddings.Close()
		options.Embeddings = embeddings
	}
	h, m, err := learn.Fit(ctx, f.data, learn.Fitting{TrainOptions: options, Trying: f.trying})
	if err != nil {
		return nil, nil, err
	}
	if err := h.Save(f.d.Path(f.head)); err != nil {
		return nil, nil, err
	}
	describe(m)
	return h, m, run.Put(f.d, f.metrics, key, f.from, []string{f.head}, m)
}

// embeddings opens the token embeddings of the model that a run was made with; nil where its file is
// not where it was.
func embeddings(ctx context.Context, o *Options, data *learn.Data) func() (*llama.Embeddings, error) {
	if _, err := os.Stat(o.Model); err != nil {
		return nil
	}
	return func() (*llama.Embeddings, error) { return data.Embeddings(ctx, o.Model) }
}

// Temperature is that of the base policy of the run in dir; 0 where that is not known.
func Temperature(dir string) float64 {
	o, err := ReadOptions(dir)
	if err != nil {
		return 0
	}
	return o.Sampling.Temp
}

// TokenEmbeddings opens those of the model that the run in dir was made with; they are nil where its
// file is not where it was, and where dir is "".
func TokenEmbeddings(ctx context.Context, dir string, data *learn.Data) (*llama.Embeddings, error) {
	if dir == "" {
		return nil, nil
	}
	o, err := ReadOptions(dir)
	if err != nil {
		return nil, err
	}
	if open := embeddings(ctx, o, data); open != nil {
		return open()
	}
	return nil, nil
}

// Rescored is what another reward made of a run.
type Rescored struct {
	Head      string         `json:"head"`      // its file
	Responses int            `json:"responses"` // scored
	Report    *learn.Metrics `json:"metrics"`
}

// Rescoring is another look at a run.
type Rescoring struct {
	Reward reward.Model
	// AllRounds learns from responses of later rounds too, which were drawn by policies that
	// followed the run's own reward; those of the first round do not depend on it.
	AllRounds    bool
	SkipUnscored bool        // learn without responses that have no score
	Notify       func(Event) // told of progress, if set
	Own          batch.Own   // is told of what is scored
}

// Score labels the stored responses of a run by another reward and trains a value function on
// the stored states: nothing is decoded.
func (r Rescoring) Score(ctx context.Context, dir string) (*Rescored, error) {
	if !run.IsRun(dir) {
		return nil, notRun("score", dir)
	}
	d, err := run.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	o, err := ReadOptions(dir)
	if err != nil {
		return nil, err
	}
	prompts, err := Prompts(dir, run.PromptsFile)
	if err != nil {
		return nil, err
	}
	if err := reward.Check(ctx, r.Reward, prompts); err != nil {
		return nil, err
	}
	last := 1
	if r.AllRounds {
		last = o.Rounds
	}
	rounds, err := Trajectories(dir, o, 1, last)
	if err != nil {
		return nil, err
	}
	names := slices.Concat(rounds...)
	notify := serialize(r.Notify)
	event := Event{Stage: "score", Unit: "responses"}
	for _, name := range names {
		_, lines, err := run.Lines[struct{}](d.Path(name))
		if err != nil {
			return nil, err
		}
		event.Total += len(lines)
	}
	s := batch.Scorer{Dir: d, Model: r.Reward, Own: r.Own, Skip: r.SkipUnscored, Records: batch.Records(prompts, func(p prompt.Record) prompt.Record { return p }), Notify: func(n int) {
		event.Done += n
		notify(event)
	}}
	_, left, err := s.Files(ctx, names)
	if err != nil {
		return nil, err
	}
	if !r.SkipUnscored || left.Count == event.Total {
		if err := left.Err(event.Total); err != nil {
			return nil, err
		}
	}
	data, err := learn.Of(dir, rounds, s.Folder())
	if err != nil {
		return nil, err
	}
	f := fit{
		d: d, o: o, data: data, embeddings: embeddings(ctx, o, data), head: run.Rescored(s.Folder()), metrics: run.RescoredMetrics(s.Folder()), from: data.From,
		notify: func(p valuehead.Progress) { notify(trained("train", p)) },
		trying: func(done, total int, name string) { notify(tried("try heads", done, total, name)) },
	}
	_, m, err := f.do(ctx, func(m *learn.Metrics) { m.RewardName = r.Reward.Info().Name })
	if err != nil {
		return nil, err
	}
	return &Rescored{Head: d.Path(f.head), Responses: event.Total - left.Count, Report: m}, nil
}
