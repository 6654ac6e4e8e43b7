package loop

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Evaluation is the content of eval.json.
type Evaluation struct {
	run.Stamp
	Reward  string        `json:"reward"`
	Folder  string        `json:"scores"` // where the run keeps what the reward says
	Seed    uint64        `json:"seed"`
	Methods []eval.Result `json:"methods"`
	// Second is the reward that the answers were scored by, too, and from which nothing was learned; what
	// it warns of is Overoptimized.
	Second        string                  `json:"second,omitempty"`
	Overoptimized []eval.Overoptimization `json:"overoptimized,omitempty"`
}

// method is a way to answer prompts that the run compares, with the key of its value function.
type method struct {
	eval.Method
	guide rollout.Guide
	from  map[string]string
}

// methods are what is compared: the base policy and its honest controls (greedy and a
// lower temperature, which cost nothing), best-of-4 by the head, and blockwise beam
// search with the first round's head (IVO*) and the last one's (IVO).
func (l *looping) methods(heads []head) []method {
	t := l.o.Sampling.Temp
	with := func(name string, s decode.Strategy, round int, temp float64) method {
		p := batch.Policy{Strategy: s, Sampling: l.o.Sampling, MaxTokens: l.o.MaxTokens, Stop: l.o.Stop, Thoughts: l.o.Thoughts}
		p.Sampling.Temp = temp
		m := method{from: map[string]string{}}
		if round > 0 {
			h := heads[round-1]
			p.Value = value.Head(h.Head, valuehead.Reading{})
			m.guide.Heads = []rollout.File{{Path: l.d.Path(run.Head(round))}}
			m.from[run.Metrics(round)] = h.key
		}
		if temp != t {
			p.Reference = &l.o.Sampling
		}
		m.Method = eval.Method{Name: name, Policy: p}
		return m
	}
	sample := decode.Strategy{Method: decode.MethodSample}
	beam := decode.Strategy{Method: decode.MethodBlockBeam, Beam: l.o.Search}
	last := len(heads)
	ms := []method{
		with("base", sample, 0, t),
		with(fmt.Sprintf("base-t%g", t/2), sample, 0, t/2),
		with("greedy", sample, 0, 0),
	}
	if l.Second != nil {
		for _, beta := range guidance {
			ms = append(ms, with(guided(beta), l.o.guided(beta, value.Head(heads[last-1].Head, valuehead.Reading{}).Advantages()), last, t))
		}
	}
	ms = append(ms, with("best-of-4", l.o.bestOf(), last, t), with("ivo*", beam, 1, t))
	if last > 1 {
		ms = append(ms, with("ivo", beam, last, t))
	}
	return ms
}

// evaluate answers the test prompts by each method, scores the answers and compares them.
func (l *looping) evaluate(ctx context.Context, heads []head) error {
	out := &Evaluation{Reward: l.Reward.Info().Name, Folder: l.scorer.Folder(), Seed: l.o.Seed}
	from := map[string]string{}
	var base []eval.Answer
	guard := l.newGuard()
	for _, m := range l.methods(heads) {
		names, err := l.answer(ctx, m)
		if err != nil {
			return fmt.Errorf("evaluate %s: %w", m.Name, err)
		}
		answers, left, err := l.scored(ctx, &l.scorer, m.Name, names, from)
		if err != nil {
			return fmt.Errorf("evaluate %s: %w", m.Name, err)
		}
		if !l.o.SkipUnscored || len(answers) == 0 {
			if err := left.Err(len(l.Test)); err != nil {
				return fmt.Errorf("evaluate %s: %w", m.Name, err)
			}
		}
		if base == nil {
			base = answers
		}
		compared := base
		if left.Count > 0 || len(answers) != len(base) {
			if answers, compared = common(answers, base); len(answers) == 0 {
				return fmt.Errorf("evaluate %s: none of the prompts has scores of both its answer and that of %s: %w", m.Name, out.Methods[0].Method, left.Err(len(l.Test)))
			}
		}
		result := eval.Summarize(m.Name, answers, compared, l.o.Seed)
		if err := guard.judge(ctx, &result, names, from); err != nil {
			return fmt.Errorf("evaluate %s: %w", m.Name, err)
		}
		out.Methods = append(out.Methods, result)
	}
	guard.conclude(out)
	key := run.Key("evaluation", 1, out.Reward, out.Seed, from)
	if done, err := l.d.Done(run.EvaluationFile, key); done || err != nil {
		return err
	}
	return run.Put(l.d, run.EvaluationFile, key, from, nil, out)
}

