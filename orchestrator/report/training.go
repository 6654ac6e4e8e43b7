package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Training tells how a value function was trained from stored states.
type Training struct {
	Head       string            `json:"head"` // its file
	Kind       valuehead.Kind    `json:"kind"`
	OnePass    bool              `json:"one_pass"` // it values tokens before they are fed
	Target     valuehead.Target  `json:"target"`
	Atoms      int               `json:"atoms"` // returns of a categorical head, 0 for one that gives the mean alone
	Members    int               `json:"members"`
	Parameters int               `json:"parameters"`
	Layers     []int             `json:"layers"`
	Backbone   string            `json:"backbone"` // fingerprint of its model
	Shards     []string          `json:"shards"`   // files of states
	Prompts    int               `json:"prompts"`  // trained on, as are the trajectories and states
	Trained    int               `json:"trajectories"`
	States     int               `json:"states"`
	HeldOut    int               `json:"held_out_prompts"`
	Seed       uint64            `json:"seed"`
	WarmStart  bool              `json:"warm_start"`
	Seconds    float64           `json:"seconds"` // of training
	Page       string            `json:"-"`       // the page about it, "" for none
	Report     *valuehead.Report `json:"report"`
	Tried      []valuehead.Trial `json:"tried,omitempty"` // what the head was chosen from
	LeftOut    []learn.LeftOut   `json:"left_out,omitempty"`
}

// TrainingOf tells how a head was trained.
func TrainingOf(h *valuehead.Head, r *valuehead.Report) Training {
	s := h.Summary()
	return Training{
		Kind: h.Kind(), OnePass: h.CanScoreCandidates(), Target: h.Target(), Atoms: len(h.Atoms()), Members: h.Shape().Members,
		Parameters: h.Parameters(), Layers: h.Features().Options().Layers, Backbone: h.Backbone(),
		Prompts: s.Prompts, Trained: s.Trajectories, States: s.States, HeldOut: s.HeldOut, Seed: s.Seed, WarmStart: s.WarmStart, Report: r,
	}
}

// WriteTraining creates or replaces the page about a training at path.
func WriteTraining(path string, t Training) error { return write(path, "training.html", &t) }

// Part is a part of the held-out states with the score of the value function there.
type Part struct {
	Name  string
	Score valuehead.Score
}

// Parts are all parts: first all states, then those by relative position in the response.
func (t *Training) Parts() []Part { return PartsOf(&t.Report.HeldOut) }

// PartsOf are the parts of any value function's metrics.
func PartsOf(m *valuehead.Metrics) []Part {
	parts := []Part{{"all", m.All}}
	for i, s := range m.Quarters {
		parts = append(parts, Part{ordinal(i+1) + " quarter", s})
	}
	for i, s := range m.Fifths {
		parts = append(parts, Part{ordinal(i+1) + " fifth", s})
	}
	return append(parts, Part{"last state", m.Last})
}

// Gives says what the head gives of the return.
func (t *Training) Gives() string {
	gives := "the mean return"
	if t.Atoms > 0 {
		gives = fmt.Sprintf("a distribution over %d returns", t.Atoms)
	}
	if t.OnePass {
		gives += " of tokens before they are fed"
	}
	return gives
}

// choice says which of some heads was kept, what each gave in cross-validation, and which could not be fitted.
func choice(trials []valuehead.Trial, left []learn.LeftOut) string {
	var all []string
	for _, t := range trials {
		all = append(all, fmt.Sprintf("%s %.3f", t.Name, t.R2))
	}
	best := slices.MaxFunc(trials, func(a, b valuehead.Trial) int { return cmp.Compare(a.R2, b.R2) })
	text := fmt.Sprintf("%s, of %s (R^2 by cross-validation over prompts)", best.Name, strings.Join(all, ", "))
	for _, l := range left {
		text += fmt.Sprintf("; left out: %s (%s)", l.Name, l.Why)
	}
	return text
}

// TokensInWords says whether a head knows what each token adds, and how much of the return that is.
func TokensInWords(r *valuehead.Report) string {
	if r.Additive == nil {
		return "what each adds is not known: it serves no proposals"
	}
	k := r.Additive.Kept
	return fmt.Sprintf("what each adds is known: a sum with R^2 %.3f, at the last state %.3f (by cross-validation over prompts)", k.R2, k.R2Last)
}

// kept says how the parameters of a head came about.
func kept(r *valuehead.Report) string {
	if len(r.Epochs) == 0 {
		return "fitted in closed form"
	}
	return fmt.Sprintf("epoch %d of %d", r.Best, len(r.Epochs))
}

func ordinal(n int) string {
	if n >= 1 && n <= 3 {
		return fmt.Sprint(n, []string{"st", "nd", "rd"}[n-1])
	}
	return fmt.Sprint(n, "th")
}
