package serve

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

const maxMessages = 4096

// chat is POST /v1/chat/completions.
func (s *Server) chat(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	q, err := s.readChat(o)
	if err != nil {
		return err
	}
	q.note(w)
	if s.o.LogPrompts {
		s.o.Log.Info("prompt", "id", q.id, "messages", string(encode(q.tasks[0].Messages)))
	}
	if q.stream {
		return s.streamChat(w, r, q)
	}
	answers, err := s.run(r.Context(), q, func(delta) error { return nil }, func() error { return nil })
	if err != nil {
		return err
	}
	reply := s.chatReply(q, "chat.completion")
	for i, a := range answers {
		m := &chatMessage{Role: "assistant", Content: &a.text, Thought: a.thought, Calls: chatCalls(a.calls, -1)}
		if a.text == "" && len(a.calls) > 0 {
			m.Content = nil
		}
		c := chatChoice{Index: i, Message: m, Finish: &a.finish}
		if c.Logprobs, err = s.chatLogprobs(q, a.Said()); err != nil {
			return err
		}
		reply.Choices = append(reply.Choices, c)
	}
	reply.Usage, reply.Ivo = usageOf(q, answers), s.ivoOf(q, answers)
	reply.Usage.note(w)
	return writeJSON(w, http.StatusOK, reply)
}

// readChat reads a request for a chat completion.
func (s *Server) readChat(o *object) (*question, error) {
	q, err := s.read(o)
	if err != nil {
		return nil, err
	}
	q.id = newID("chatcmpl-")
	messages := o.messages("messages")
	asked := o.whole("max_completion_tokens", o.whole("max_tokens", 0, 1, 1<<30), 1, 1<<30)
	vars := o.vars("chat_template_kwargs")
	q.tools = o.readTools(false)
	q.readFormat(o, "response_format", false)
	q.mustCall(o)
	vars = q.think(o, o.text("reasoning_effort"), vars)
	q.logprobs, q.top = o.flag("logprobs", false), o.whole("top_logprobs", 0, 0, maxTop)
	if q.top > 0 && !q.logprobs {
		o.fail("top_logprobs", "this wants logprobs to be true")
	}
	if err := o.problem(); err != nil {
		return nil, err
	}
	if len(messages) == 0 {
		return nil, bad("messages", "messages: give at least one")
	}
	return q, s.converse(q, messages, vars, asked)
}

// converse prepares a question whose prompt is a conversation.
func (s *Server) converse(q *question, messages []llama.Message, vars map[string]any, asked int) error {
	messages, tools, err := s.dialect.show(messages, q.tools)
	if err != nil {
		return err
	}
	return s.prepare(q, prompt.Record{Messages: messages}, s.o.Encoder.With(vars).With(tools), asked)
}

// messages reads a list of messages.
func (o *object) messages(name string) (out []llama.Message) {
	for i, raw := range o.list(name, maxMessages) {
		at := fmt.Sprintf("%s[%d]", name, i)
		m := o.inner(at, raw)
		if m == nil {
			return nil
		}
		m.oneOf("role", "user", "system", "developer", "assistant", "tool", "function", "ipython")
		if !m.has("role") {
			m.fail("role", "give one, such as user")
		}
		var msg llama.Message
		if err := json.Unmarshal(raw, &msg); err != nil {
			o.fail(at, "%v", err)
		}
		out = append(out, msg)
	}
	return out
}

// vars reads an object of variables for the template.
func (o *object) vars(name string) map[string]any {
	in := o.object(name)
	if in == nil {
		return nil
	}
	vars := map[string]any{}
	for name, raw := range in.fields {
		vars[name] = raw
	}
	return vars
}

