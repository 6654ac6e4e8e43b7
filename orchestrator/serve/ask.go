package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
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
		x, err := n.Float64()
		if i = int64(x); err != nil || float64(i) != x {
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

// delta is what has come of an answer.
type delta struct {
	choice   int
	thought  string
	text     string
	calls    []toolcall.Call
	tokens   []decode.Said   // of a stream that tells them, up to here
	branches []decode.Branch // of a block of the search, where they were asked for
	done     *answer         // the last of its answer
}

// answer is a finished answer.
type answer struct {
	decode.Response
	finish  string // in OpenAI's words
	thought string
	text    string
	calls   []toolcall.Call
	// reasoning is the number of its tokens that are thought.
	reasoning int
}

// reasoning counts the tokens of a response to a task that are thought.
func reasoning(t *batch.Task, r *decode.Response) int {
	if t.Thinks == nil {
		return 0
	}
	reader := t.Thinks.Begin(t.Tokens)
	for _, token := range r.Tokens {
		reader.Push(token)
	}
	return reader.Thought()
}

// run answers a question. to gets what comes of the answers, idle is called when nothing has for a while; an
// error of theirs ends all.
func (s *Server) run(ctx context.Context, q *question, to func(delta) error, idle func() error) ([]answer, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	box := newMailbox()
	var all sync.WaitGroup
	defer all.Wait() // after cancel
	defer cancel()
	n := len(q.tasks) * q.n
	for choice := range n {
		p, task := q.way.policy, q.tasks[choice/q.n]
		p.MaxTokens = task.MaxTokens
		if q.tools != nil && q.tools.form != nil {
			p.Spell = s.dialect.spell
		}
		p.Key = func(string, int) uint64 { return policy.Key(q.seed, 0, "", choice) }
		p.EmitThinking = func(b []byte) { box.put(mail{choice: choice, thought: string(b)}) }
		p.TopLogProbs = q.top
		if q.tellsTokens() {
			p.EmitTokens = func(t []decode.Said) { box.put(mail{choice: choice, tokens: t}) }
		}
		if q.way.tree {
			p.Branches = func(b []decode.Branch) { box.put(mail{choice: choice, branches: b}) }
		}
		all.Go(func() {
			r, err := s.decoder.answer(ctx, &p, task, func(b []byte) { box.put(mail{choice: choice, text: string(b)}) })
			box.put(mail{choice: choice, response: &r, err: err})
		})
	}
	answers, texts, thoughts := make([]answer, n), make([]runes, n), make([]runes, n)
	tokens, told := make([][]decode.Said, n), make([]int, n) // to be told, and those that have come
	readers := make([]*toolcall.Reader, n)
	for i := range readers {
		if q.tools != nil && q.tools.form != nil {
			readers[i] = q.tools.form.Reader(q.tools.tools)
		}
	}
	for left := n; left > 0; {
		letters, err := box.take(ctx, idleTime)
		if err != nil {
			return nil, err
		}
		if len(letters) == 0 {
			if err := idle(); err != nil {
				return nil, err
			}
		}
		for _, m := range letters {
			if m.err != nil {
				return nil, m.err
			}
			last, a := m.response != nil, &answers[m.choice]
			d := delta{choice: m.choice, text: texts[m.choice].add(m.text, last), thought: thoughts[m.choice].add(m.thought, last)}
			d.branches = m.branches
			tokens[m.choice], told[m.choice] = append(tokens[m.choice], m.tokens...), told[m.choice]+len(m.tokens)
			if r := readers[m.choice]; r != nil {
				d.text, d.calls = r.Push(d.text, last)
			}
			a.text += d.text
			a.thought += d.thought
			a.calls = append(a.calls, d.calls...)
			if last {
				left--
				a.Response, a.finish = *m.response, string(m.response.Finish)
				a.reasoning = reasoning(&q.tasks[m.choice/q.n], m.response)
				if len(a.calls) > 0 && a.Finish == decode.FinishEOG {
					a.finish = "tool_calls"
				}
				d.done = a
				if q.tellsTokens() {
					tokens[m.choice] = append(tokens[m.choice], a.Said()[told[m.choice]:]...)
				}
			}
			if d.text != "" || d.thought != "" || d.calls != nil || last {
				d.tokens, tokens[m.choice] = tokens[m.choice], nil
			}
			if d.text != "" || d.thought != "" || d.calls != nil || d.branches != nil || last {
				if err := to(d); err != nil {
					return nil, err
				}
			}
		}
	}
	return answers, nil
}

// tellsTokens says whether what comes of the answers has their tokens.
func (q *question) tellsTokens() bool {
	return q.stream && (q.logprobs || q.way.policy.EachValue)
}

// idleTime is after how long a stream says that it is alive.
const idleTime = 15 * time.Second

// runes completes the characters of a text that comes in parts.
type runes struct{ rest string }

// add is what is complete by now; what is no UTF-8 is shown as U+FFFD.
func (t *runes) add(s string, last bool) string {
	s = t.rest + s
	t.rest = ""
	if !last {
		for n := 1; n < utf8.UTFMax && n <= len(s); n++ {
			if tail := s[len(s)-n:]; utf8.RuneStart(tail[0]) {
				if !utf8.FullRuneInString(tail) {
					s, t.rest = s[:len(s)-n], tail
				}
				break
			}
		}
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// mail is what a decoder has to say of a choice.
type mail struct {
	choice   int
	text     string
	thought  string
	tokens   []decode.Said
	branches []decode.Branch
	response *decode.Response // at its end
	err      error
}

// mailbox holds what decoders say until it is written. It is as large as the answers are, so that no
// client that reads slowly stops a decoder.
type mailbox struct {
	mu      sync.Mutex
	letters []mail
	there   chan struct{}
}

func newMailbox() *mailbox { return &mailbox{there: make(chan struct{}, 1)} }

func (b *mailbox) put(m mail) {
	b.mu.Lock()
	b.letters = append(b.letters, m)
	b.mu.Unlock()
	select {
	case b.there <- struct{}{}:
	default:
	}
}

// take waits for letters, until ctx ends; none after a while.
func (b *mailbox) take(ctx context.Context, wait time.Duration) ([]mail, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-b.there:
		b.mu.Lock()
		defer b.mu.Unlock()
		letters := b.letters
		b.letters = nil
		return letters, nil
	case <-timer.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// newID is an id as OpenAI's are: a prefix and random letters.
func newID(prefix string) string {
	return fmt.Sprintf("%s%016x%08x", prefix, rand.Uint64(), rand.Uint32())
}
