package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

type completionChoice struct {
	Index    int                 `json:"index"`
	Text     string              `json:"text"`
	Logprobs *completionLogprobs `json:"logprobs"`
	Finish   *string             `json:"finish_reason"`
	Ivo      any                 `json:"ivo,omitempty"` // as in chatChoice
}

type completionLogprobs struct {
	Tokens   []string             `json:"tokens"`
	Logprobs []float64            `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"` // in characters

	end int // offset behind the last
}

// completions is POST /v1/completions.
func (s *Server) completions(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	q, echo, err := s.readCompletion(o)
	if err != nil {
		return err
	}
	s.asked(w, q, "prompt", o.raw("prompt"))
	reply := newReply[completionChoice](s, q, "text_completion")
	if q.stream {
		return s.streamCompletion(w, r, q, reply, echo)
	}
	answers, err := s.run(r.Context(), q, func(delta) error { return nil }, func() error { return nil })
	if err != nil {
		return err
	}
	for i := range answers {
		a := &answers[i]
		c := completionChoice{Index: i, Text: echo[i/q.n] + a.text, Finish: &a.finish}
		if c.Logprobs, err = s.completionLogprobs(q, a.Said(), utf8.RuneCountInString(echo[i/q.n])); err != nil {
			return err
		}
		reply.Choices = append(reply.Choices, c)
	}
	reply.Usage, reply.Ivo = usageOf(q, answers), s.ivoOf(q, answers)
	reply.Usage.note(w)
	return writeJSON(w, http.StatusOK, reply)
}

func (s *Server) streamCompletion(w http.ResponseWriter, r *http.Request, q *question, reply reply[completionChoice], echo []string) error {
	e := s.stream(w)
	begun, offsets := make([]bool, len(q.tasks)*q.n), make([]int, len(q.tasks)*q.n)
	put := func(c completionChoice) error {
		chunk := reply
		chunk.Choices = append(chunk.Choices, c)
		return e.data(chunk)
	}
	answers, err := s.run(r.Context(), q, func(d delta) error {
		text := d.text
		if !begun[d.choice] {
			begun[d.choice] = true
			text = echo[d.choice/q.n] + text
			offsets[d.choice] = utf8.RuneCountInString(echo[d.choice/q.n])
		}
		c := completionChoice{Index: d.choice, Text: text, Ivo: s.ivoChunk(q, d.tokens)}
		if len(d.tokens) > 0 {
			var err error
			if c.Logprobs, err = s.completionLogprobs(q, d.tokens, offsets[d.choice]); err != nil {
				return err
			}
			if c.Logprobs != nil {
				offsets[d.choice] = c.Logprobs.end
			}
		}
		if d.done != nil {
			c.Finish, c.Ivo = &d.done.finish, s.ivoOf(q, []answer{*d.done})
		}
		if text == "" && d.done == nil {
			return nil
		}
		return put(c)
	}, e.alive)
	if err != nil {
		return e.fail(err)
	}
	return endStream(w, e, q, answers, reply)
}

// readCompletion reads a request for a completion; echo is what the answers to each prompt begin with.
func (s *Server) readCompletion(o *object) (q *question, echo []string, err error) {
	if q, err = s.read(o); err != nil {
		return nil, nil, err
	}
	q.id = newID("cmpl-")
	asked := o.whole("max_tokens", 16, 1, 1<<30)
	if !o.has("max_tokens") && q.way.maxTokens > 0 {
		asked = q.way.maxTokens
	}
	if o.has("logprobs") {
		q.logprobs, q.top = true, o.whole("logprobs", 0, 0, maxTop)
	}
	whole := o.flag("echo", false)
	if o.text("suffix") != "" {
		o.fail("suffix", "texts are only completed at their end")
	}
	prompts, err := s.inputs(o, "prompt")
	if err != nil {
		return nil, nil, err
	}
	if n := len(prompts) * q.n; n > maxChoices {
		return nil, nil, bad("prompt", "prompt: %d answers are asked for at once, at most %d are given", n, maxChoices)
	}
	var texts []string
	if raw := o.raw("prompt"); jsonkind.Of(raw) == jsonkind.Text {
		texts = []string{o.text("prompt")}
	} else if json.Unmarshal(raw, &texts) != nil {
		texts = nil // they are tokens
	}
	for i, tokens := range prompts {
		r := prompt.Record{ID: fmt.Sprint(i)}
		if texts != nil {
			r.Text = texts[i]
		} else if r.Text, err = s.o.Model.Detokenize(tokens, true); err != nil {
			return nil, nil, err
		}
		begin := ""
		if whole {
			begin = r.Text
		}
		echo = append(echo, begin)
		if err := s.fit(q, batch.Task{Encoded: prompt.Encoded{Record: r, Tokens: tokens}}, asked); err != nil {
			return nil, nil, err
		}
	}
	return q, echo, nil
}

// completionLogprobs are those of tokens of an answer in the shape of completions; offset is where they begin.
func (s *Server) completionLogprobs(q *question, said []decode.Said, offset int) (*completionLogprobs, error) {
	tokens, err := s.logprobs(q, said)
	if tokens == nil || err != nil {
		return nil, err
	}
	out := &completionLogprobs{Tokens: []string{}, Logprobs: []float64{}, Top: []map[string]float64{}, Offsets: []int{}}
	for _, t := range tokens {
		top := map[string]float64{}
		for _, alternative := range t.Top {
			if p, seen := top[alternative.Token]; !seen || alternative.Logprob > p { // parts of characters look alike
				top[alternative.Token] = alternative.Logprob
			}
		}
		out.Tokens, out.Logprobs = append(out.Tokens, t.Token), append(out.Logprobs, t.Logprob)
		out.Top, out.Offsets = append(out.Top, top), append(out.Offsets, offset)
		offset += utf8.RuneCountInString(t.Token)
	}
	out.end = offset
	return out, nil
}