func (s *Server) streamChat(w http.ResponseWriter, r *http.Request, q *question) error {
	e := s.stream(w)
	begun, calls := make([]bool, q.n), make([]int, q.n)
	put := func(c chatChoice) error {
		chunk := s.chatReply(q, "chat.completion.chunk")
		chunk.Choices = append(chunk.Choices, c)
		return e.data(chunk)
	}
	answers, err := s.run(r.Context(), q, func(d delta) error {
		// with adds what is known of the tokens, once.
		with := func(c chatChoice) (chatChoice, error) {
			var err error
			if len(d.tokens) > 0 {
				c.Ivo = s.ivoChunk(q, d.tokens)
				c.Logprobs, err = s.chatLogprobs(q, d.tokens)
				d.tokens = nil
			}
			return c, err
		}
		if !begun[d.choice] {
			begun[d.choice] = true
			if err := put(chatChoice{Index: d.choice, Delta: &chatMessage{Role: "assistant", Content: text("")}}); err != nil {
				return err
			}
		}
		if d.branches != nil {
			if err := put(chatChoice{Index: d.choice, Delta: &chatMessage{}, Branches: branchesOf(d.branches)}); err != nil {
				return err
			}
		}
		if d.thought != "" {
			c := chatChoice{Index: d.choice, Delta: &chatMessage{Thought: d.thought}}
			if d.text == "" {
				var err error
				if c, err = with(c); err != nil {
					return err
				}
			}
			if err := put(c); err != nil {
				return err
			}
		}
		if d.text != "" {
			c, err := with(chatChoice{Index: d.choice, Delta: &chatMessage{Content: text(d.text)}})
			if err != nil {
				return err
			}
			if err := put(c); err != nil {
				return err
			}
		}
		for _, call := range d.calls {
			c, err := with(chatChoice{Index: d.choice, Delta: &chatMessage{Calls: chatCalls([]toolcall.Call{call}, calls[d.choice])}})
			if err != nil {
				return err
			}
			if err := put(c); err != nil {
				return err
			}
			calls[d.choice]++
		}
		if d.done == nil {
			return nil
		}
		c, err := with(chatChoice{Index: d.choice, Delta: &chatMessage{}, Finish: &d.done.finish})
		if err != nil {
			return err
		}
		c.Ivo = s.ivoOf(q, []answer{*d.done})
		return put(c)
	}, e.alive)
	if err != nil {
		return e.fail(err)
	}
	usage := usageOf(q, answers)
	usage.note(w)
	if q.usage {
		chunk := s.chatReply(q, "chat.completion.chunk")
		chunk.Usage = usage
		if err := e.data(chunk); err != nil {
			return err
		}
	}
	return e.done()
}

// chatReply is a chat completion, or a chunk of one.
type chatReply struct {
	ID          string       `json:"id"`
	Object      string       `json:"object"`
	Created     int64        `json:"created"`
	Model       string       `json:"model"`
	Fingerprint string       `json:"system_fingerprint"`
	Choices     []chatChoice `json:"choices"`
	Usage       *usage       `json:"usage,omitempty"`
	Ivo         *ivo         `json:"ivo,omitempty"`
}

type chatChoice struct {
	Index    int           `json:"index"`
	Message  *chatMessage  `json:"message,omitempty"`
	Delta    *chatMessage  `json:"delta,omitempty"`
	Logprobs *chatLogprobs `json:"logprobs"`
	Finish   *string       `json:"finish_reason"`
	Branches []branch      `json:"branches,omitempty"` // of a stream whose guidance asks for the tree
	Ivo      any           `json:"ivo,omitempty"`      // of a stream: ivo in the last chunk of the choice, before that ivoChunk
}

// branch is a candidate of a block of the search; see [decode.Branch].
type branch struct {
	Parent int            `json:"parent"`
	Text   string         `json:"text"`
	Value  number.Float32 `json:"value"`
	Kept   int            `json:"kept"`
}

func branchesOf(in []decode.Branch) (out []branch) {
	for _, b := range in {
		out = append(out, branch{b.Parent, strings.ToValidUTF8(b.Text, "\uFFFD"), number.Float32(b.Value), b.Kept})
	}
	return out
}

type chatMessage struct {
	Role    string     `json:"role,omitempty"`
	Content *string    `json:"content"`
	Thought string     `json:"reasoning_content,omitempty"`
	Calls   []chatCall `json:"tool_calls,omitempty"`
}

