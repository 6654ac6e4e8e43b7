package experiment

import (
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/eval/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Evaluation is the content of eval.json.
type Evaluation struct {
	run.Stamp
	Recipe      string       `json:"recipe"` // its file, as it was named
	Models      []Model      `json:"models"`
	Reward      string       `json:"reward"`
	Watch       []string     `json:"watch,omitempty"`
	Judges      []string     `json:"judges,omitempty"`
	Seeds       []uint64     `json:"seeds"`
	Prompts     Prompts      `json:"prompts"`
	Temperature float64      `json:"temperature"` // of the base policy
	Rows        []Row        `json:"rows"`        // on the test prompts
	Choices     []Choice     `json:"choices,omitempty"`
	Paired      []Difference `json:"paired"`
	Judged      []Judged     `json:"judged,omitempty"`
	Ceilings    []Ceiling    `json:"ceilings,omitempty"`
	// Overoptimized are methods that gain reward over the first one, or over another variation of theirs, and
	// lose by a reward that is watched.
	Overoptimized []Overoptimized `json:"overoptimized,omitempty"`
}

// Overoptimized is one of them.
type Overoptimized struct {
	Model   string `json:"model,omitempty"`
	Watched string `json:"watched"` // the reward that falls, as Second says
	eval.Overoptimization
}

// Judged is what a judge says of a method's answers beside the first method's: one of each to a prompt under
// each seed.
type Judged struct {
	Model  string           `json:"model,omitempty"`
	Method string           `json:"method"`
	Report *pairwise.Report `json:"report"` // a is the method
}

// Model is a policy.
type Model struct {
	ID          string `json:"id,omitempty"`
	File        string `json:"file"`
	Fingerprint string `json:"fingerprint"`
}

// Prompts are their numbers.
type Prompts struct {
	Train      int `json:"train,omitempty"`
	Validation int `json:"validation,omitempty"`
	Test       int `json:"test"`
}

// Kind says what a method does with a value or a reward.
type Kind string

const (
	Alone  Kind = "alone"  // nothing: the model alone
	Ranked Kind = "ranked" // whole answers are ranked
	Guided Kind = "guided" // decoding is guided
)

// Row is what a method gave on some prompts: means over prompts and seeds, with intervals.
type Row struct {
	Model    string                   `json:"model,omitempty"`
	Method   string                   `json:"method"`
	Family   string                   `json:"family"`
	Settings []recipe.Setting         `json:"settings,omitempty"`
	Kind     Kind                     `json:"kind"`
	Value    string                   `json:"value,omitempty"`
	Reward   eval.Interval            `json:"reward"`
	Others   map[string]eval.Interval `json:"others,omitempty"` // rewards that are watched, by their names
	// Wins is the share of pairs of an answer and one of the first method's, to the same prompt under the same
	// seed, of which it has the larger reward; ties count one half.
	Wins    eval.Interval `json:"wins"`
	KL      eval.Interval `json:"kl"` // nats an answer
	KLKind  decode.KLKind `json:"kl_kind"`
	Answers int           `json:"answers"` // to each prompt under each seed
	// DecodedPerEmitted is the number of tokens decoded for each token of the answers, and Decoded that
	// for an answer.
	DecodedPerEmitted float64 `json:"decoded_per_emitted"`
	Decoded           float64 `json:"decoded"`
	Emitted           float64 `json:"emitted"`
	RewardCalls       float64 `json:"reward_calls,omitempty"` // texts that a reward scored for an answer
}

// Choice tells which of a method's variations was taken, and from which.
type Choice struct {
	Model string  `json:"model,omitempty"`
	Taken string  `json:"taken"`
	MaxKL float64 `json:"max_kl,omitempty"`
	Rows  []Row   `json:"rows"` // on the validation prompts
}

// Difference is how much more reward one method gave than another, on the same prompts under the same
// seeds.
type Difference struct {
	Model      string        `json:"model,omitempty"`
	A          string        `json:"a"`
	B          string        `json:"b"`
	Difference eval.Interval `json:"difference"` // A - B
}

// Ceiling is the share of the rewards' variance that could be explained at the states of the base policy's
// answers, and the shares that value functions explain.
type Ceiling struct {
	Model    string             `json:"model,omitempty"`
	Rerolls  int                `json:"rerolls"`
	Most     valuehead.Ceilings `json:"most"`
	Explains []Explained        `json:"explains,omitempty"`
}

// Explained is the share of the variance that a value function explains, and that as a share of the most.
type Explained struct {
	Value    string     `json:"value"`
	Seed     uint64     `json:"seed,omitempty"` // of a value function that differs by seed
	R2       float64    `json:"r2"`
	Quarters [4]float64 `json:"quarters"` // of the answers
	// OfMost is not a number where no part of the variance could be explained.
	OfMost number.Float `json:"of_most"`
}

// sums are what a method's answers come to, [seed][prompt].
type sums struct {
	rewards [][][]float64 // [reward][seed][prompt]
	each    [][][]float64 // the reward of every answer, [seed][prompt][answer]
	kl      [][]float64
	exact   bool
	answers int // to each prompt under each seed
	decoded, emitted,
	calls int
	count int // answers in all
}

// sumUp takes the means of a method's answers to each prompt. Where a prompt has more samples than the
// best is taken of, there are several such answers.
func sumUp(m *recipe.Method, seeds [][]Sample) *sums {
	prompts := len(seeds[0]) / m.Samples
	s := &sums{exact: m.BestOf == 1, answers: m.Samples / m.BestOf}
	s.rewards = make([][][]float64, len(seeds[0][0].Rewards))
	for _, samples := range seeds {
		kl, each := make([]float64, prompts), make([][]float64, prompts)
		rewards := make([][]float64, len(s.rewards))
		for r := range rewards {
			rewards[r] = make([]float64, prompts)
		}
		for p := range prompts {
			for g := range s.answers {
				group := samples[p*m.Samples+g*m.BestOf:][:m.BestOf]
				a, divergence := best(m, group)
				kl[p] += divergence / float64(s.answers)
				each[p] = append(each[p], a.Rewards[0])
				for r, x := range a.Rewards {
					rewards[r][p] += x / float64(s.answers)
				}
				s.exact = s.exact && a.KLKind == decode.KLExact
				s.emitted += a.Emitted
				for _, a := range group {
					s.decoded += a.Decoded
					s.calls += a.RewardCalls
				}
				if m.BestOf > 1 && m.By == recipe.ByReward {
					s.calls += m.BestOf
				}
				s.count++
			}
		}
		s.kl, s.each = append(s.kl, kl), append(s.each, each)
		for r := range rewards {
			s.rewards[r] = append(s.rewards[r], rewards[r])
		}
	}
	return s
}

// best is the answer that is taken of some samples, and the KL of doing so: at most
// log n - (n-1)/n from the policy that drew them (arXiv 2401.01879), to which the answer's
// log-probability under that less the base policy's is added.
func best(m *recipe.Method, group []Sample) (Sample, float64) {
	if m.BestOf == 1 {
		return group[0], float64(group[0].KL)
	}
	by := func(a Sample) float64 {
		if m.By == recipe.ByValue {
			return float64(a.Value)
		}
		return a.Rewards[0]
	}
	best := group[0]
	for _, a := range group[1:] {
		if by(a) > by(best) {
			best = a
		}
	}
	n := float64(m.BestOf)
	return best, math.Log(n) - (n-1)/n + float64(best.Ratio)
}

var unknown = eval.Interval{Mean: math.NaN(), Lo: math.NaN(), Hi: math.NaN()}

// row states a method's means, with its wins against the base where there is one.
func (w *work) row(p *recipe.Policy, m *recipe.Method, s, base *sums, r *eval.Resampling) Row {
	row := Row{
		Model: p.ID, Method: m.ID, Family: m.Family, Settings: m.Settings, Kind: kindOf(m), Value: m.Value,
		Reward: r.Of(s.rewards[0]).Interval(), Wins: unknown,
		KL: r.Of(s.kl).Interval(), KLKind: decode.KLBound, Answers: s.answers,
		DecodedPerEmitted: float64(s.decoded) / float64(max(1, s.emitted)),
		Decoded:           float64(s.decoded) / float64(s.count), Emitted: float64(s.emitted) / float64(s.count), RewardCalls: float64(s.calls) / float64(s.count),
	}
	if s.exact {
		row.KLKind = decode.KLExact
	}
	if base != nil {
		row.Wins = r.Of(wins(s.each, base.each)).Interval()
	}
	for i, values := range s.rewards[1:] {
		if row.Others == nil {
			row.Others = map[string]eval.Interval{}
		}
		row.Others[w.x.Rewards[1+i].Info().Name] = r.Of(values).Interval()
	}
	return row
}

func kindOf(m *recipe.Method) Kind {
	switch {
	case m.BestOf > 1 || m.Strategy.Method == decode.MethodBestOfN:
		return Ranked
	case m.Strategy.NeedsValue():
		return Guided
	}
	return Alone
}

// wins are the shares of pairs of an answer of each, to the same prompt under the same seed, of which a's has
// the larger reward; ties, as [eval.WinRate] has them, count one half.
func wins(a, b [][][]float64) (out [][]float64) {
	tie := eval.Tie(slices.Concat(slices.Concat(a...)...), slices.Concat(slices.Concat(b...)...))
	for s := range a {
		of := make([]float64, len(a[s]))
		for p := range of {
			for _, x := range a[s][p] {
				for _, y := range b[s][p] {
					of[p] += tie.Win(x, y) / float64(len(a[s][p])*len(b[s][p]))
				}
			}
		}
		out = append(out, of)
	}
	return out
}

// evaluation compares the methods.
func (w *work) evaluation(chosen []*choice, answers []MethodAnswers) (*Evaluation, error) {
	x := w.x
	e := &Evaluation{
		Recipe: x.Path, Reward: x.Rewards[0].Info().Name, Seeds: x.Seeds, Temperature: x.Sampling.Temp,
		Prompts: Prompts{len(x.Prompts.Train.Records), len(x.Prompts.Validation.Records), len(x.Prompts.Test.Records)},
	}
	for i := range x.Watch {
		e.Watch = append(e.Watch, x.Rewards[1+i].Info().Name)
	}
	for _, m := range x.Judging {
		e.Judges = append(e.Judges, m.Info().Name)
	}
	for _, p := range x.Policies {
		fingerprint, err := p.Fingerprint()
		if err != nil {
			return nil, err
		}
		e.Models = append(e.Models, Model{p.ID, p.Path(), fingerprint})
		e.compare(w, p, slices.DeleteFunc(slices.Clone(answers), func(a MethodAnswers) bool { return a.Policy != p }))
	}
	for _, c := range chosen {
		e.Choices = append(e.Choices, Choice{Model: c.policy.ID, Taken: c.tried[c.taken].ID, MaxKL: c.tried[0].Choose.MaxKL, Rows: c.rows})
	}
	return e, nil
}

// compare states the rows of a policy and the differences between them.
func (e *Evaluation) compare(w *work, p *recipe.Policy, answers []MethodAnswers) {
	if len(answers) == 0 {
		return
	}
	r := eval.NewResampling(len(p.Test), len(w.x.Seeds), 1)
	var all []*sums
	var means [][]eval.Means // [method][reward]
	for _, a := range answers {
		s := sumUp(a.Method, a.Samples)
		var of []eval.Means
		for _, values := range s.rewards {
			of = append(of, r.Of(values))
		}
		all, means = append(all, s), append(means, of)
	}
	for i, a := range answers {
		e.Rows = append(e.Rows, w.row(p, a.Method, all[i], all[0], r))
		for k := range i {
			e.Paired = append(e.Paired, Difference{p.ID, a.Method.ID, answers[k].Method.ID, means[i][0].Minus(means[k][0]).Interval()})
			if k == 0 || answers[k].Method.Entry == a.Method.Entry {
				e.guard(p, answers, means, k, i)
			}
		}
	}
}

// guard notes by which of the rewards that are watched the better one of two methods is the worse one.
func (e *Evaluation) guard(p *recipe.Policy, answers []MethodAnswers, means [][]eval.Means, than, i int) {
	if than > 0 && means[i][0].Mean < means[than][0].Mean {
		i, than = than, i
	}
	for k, watched := range e.Watch {
		o := eval.Overoptimization{
			Method: answers[i].Method.ID, Than: answers[than].Method.ID,
			Reward: means[i][0].Minus(means[than][0]).Interval(), Second: means[i][1+k].Minus(means[than][1+k]).Interval(),
		}
		if o.BeyondDoubt() {
			e.Overoptimized = append(e.Overoptimized, Overoptimized{p.ID, watched, o})
		}
	}
}
