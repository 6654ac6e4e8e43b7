package experiment

import (
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/eval/winrate"
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
	Temperature float64      `json:"temperature"`     // of the base policy
	Rows        []Row        `json:"rows"`            // on the test prompts
	Tuned       []Tuning     `json:"tuned,omitempty"` // of policies that the experiment has trained
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
	Model  string          `json:"model,omitempty"`
	Method string          `json:"method"`
	Report *winrate.Report `json:"report"` // a is the method
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
	Tuned  Kind = "tuned"  // the model itself was trained
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
	// None says that no variation is what may be chosen, by KL and other rewards: what was taken is the nearest one.
	None bool  `json:"none,omitempty"`
	Rows []Row `json:"rows"` // on the validation prompts
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
	Seed     *uint64    `json:"seed,omitempty"` // of a value function that differs by seed
	R2       float64    `json:"r2"`
	Quarters [4]float64 `json:"quarters"` // of the answers
	// OfMost is not a number where no part of the variance could be explained.
	OfMost number.Float `json:"of_most"`
}

var unknown = eval.Interval{Mean: math.NaN(), Lo: math.NaN(), Hi: math.NaN()}

// rowOf states a method's means, with its wins against the base where there is one. cells are by seed.
func rowOf(p *recipe.Policy, m *recipe.Method, cells, base []*Cell, r *eval.Resampling) Row {
	row := Row{
		Model: p.ID, Method: m.ID, Family: m.Family, Settings: m.Settings, Kind: kindOf(m), Value: m.Value,
		Reward: r.Of(means(cells, 0)).Interval(), Wins: unknown, KL: r.Of(divergences(cells)).Interval(), KLKind: decode.KLExact, Answers: cells[0].Answers,
	}
	decoded, emitted, calls, count := 0, 0, 0, 0
	for _, c := range cells {
		decoded, emitted, calls, count = decoded+c.Decoded, emitted+c.Emitted, calls+c.Calls, count+c.count()
		if !c.Exact {
			row.KLKind = decode.KLBound
		}
	}
	row.DecodedPerEmitted = float64(decoded) / float64(max(1, emitted))
	row.Decoded, row.Emitted, row.RewardCalls = float64(decoded)/float64(count), float64(emitted)/float64(count), float64(calls)/float64(count)
	if base != nil {
		row.Wins = r.Of(Wins(cells, base, 0)).Interval()
	}
	for i, s := range cells[0].Rewards[1:] {
		if row.Others == nil {
			row.Others = map[string]eval.Interval{}
		}
		row.Others[s.Reward] = r.Of(means(cells, 1+i)).Interval()
	}
	return row
}

// means are the mean rewards of answers, [seed][prompt], by the place of the reward.
func means(cells []*Cell, reward int) (out [][]float64) {
	for _, c := range cells {
		out = append(out, c.Means(reward))
	}
	return out
}

func divergences(cells []*Cell) (out [][]float64) {
	for _, c := range cells {
		out = append(out, floats(c.KL))
	}
	return out
}

func floats(of []number.Float) (out []float64) {
	for _, x := range of {
		out = append(out, float64(x))
	}
	return out
}

func kindOf(m *recipe.Method) Kind {
	switch {
	case m.BestOf > 1 || m.Strategy.Method == decode.MethodBestOfN:
		return Ranked
	case m.Strategy.NeedsValue():
		return Guided
	case m.Policy != "":
		return Tuned
	}
	return Alone
}

// Wins are the shares of pairs of an answer of each, to the same prompt under the same seed, of which a's has the
// larger reward; ties, as [eval.WinRate] has them, count one half. Cells are by seed, the result is [seed][prompt].
func Wins(a, b []*Cell, reward int) (out [][]float64) {
	var own, others []float64
	for s := range a {
		own, others = append(own, floats(a[s].Rewards[reward].Scores)...), append(others, floats(b[s].Rewards[reward].Scores)...)
	}
	tie := eval.Tie(own, others)
	for s := range a {
		own, others := a[s].Rewards[reward].of(a[s].Answers), b[s].Rewards[reward].of(b[s].Answers)
		of := make([]float64, len(own))
		for p := range of {
			for _, x := range own[p] {
				for _, y := range others[p] {
					of[p] += tie.Win(x, y) / float64(len(own[p])*len(others[p]))
				}
			}
		}
		out = append(out, of)
	}
	return out
}

// evaluation compares the methods.
func (w *work) evaluation(chosen []*choice, outcomes []Outcome) (*Evaluation, error) {
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
		e.compare(w, p, slices.DeleteFunc(slices.Clone(outcomes), func(o Outcome) bool { return o.Policy != p }))
	}
	for _, c := range chosen {
		e.Choices = append(e.Choices, Choice{Model: c.policy.ID, Taken: c.tried[c.taken].ID, MaxKL: c.tried[0].Choose.MaxKL, None: c.none, Rows: c.rows})
	}
	tuned, err := w.tunings()
	for i := range tuned {
		tuned[i].Report.Effort.Seconds = 0 // which differ from time to time
	}
	e.Tuned = tuned
	return e, err
}

// compare states the rows of a policy and the differences between them.
func (e *Evaluation) compare(w *work, p *recipe.Policy, outcomes []Outcome) {
	if len(outcomes) == 0 {
		return
	}
	r := eval.NewResampling(len(p.Test), len(w.x.Seeds), 1)
	var of [][]eval.Means // [method][reward]
	for _, o := range outcomes {
		var own []eval.Means
		for reward := range w.x.Rewards {
			own = append(own, r.Of(means(o.Cells, reward)))
		}
		of = append(of, own)
	}
	for i, o := range outcomes {
		e.Rows = append(e.Rows, rowOf(p, o.Method, o.Cells, outcomes[0].Cells, r))
		for k := range i {
			e.Paired = append(e.Paired, Difference{p.ID, o.Method.ID, outcomes[k].Method.ID, of[i][0].Minus(of[k][0]).Interval()})
			if k == 0 || outcomes[k].Method.Entry == o.Method.Entry {
				e.guard(p, outcomes, of, k, i)
			}
		}
	}
}

// guard notes by which of the rewards that are watched the better one of two methods is the worse one.
func (e *Evaluation) guard(p *recipe.Policy, outcomes []Outcome, means [][]eval.Means, than, i int) {
	if than > 0 && means[i][0].Mean < means[than][0].Mean {
		i, than = than, i
	}
	for k, watched := range e.Watch {
		o := eval.Overoptimization{
			Method: outcomes[i].Method.ID, Than: outcomes[than].Method.ID,
			Reward: means[i][0].Minus(means[than][0]).Interval(), Second: means[i][1+k].Minus(means[than][1+k]).Interval(),
		}
		if o.BeyondDoubt() {
			e.Overoptimized = append(e.Overoptimized, Overoptimized{p.ID, watched, o})
		}
	}
}
