package serve

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

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
	under := make([]underway, len(q.tasks)*q.n)
	for choice := range under {
		if q.tools != nil && q.tools.form != nil {
			under[choice].reader = q.tools.form.Reader(q.tools.tools)
		}
		all.Go(func() { s.decode(ctx, q, choice, box.put) })
	}
	for left := len(under); left > 0; {
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
			d, news := under[m.choice].take(m, q)
			if d.done != nil {
				left--
			}
			if news {
				if err := to(d); err != nil {
					return nil, err
				}
			}
		}
	}
	answers := make([]answer, len(under))
	for i := range under {
		answers[i] = under[i].answer
	}
	return answers, nil
}

// decode decodes one of a question's answers, and puts all that comes of it.
func (s *Server) decode(ctx context.Context, q *question, choice int, put func(mail)) {
	p, task := q.way.policy, q.tasks[choice/q.n]
	p.MaxTokens, p.TopLogProbs = task.MaxTokens, q.top
	if q.tools != nil && q.tools.form != nil {
		p.Spell = s.dialect.spell
	}
	p.Key = func(string, int) uint64 { return policy.Key(q.seed, 0, "", choice) }
	p.EmitThinking = func(b []byte) { put(mail{choice: choice, thought: string(b)}) }
	if q.tellsTokens() {
		p.EmitTokens = func(t []decode.Said) { put(mail{choice: choice, tokens: t}) }
	}
	if q.way.tree {
		p.Branches = func(b []decode.Branch) { put(mail{choice: choice, branches: b}) }
	}
	r, err := s.decoder.answer(ctx, &p, task, func(b []byte) { put(mail{choice: choice, text: string(b)}) })
	put(mail{choice: choice, response: &r, err: err})
}

// underway is an answer that is not finished.
type underway struct {
	answer
	texts, thoughts runes            // their last characters may not be whole
	reader          *toolcall.Reader // of calls; nil where none are looked for
	tokens          []decode.Said    // that wait for the text that they are of
	told            int              // tokens that have come
}

// take adds what a decoder says, and gives what there is to tell of it, if it is news.
func (u *underway) take(m mail, q *question) (d delta, news bool) {
	last := m.response != nil
	d = delta{choice: m.choice, text: u.texts.add(m.text, last), thought: u.thoughts.add(m.thought, last), branches: m.branches}
	if u.reader != nil {
		d.text, d.calls = u.reader.Push(d.text, last)
	}
	u.tokens, u.told = append(u.tokens, m.tokens...), u.told+len(m.tokens)
	a := &u.answer
	a.text += d.text
	a.thought += d.thought
	a.calls = append(a.calls, d.calls...)
	if last {
		a.Response, a.finish = *m.response, string(m.response.Finish)
		a.reasoning = reasoning(&q.tasks[m.choice/q.n], m.response)
		if len(a.calls) > 0 && a.Finish == decode.FinishEOG {
			a.finish = "tool_calls"
		}
		d.done = a
		if q.tellsTokens() {
			u.tokens = append(u.tokens, a.Said()[u.told:]...)
		}
	}
	said := d.text != "" || d.thought != "" || d.calls != nil || last
	if said {
		d.tokens, u.tokens = u.tokens, nil
	}
	return d, said || d.branches != nil
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
