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
	s.asked(w, q, "messages", q.tasks[0].Messages)
	if q.stream {
		return s.streamChat(w, r, q)
	}
	answers, err := s.run(r.Context(), q, func(delta) error { return nil }, func() error { return nil })
	if err != nil {
		return err
	}
	reply := newReply[chatChoice](s, q, "chat.completion")
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
		return nil, missing("messages", "messages: give at least one")
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
		m.needs("role")
		m.oneOf("role", "user", "system", "developer", "assistant", "tool", "function", "ipython")
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
	e, empty := s.stream(w), newReply[chatChoice](s, q, "chat.completion.chunk")
	begun, calls := make([]bool, q.n), make([]int, q.n)
	answers, err := s.run(r.Context(), q, func(d delta) error {
		var chunks []chatChoice
		say := func(m chatMessage) *chatChoice {
			chunks = append(chunks, chatChoice{Index: d.choice, Delta: &m})
			return &chunks[len(chunks)-1]
		}
		if !begun[d.choice] {
			begun[d.choice] = true
			say(chatMessage{Role: "assistant", Content: text("")})
		}
		if d.branches != nil {
			say(chatMessage{}).Branches = branchesOf(d.branches)
		}
		first := len(chunks) // of those that bring something of the answer
		if d.thought != "" {
			say(chatMessage{Thought: d.thought})
		}
		if d.text != "" {
			first = len(chunks)
			say(chatMessage{Content: text(d.text)})
		}
		for _, c := range d.calls {
			say(chatMessage{Calls: chatCalls([]toolcall.Call{c}, calls[d.choice])})
			calls[d.choice]++
		}
		if d.done != nil {
			say(chatMessage{}).Finish = &d.done.finish
		}
		if len(d.tokens) > 0 {
			var err error
			if chunks[first].Logprobs, err = s.chatLogprobs(q, d.tokens); err != nil {
				return err
			}
			chunks[first].Ivo = s.ivoChunk(q, d.tokens)
		}
		if d.done != nil {
			chunks[len(chunks)-1].Ivo = s.ivoOf(q, []answer{*d.done})
		}
		for _, c := range chunks {
			chunk := empty
			chunk.Choices = []chatChoice{c}
			if err := e.data(chunk); err != nil {
				return err
			}
		}
		return nil
	}, e.alive)
	if err != nil {
		return e.fail(err)
	}
	return endStream(w, e, q, answers, empty)
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
