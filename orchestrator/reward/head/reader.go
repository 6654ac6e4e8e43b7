package head

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Reader computes the states of answers that heads read. It may be used from several goroutines,
// which take turns.
type Reader struct {
	model   *llama.Model
	encoder *prompt.Encoder
	reads   Reading
	padding []int32
	gate    bool
	inner   bool // all layers lie below the last: their states come without logits

	embeddings *llama.Embeddings // nil unless they alone are read

	mu        sync.Mutex
	c         *llama.Context    // nil before the first answer
	followers map[any]*follower // of the places in which answers are followed
}

// day is the date that templates which tell it are given: scores are to be the same tomorrow. It is the
// one that Llama 3's templates fall back on.
var day = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// NewReader makes a reader of the states that a reading names, in conversations by a chat template;
// "" for the model's own. Close it before the model.
func NewReader(m *llama.Model, r Reading, template string) (*Reader, error) {
	encoder, err := prompt.NewEncoder(m, prompt.Options{Template: template, Now: day})
	if err != nil {
		return nil, err
	}
	out := &Reader{model: m, encoder: encoder, reads: r, followers: map[any]*follower{}}
	if r.embeddings() {
		out.embeddings, err = m.Embeddings()
		return out, err
	}
	most := m.Info().Layers
	for _, l := range r.Layers {
		if l < 0 || l > most {
			return nil, fault.New("", "layers", most, fmt.Sprintf("choose {layers} from %d, the embeddings of tokens, to %d, the state after the final norm", Embeddings, most), "layer %d of a model with %d", l, most)
		}
	}
	out.inner = r.Layers != nil && slices.Max(r.Layers) < most-1
	return out, nil
}

// Plain says whether neither the model nor whoever made the reader has a chat template, so that
// conversations are shown as plain text.
func (r *Reader) Plain() bool { return r.encoder.Plain() }

// Identity is a hash of what answers' tokens depend on besides the model.
func (r *Reader) Identity() string { return r.encoder.Identity() }

// Limit is the most tokens of a conversation.
func (r *Reader) Limit() int { return cmp.Or(r.model.Info().ContextTrain, 4096) }

// Check finds prompts that leave no room for an answer.
func (r *Reader) Check(ctx context.Context, records []prompt.Record) error {
	for _, record := range records {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		tokens, err := r.encoder.Conversation(messages(record), false)
		if err == nil && len(tokens) >= r.Limit() {
			err = r.tooLong(len(tokens), "and the answer has none")
		}
		if err != nil {
			return fmt.Errorf("prompt %q: %w", record.ID, err)
		}
	}
	return nil
}

func (r *Reader) tooLong(tokens int, more string) error {
	return fault.New("", "reward", r.Limit(), "shorten the prompt, lower {max_tokens}, or choose another {reward}", "%d tokens of the reward model's %d%s", tokens, r.Limit(), " "+more)
}

// messages are the conversation that a prompt is.
func messages(r prompt.Record) []llama.Message {
	if r.Messages != nil {
		return slices.Clip(r.Messages)
	}
	return []llama.Message{{Role: "user", Content: r.Text}}
}

// conversation is an answer with its prompt, in tokens.
type conversation struct {
	answer int    // its number
	prompt string // the prompt's id
	tokens []int32
	from   int // the position of the answer's first token that is read; all that follow are
	since  int // that of the first token whose state is wanted: 0 where the prompt's are
	gate   int // the position whose state the gate reads; -1 without
	states States
}

// States are what a head reads of an answer.
type States struct {
	Tokens []int32        // [n] after which the states are: those of the answer with what ends its turn, or the last one alone
	Hidden []float32      // [n][layers * width], row-major
	Prompt *states.Prompt // the prompt's tokens and their states, of readings that look back; else nil
	Gate   []float32      // the state that the gate reads
}

// read is what was read of the conversation.
func (c *conversation) read() States {
	s := c.states
	if c.since == c.from {
		return s
	}
	at := len(s.Hidden) / (len(c.tokens) - c.since) * (c.from - c.since)
	s.Prompt = &states.Prompt{ID: c.prompt, Tokens: c.tokens[c.since:c.from], Hidden: s.Hidden[:at:at]}
	s.Hidden = s.Hidden[at:]
	return s
}

