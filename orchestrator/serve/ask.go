package serve

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// The bounds of what requests ask for.
const (
	maxChoices = 128
	maxStops   = 64
	maxStop    = 1 << 10 // characters
	maxTop     = 20      // alternatives of a token
)

// question is what is made of a request that is answered by decoding.
type question struct {
	id       string
	created  int64
	model    string // as it was asked for
	way      way
	tasks    []batch.Task // one, but for completions of several prompts
	n        int          // answers to each
	seed     uint64
	tools    *toolset
	logprobs bool
	top      int // alternatives of each token
	stream   bool
	usage    bool // a stream ends with the usage
}

// resolve finds the way of a model's name, NAME or NAME@PRESET.
func (s *Server) resolve(model string) (way, error) {
	w := s.way()
	name, preset, at := strings.Cut(model, "@")
	if model == "" {
		return w, nil
	}
	p, ok := s.presets[preset]
	if name != s.name || at && !ok {
		err := bad("model", "there is no model %q: GET /v1/models lists what there is", model)
		err.status, err.code = 404, "model_not_found"
		return w, err
	}
	if at {
		w.preset(p)
	}
	return w, nil
}

// read reads what the endpoints that decode have in common.
func (s *Server) read(o *object) (*question, error) {
	q := &question{created: time.Now().Unix(), model: o.text("model")}
	var err error
	if q.way, err = s.resolve(q.model); err != nil {
		return nil, err
	}
	if q.model == "" {
		q.model = s.name
	}
	p := &q.way.policy
	sampling := &p.Sampling
	sampling.Temp = o.number("temperature", sampling.Temp, 0, 1e3)
	sampling.TopP = o.number("top_p", sampling.TopP, 0, 1)
	sampling.TopK = o.whole("top_k", sampling.TopK, 0, 1<<30)
	sampling.MinP = o.number("min_p", sampling.MinP, 0, 1)
	sampling.PresencePenalty = o.number("presence_penalty", sampling.PresencePenalty, -100, 100)
	sampling.FrequencyPenalty = o.number("frequency_penalty", sampling.FrequencyPenalty, -100, 100)
	sampling.RepeatPenalty = o.number("repeat_penalty", sampling.RepeatPenalty, 0, 100)
	sampling.RepeatLastN = o.whole("repeat_last_n", sampling.RepeatLastN, -1, 1<<30)
	q.n = o.whole("n", 1, 1, maxChoices)
	q.stream = o.flag("stream", false)
	if so := o.object("stream_options"); so != nil {
		q.usage = so.flag("include_usage", false)
	}
	for i, stop := range o.texts("stop", maxStops, maxStop) {
		if stop == "" {
			o.fail("stop", "text %d is empty, and every text begins with that", i)
		}
		p.Stop = append(p.Stop[:len(p.Stop):len(p.Stop)], stop)
	}
	q.seed = o.seed()
	s.constrain(o, sampling)
	q.way.apply(readGuidance(o))
	if err := o.problem(); err != nil {
		return nil, err
	}
	return q, s.guide(&q.way)
}

// seed is the seed of a request, a new one where it has none.
func (o *object) seed() uint64 {
	raw := o.raw("seed")
	if raw == nil {
		return rand.Uint64() >> 1
	}
	var n json.Number
	if jsonkind.Of(raw) != jsonkind.Number || json.Unmarshal(raw, &n) != nil {
		o.wrongKind("seed", raw, "a whole number")
	}
	i, err := n.Int64()
	if err != nil {
		x, err := n.Float64() // 7.0 is a whole number too
		if i = int64(x); err != nil || float64(i) != x || !strings.ContainsAny(n.String(), ".eE") || x >= 1<<63 {
			o.fail("seed", "%s is no whole number of 64 bits", n)
		}
	}
	return uint64(i)
}

// prepare encodes the prompt, and bounds the answer's length by what fits.
func (s *Server) prepare(q *question, r prompt.Record, e *prompt.Encoder, asked int) error {
	tokens, err := e.Encode(r)
	if err != nil {
		return err
	}
	return s.fit(q, batch.Task{Encoded: prompt.Encoded{Record: r, Tokens: tokens, Thinks: e.Thinks()}, Stop: e.Stops(r)}, asked)
}

// fit bounds the length of the answer to a task: asked is what the request says, 0 for nothing.
func (s *Server) fit(q *question, t batch.Task, asked int) error {
	w := &q.way
	if len(t.Tokens) == 0 {
		return bad("prompt", "the prompt is empty: give a text")
	}
	most := asked
	if most == 0 {
		most = w.maxTokens
	}
	if most == 0 {
		most = min(s.o.Policy.MaxTokens, max(1, s.o.Size-len(t.Tokens)))
	}
	if w.maxDecoded > 0 { // each step decodes as many tokens at most
		most = min(most, max(1, w.maxDecoded/w.policy.Sequences(1)))
	}
	n, err := w.policy.Room(len(t.Tokens), s.o.Size, most, s.o.Model.Info().ContextTrain)
	if err != nil {
		return err
	}
	t.MaxTokens = n
	q.tasks = append(q.tasks, t)
	return nil
}

// asked notes a question in the log, what it asks too where that is wanted.
func (s *Server) asked(w http.ResponseWriter, q *question, name string, what any) {
	note(w, "model", q.model)
	if s.o.LogPrompts {
		s.o.Log.Info("prompt", "id", q.id, name, string(encode(what)))
	}
}

// newID is an id as OpenAI's are: a prefix and random letters.
func newID(prefix string) string {
	return fmt.Sprintf("%s%016x%08x", prefix, rand.Uint64(), rand.Uint32())
}
