package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

// Guidance is what a preset or a request changes of the way in which answers are searched for. What is
// not there stays as it is.
type Guidance struct {
	Method     *decode.Method `yaml:"method"`
	ValueHead  *string        `yaml:"value_head"` // the name of one of the server's
	Beta       *float64       `yaml:"beta"`
	Beams      *int           `yaml:"beams"`
	Block      *int           `yaml:"block"`
	Candidates *int           `yaml:"candidates"`
	Samples    *int           `yaml:"samples"`
	Reward     *string        `yaml:"reward"` // the name of one of the server's, or none
	// MaxDecoded bounds the tokens that are decoded for an answer, those of pruned candidates
	// included, by bounding the answer's length.
	MaxDecoded *int  `yaml:"max_decoded"`
	Tree       *bool `yaml:"-"`      // a stream tells of all candidates of the search
	Values     *bool `yaml:"values"` // of every token, not only where the method asks
}

// Preset is a way of answering under a name: clients ask for it as MODEL@NAME.
type Preset struct {
	Guidance  `yaml:",inline"`
	About     string   `yaml:"about"`
	Temp      *float64 `yaml:"temperature"`
	TopK      *int     `yaml:"top_k"`
	TopP      *float64 `yaml:"top_p"`
	MinP      *float64 `yaml:"min_p"`
	MaxTokens *int     `yaml:"max_tokens"`
}

// Presets is a file of what a server offers beside its options.
type Presets struct {
	Heads   map[string]string `yaml:"value_heads"` // files by name
	Rewards map[string]string `yaml:"rewards"`     // specs by name
	Presets map[string]Preset `yaml:"presets"`
}

// ReadPresets reads a file of presets.
func ReadPresets(path string) (p Presets, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return p, fmt.Errorf("%w (check the path)", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&p); err != nil && !errors.Is(err, io.EOF) {
		return p, fault.New("", "presets", nil, "mend it: docs/serve.md has an example", "%s: %v", path, err)
	}
	for name := range p.Presets {
		if name == "" || strings.ContainsAny(name, "@ \t\n") {
			return p, fault.New("", "presets", nil, "choose another name", "%s: a preset is called %q: names hold no @ and no space", path, name)
		}
	}
	return p, nil
}

// way is how an answer is searched for: what options, preset and request make together.
type way struct {
	policy     batch.Policy // but for stops, keys and the answer's length
	head       string
	reward     string
	maxTokens  int // 0 where nobody says
	maxDecoded int // 0 for no bound
	tree       bool
}

// apply changes the way as a preset or a request says.
func (w *way) apply(g Guidance) {
	s := &w.policy.Strategy
	set(&s.Method, g.Method)
	set(&s.Guide.Beta, g.Beta)
	set(&s.Beam.Beams, g.Beams)
	set(&s.Beam.Block, g.Block)
	set(&s.Guide.TopK, g.Candidates)
	set(&s.N, g.Samples)
	set(&w.head, g.ValueHead)
	set(&w.reward, g.Reward)
	set(&w.maxDecoded, g.MaxDecoded)
	set(&w.policy.EachValue, g.Values)
	set(&w.tree, g.Tree)
}

func (w *way) preset(p Preset) {
	w.apply(p.Guidance)
	s := &w.policy.Sampling
	set(&s.Temp, p.Temp)
	set(&s.TopK, p.TopK)
	set(&s.TopP, p.TopP)
	set(&s.MinP, p.MinP)
	set(&w.maxTokens, p.MaxTokens)
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// none names no head and no reward.
const none = "none"

// guide gives the policy the head and the reward that the way names.
func (s *Server) guide(w *way) error {
	w.policy.Value, w.policy.Rerank, w.policy.ValueBy = nil, nil, nil
	if w.head != "" && w.head != none {
		head, ok := s.heads[w.head]
		if !ok {
			return bad("guidance.value_head", "there is no value head called %q, but %s", w.head, names(s.heads))
		}
		w.policy.Value = head.Source
	}
	if w.reward != "" && w.reward != none {
		m, ok := s.rewards[w.reward]
		if !ok {
			return bad("guidance.reward", "there is no reward called %q, but %s", w.reward, names(s.rewards))
		}
		// Where there is a head, or nothing but whole samples to choose from, the reward chooses among what
		// is finished; else it takes the head's place.
		switch method := w.policy.Strategy.Method; {
		case w.policy.Value != nil || method == decode.MethodBestOfN:
			w.policy.Rerank = m
		case method != decode.MethodSample:
			w.policy.ValueBy = m
		}
	}
	if err := w.policy.Strategy.Check(s.sequences); err != nil {
		return err
	}
	w.policy.EachValue = w.policy.EachValue && w.policy.Value != nil
	return w.policy.CheckGuidance()
}

func names[T any](m map[string]T) string {
	if len(m) == 0 {
		return none
	}
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// readGuidance reads the guidance object of a request.
func readGuidance(o *object) (g Guidance) {
	if o = o.object("guidance"); o == nil {
		return g
	}
	if o.has("method") {
		methods := make([]string, len(decode.Methods))
		for i, m := range decode.Methods {
			methods[i] = string(m)
		}
		m := decode.Method(o.oneOf("method", methods...))
		g.Method = &m
	}
	text := func(name string) *string {
		if !o.has(name) {
			return nil
		}
		s := o.text(name)
		return &s
	}
	whole := func(name string, hi int) *int {
		if !o.has(name) {
			return nil
		}
		n := o.whole(name, 0, 1, hi)
		return &n
	}
	const many = 1 << 20
	g.ValueHead, g.Reward = text("value_head"), text("reward")
	g.Beams, g.Block, g.Candidates = whole("beams", many), whole("block", many), whole("candidates", many)
	g.Samples, g.MaxDecoded = whole("samples", many), whole("max_decoded", 1<<40)
	if o.has("beta") {
		beta := o.number("beta", 0, -1e6, 1e6)
		g.Beta = &beta
	}
	flag := func(name string) *bool {
		if !o.has(name) {
			return nil
		}
		b := o.flag(name, false)
		return &b
	}
	g.Values, g.Tree = flag("values"), flag("tree")
	return g
}

// offered are the presets that a server has without a file of them; reward is the name of the first one.
func offered(head bool, reward string) map[string]Preset {
	method := func(m decode.Method) *decode.Method { return &m }
	number := func(n int) *int { return &n }
	out := map[string]Preset{"base": {Guidance: Guidance{Method: method(decode.MethodSample)}, About: "the model as it is"}}
	if head {
		out["beam-3x8"] = Preset{Guidance: Guidance{Method: method(decode.MethodBlockBeam), Beams: number(3), Block: number(8)}, About: "block beam search, 3 beams, blocks of 8 tokens"}
		out["tokenwise"] = Preset{Guidance: Guidance{Method: method(decode.MethodTokenwise)}, About: "every token guided"}
	}
	if head || reward != "" {
		best := Preset{Guidance: Guidance{Method: method(decode.MethodBestOfN), Samples: number(4)}, About: "the best of 4 samples"}
		if reward != "" {
			best.Reward = &reward
		}
		out["best-of-4"] = best
	}
	return out
}