// common are the answers to prompts that both have answers to: those that have a score.
func common(a, b []eval.Answer) (x, y []eval.Answer) {
	for _, answer := range a {
		if i := slices.IndexFunc(b, func(o eval.Answer) bool { return o.Prompt == answer.Prompt }); i >= 0 {
			x, y = append(x, answer), append(y, b[i])
		}
	}
	return x, y
}

// answer decodes a method's answers, shard by shard, unless they are there, and names them.
func (l *looping) answer(ctx context.Context, m method) ([]string, error) {
	shards := slices.Collect(slices.Chunk(l.Test, eval.ShardPrompts))
	names := make([]string, len(shards))
	event := Event{Stage: "evaluate " + m.Name, Total: len(l.Test), Unit: "prompts"}
	var mu sync.Mutex
	counted := make([]int, len(shards))
	count := func(i, n int) {
		mu.Lock()
		defer mu.Unlock()
		counted[i] += n
		event.Done += n
		l.Notify(event)
	}
	whole := func(i int) {
		mu.Lock()
		n := len(shards[i]) - counted[i]
		mu.Unlock()
		count(i, n)
	}
	l.Notify(event)
	var drawings []*rollout.Drawing
	var of []int // shards
	for i, shard := range shards {
		names[i] = run.Answers(m.Name, i)
		tasks := make([]batch.Task, len(shard))
		for k, p := range shard {
			tasks[k] = batch.Task{Encoded: p, Stop: l.Encoder.Stops(p.Record)}
		}
		key := l.decodeKey("evaluate "+m.Name, m.Policy, 0, tasks, m.from)
		done, err := l.d.Done(names[i], key)
		if err != nil {
			return nil, err
		}
		if done {
			whole(i)
			continue
		}
		d := l.drawing(names[i], key, m.Policy, tasks)
		// Best-of-n draws others than the base policy's answer, which it is compared with.
		d.Guide, d.Streams = m.guide, rollout.Streams{Seed: l.o.Seed, Of: string(m.Strategy.Method) + " "}
		drawings, of = append(drawings, d), append(of, i)
	}
	return names, l.drawer.Draw(ctx, drawings, rollout.Taker{
		Finished: func(i int) { count(of[i], 1) },
		Put: func(i int, drawn *rollout.Shard) error {
			if err := run.PutLines(l.d, names[of[i]], drawings[i].Key, m.from, nil, drawn.Responses()); err != nil {
				return err
			}
			whole(of[i])
			return nil
		},
	})
}

// scored are the answers of the files that have a score by a reward. What they were made from is noted in
// from.
func (l *looping) scored(ctx context.Context, by *batch.Scorer, method string, names []string, from map[string]string) (answers []eval.Answer, left batch.Unscored, err error) {
	event := Event{Stage: "evaluate " + method + ": score", Total: len(l.Test), Unit: "answers"}
	var mu sync.Mutex
	by.Notify = func(n int) {
		mu.Lock()
		defer mu.Unlock()
		if event.Done += n; event.Done < event.Total { // most rewards take no time
			l.Notify(event)
		}
	}
	scores, left, err := by.Files(ctx, names)
	if err != nil {
		return nil, left, err
	}
	for i, name := range names {
		part, err := join(l.d.Root(), name, scores[i])
		if err != nil {
			return nil, left, err
		}
		answers = append(answers, part...)
		file := run.Scores(by.Folder(), name)
		content, err := run.Identify(l.d.Path(file))
		if err != nil {
			return nil, left, err
		}
		from[file] = content.XXHash
	}
	return answers, left, nil
}

// join are a file's answers with their scores, those that have none left out.
func join(dir, name string, scores []batch.Score) (out []eval.Answer, err error) {
	_, responses, err := run.Lines[batch.Response](filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	for i, r := range responses {
		if i < len(scores) && scores[i].Reward != nil {
			out = append(out, eval.Answer{Response: r, Reward: *scores[i].Reward})
		}
	}
	return out, nil
}

// ReadEvaluation reads the evaluation of the finished run in dir, without its answers.
func ReadEvaluation(dir string) (*Evaluation, error) {
	return run.Value[Evaluation](filepath.Join(dir, run.EvaluationFile))
}

// ReadAnswers reads a method's scored answers from the run in dir.
func (e *Evaluation) ReadAnswers(dir, method string) (out []eval.Answer, err error) {
	for i := 0; ; i++ {
		name := run.Answers(method, i)
		file := run.Scores(e.Folder, name)
		if _, used := e.From[file]; !used {
			return out, nil
		}
		_, scores, err := run.Lines[batch.Score](filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		part, err := join(dir, name, scores)
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
}

// notRun is the error of a verb that was given something else than a run.
func notRun(op, dir string) error {
	return &fault.Error{Op: op, Err: fmt.Errorf("%s is not a run directory", dir), Hint: "name a directory that ivo iterate has written"}
}