// MarshalJSON leaves the content out of a delta that has none.
func (m *chatMessage) MarshalJSON() ([]byte, error) {
	type whole chatMessage
	if m.Role != "" || m.Content != nil {
		return json.Marshal((*whole)(m))
	}
	return json.Marshal(struct {
		Thought string     `json:"reasoning_content,omitempty"`
		Calls   []chatCall `json:"tool_calls,omitempty"`
	}{m.Thought, m.Calls})
}

type chatCall struct {
	Index    *int   `json:"index,omitempty"` // in a stream
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// chatCalls are calls in the API's shape, numbered from first on; no numbers where it is negative.
func chatCalls(calls []toolcall.Call, first int) (out []chatCall) {
	for i, c := range calls {
		call := chatCall{ID: c.ID, Type: "function"}
		call.Function.Name, call.Function.Arguments = c.Name, string(c.Arguments)
		if n := first + i; first >= 0 {
			call.Index = &n
		}
		out = append(out, call)
	}
	return out
}

func text(s string) *string { return &s }

func (s *Server) chatReply(q *question, object string) chatReply {
	return chatReply{ID: q.id, Object: object, Created: q.created, Model: q.model, Fingerprint: "ivo-" + s.o.Version, Choices: []chatChoice{}}
}

// usage is what answers took.
type usage struct {
	Prompt     int           `json:"prompt_tokens"`
	Completion int           `json:"completion_tokens"`
	Total      int           `json:"total_tokens"`
	Decoded    int           `json:"decoded_tokens"` // those of pruned candidates included
	PromptOf   promptUsage   `json:"prompt_tokens_details"`
	Of         completionUse `json:"completion_tokens_details"`
}

type promptUsage struct {
	Cached int `json:"cached_tokens"`
}

type completionUse struct {
	Reasoning int `json:"reasoning_tokens"`
}

func usageOf(q *question, answers []answer) *usage {
	u := &usage{}
	for i, t := range q.tasks {
		u.Prompt += len(t.Tokens)
		cached := len(t.Tokens)
		for _, a := range answers[i*q.n : (i+1)*q.n] {
			cached = min(cached, a.Cached)
		}
		u.PromptOf.Cached += cached
	}
	for _, a := range answers {
		u.Completion += len(a.Tokens)
		u.Decoded += a.Decoded
		u.Of.Reasoning += a.reasoning
	}
	u.Total = u.Prompt + u.Completion
	return u
}

func (u *usage) note(w http.ResponseWriter) {
	note(w, "prompt_tokens", u.Prompt)
	note(w, "emitted", u.Completion)
	note(w, "decoded", u.Decoded)
}

func (q *question) note(w http.ResponseWriter) { note(w, "model", q.model) }

// ivo is what a reply says of the search.
type ivo struct {
	Method  decode.Method   `json:"method"`
	Decoded int             `json:"decoded"`
	Seed    uint64          `json:"seed"`
	KL      *number.Float   `json:"kl,omitempty"` // of one answer; of several they are in Choices
	KLKind  decode.KLKind   `json:"kl_kind,omitempty"`
	Value   *number.Float32 `json:"value,omitempty"`
	Values  number.Float32s `json:"values,omitempty"` // after each token; null where it was not asked for
	Rewards int             `json:"reward_calls,omitempty"`
	Choices []*ivo          `json:"choices,omitempty"`
}

// ivoOf tells of answers.
func (s *Server) ivoOf(q *question, answers []answer) *ivo {
	p := &q.way.policy
	out := &ivo{Method: p.Strategy.Method, Seed: q.seed}
	if len(answers) != 1 {
		for _, a := range answers {
			one := s.ivoOf(q, []answer{a})
			out.Choices = append(out.Choices, one)
			out.Decoded += one.Decoded
			out.Rewards += one.Rewards
		}
		return out
	}
	a := answers[0]
	kl := number.Float(a.KL)
	out.Decoded, out.KL, out.KLKind, out.Rewards = a.Decoded, &kl, a.KLKind, a.RewardCalls
	if p.Value != nil || p.ValueBy != nil {
		value := number.Float32(a.Value)
		out.Value, out.Values = &value, a.Values
	}
	return out
}