// encode makes tokens of an answer. opened is those of its prompt up to the answer, where all of the
// answer's states are read.
func (r *Reader) encode(a Answer, opened []int32) (*conversation, error) {
	asked := messages(a.Prompt)
	c := &conversation{prompt: a.Prompt.ID, gate: -1}
	var err error
	if c.tokens, err = r.encoder.Conversation(append(asked, llama.Message{Role: "assistant", Content: a.Response}), false); err != nil {
		return nil, err
	}
	for n := len(c.tokens); n > 0 && slices.Contains(r.padding, c.tokens[n-1]); n-- {
		c.tokens = c.tokens[:n-1]
	}
	if n := len(c.tokens); n == 0 {
		return nil, errors.New("the conversation has no tokens (give it a text)")
	} else if n > r.Limit() {
		return nil, r.tooLong(n, "are taken by prompt and answer")
	}
	c.from = len(c.tokens) - 1
	if !r.reads.one() {
		c.from = min(c.from, common(opened, c.tokens))
	}
	if c.since = c.from; r.reads.LooksBack() {
		if c.since = 0; c.from == 0 {
			return nil, errors.New("the reward looks back at the prompt, and there is none (give it a text)")
		}
	}
	c.states.Tokens = c.tokens[c.from:]
	if !r.gate {
		return c, nil
	}
	// The gate reads the token that ends the prompt, before the assistant's turn begins.
	closed, err := r.encoder.Conversation(asked, false)
	if err != nil {
		return nil, err
	}
	if c.gate = common(closed, c.tokens) - 1; c.gate < 0 {
		return nil, errors.New("the chat template writes another conversation once it is answered, so that nothing tells the prompt's end (import the head with the checkpoint's own template)")
	}
	// Some templates put a line break behind the token that ends a turn.
	if c.gate > 0 && !r.model.IsEOG(c.tokens[c.gate]) && r.model.IsEOG(c.tokens[c.gate-1]) {
		c.gate--
	}
	return c, nil
}

// Encode is an answer in tokens, and where in them what is read of it begins.
func (r *Reader) Encode(a Answer) (tokens []int32, from int, err error) {
	opened, err := r.encoder.Conversation(messages(a.Prompt), true)
	if err != nil {
		return nil, 0, err
	}
	c, err := r.encode(a, opened)
	if err != nil {
		return nil, 0, err
	}
	return c.tokens, c.from, nil
}

// common is the number of tokens with which both begin.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Read computes what is read of each answer and calls take with it, or with why there is nothing,
// not always in order. It fails as a whole only when ctx ends, the model cannot be decoded, or take
// fails.
func (r *Reader) Read(ctx context.Context, answers []Answer, take func(answer int, s States, err error) error) error {
	all, err := r.encodeAll(ctx, answers, take)
	if err != nil {
		return err
	}
	if r.embeddings != nil {
		return r.lookUp(all, take)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(all) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, cells := pack(all)
		some := all[:n]
		all = all[n:]
		none := r.room(cells) // there may be too little memory for long ones, others may fit
		if none == nil {
			if err := abortable(ctx, r.c, func() error { return r.pass(some) }); err != nil {
				return err
			}
		}
		for _, c := range some {
			if err := take(c.answer, c.read(), none); err != nil {
				return err
			}
			c.states = States{}
		}
	}
	return nil
}

// lookUp reads the embeddings of conversations' tokens.
func (r *Reader) lookUp(all []*conversation, take func(answer int, s States, err error) error) error {
	w := r.embeddings.Width()
	for _, c := range all {
		c.states.Hidden = make([]float32, len(c.states.Tokens)*w)
		for i, token := range c.states.Tokens {
			if err := r.embeddings.Row(int(token), c.states.Hidden[i*w:(i+1)*w]); err != nil {
				return err
			}
		}
		if err := take(c.answer, c.states, nil); err != nil {
			return err
		}
		c.states = States{}
	}
	return nil
}

// encodeAll makes tokens of answers, and calls take with why one has none.
func (r *Reader) encodeAll(ctx context.Context, answers []Answer, take func(answer int, s States, err error) error) (all []*conversation, err error) {
	var opened []int32
	var of []llama.Message // whose turn it opens
	for i, a := range answers {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		err := error(nil)
		if asked := messages(a.Prompt); !r.reads.one() && (of == nil || !slices.EqualFunc(asked, of, prompt.SameMessage)) {
			opened, err = r.encoder.Conversation(asked, true)
			of = asked
		}
		var c *conversation
		if err == nil {
			c, err = r.encode(a, opened)
		}
		if err != nil {
			if err := take(i, States{}, err); err != nil {
				return nil, err
			}
			continue
		}
		c.answer = i
		all = append(all, c)
	}
	return all, nil
}

// Close frees the contexts; the model is left.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.embeddings != nil {
		err = r.embeddings.Close()
	}
	if r.c != nil {
		err = errors.Join(err, r.c.Close())
	}
	for _, f := range r.followers {
		err = errors.Join(err, f.c.Close())
	}
	return err
}
