package serve

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

// The responses API, without its memory: each request brings its whole conversation.

// response is the object of a response. What a request said is told back in it.
type response struct {
	ID         string         `json:"id"`
	Object     string         `json:"object"`
	Created    int64          `json:"created_at"`
	Status     string         `json:"status"`
	Error      *responseError `json:"error"`
	Incomplete *incomplete    `json:"incomplete_details"`
	Model      string         `json:"model"`
	Output     []any          `json:"output"`
	Usage      *responseUsage `json:"usage"`
	Ivo        *ivo           `json:"ivo,omitempty"`

	Instructions      *string         `json:"instructions"`
	MaxOutputTokens   *int            `json:"max_output_tokens"`
	ParallelToolCalls bool            `json:"parallel_tool_calls"`
	Previous          *string         `json:"previous_response_id"`
	Reasoning         json.RawMessage `json:"reasoning"`
	Store             bool            `json:"store"`
	Temperature       float64         `json:"temperature"`
	TopP              float64         `json:"top_p"`
	Text              json.RawMessage `json:"text"`
	ToolChoice        json.RawMessage `json:"tool_choice"`
	Tools             json.RawMessage `json:"tools"`
	TopLogprobs       int             `json:"top_logprobs"`
	Truncation        string          `json:"truncation"`
	Background        bool            `json:"background"`
	ServiceTier       string          `json:"service_tier"`
	Metadata          json.RawMessage `json:"metadata"`
	User              *string         `json:"user"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type incomplete struct {
	Reason string `json:"reason"`
}

type responseUsage struct {
	Input   int           `json:"input_tokens"`
	InputOf promptUsage   `json:"input_tokens_details"`
	Output  int           `json:"output_tokens"`
	Of      completionUse `json:"output_tokens_details"`
	Total   int           `json:"total_tokens"`
	Decoded int           `json:"decoded_tokens"`
}

// The items of an output.
type (
	outputMessage struct {
		Type    string       `json:"type"`
		ID      string       `json:"id"`
		Status  string       `json:"status"`
		Role    string       `json:"role"`
		Content []outputText `json:"content"`
	}
	outputText struct {
		Type        string         `json:"type"`
		Text        string         `json:"text"`
		Annotations []any          `json:"annotations"`
		Logprobs    []tokenLogprob `json:"logprobs"`
	}
	outputThought struct {
		Type    string        `json:"type"`
		ID      string        `json:"id"`
		Status  string        `json:"status"`
		Summary []any         `json:"summary"`
		Content []thoughtText `json:"content"`
	}
	thoughtText struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	outputCall struct {
		Type      string `json:"type"`
		ID        string `json:"id"`
		Status    string `json:"status"`
		CallID    string `json:"call_id"`
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	}
)

// responses is POST /v1/responses.
func (s *Server) responses(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	q, reply, err := s.readResponse(o)
	if err != nil {
		return err
	}
	s.asked(w, q, "messages", q.tasks[0].Messages)
	e := &responseEvents{s: s, q: q, reply: reply}
	if q.stream {
		e.stream = s.stream(w)
	}
	answers, err := s.run(r.Context(), q, e.take, e.alive)
	if err != nil {
		return e.fail(err)
	}
	u := usageOf(q, answers)
	u.note(w)
	reply.Usage = &responseUsage{Input: u.Prompt, InputOf: u.PromptOf, Output: u.Completion, Of: u.Of, Total: u.Total, Decoded: u.Decoded}
	reply.Ivo = s.ivoOf(q, answers)
	if !q.stream {
		return writeJSON(w, http.StatusOK, reply)
	}
	return e.send("response."+reply.Status, map[string]any{"response": reply})
}

// readResponse reads a request for a response.
func (s *Server) readResponse(o *object) (*question, *response, error) {
	if id := o.text("previous_response_id"); id != "" {
		return nil, nil, &problem{status: http.StatusBadRequest, param: "previous_response_id", code: "previous_response_not_found",
			message: "previous_response_id: responses are not kept: send the whole conversation as input"}
	}
	if o.flag("background", false) {
		o.fail("background", "responses are not kept, so none can be asked for later")
	}
	if o.has("conversation") {
		o.fail("conversation", "conversations are not kept: send the whole one as input")
	}
	q, err := s.read(o)
	if err != nil {
		return nil, nil, err
	}
	q.id, q.n = newID("resp_"), 1
	instructions := o.text("instructions")
	messages := o.input("input")
	if instructions != "" {
		messages = append([]llama.Message{{Role: "system", Content: instructions}}, messages...)
	}
	asked := o.whole("max_output_tokens", 0, 1, 1<<30)
	q.tools = o.readTools(true)
	q.top = o.whole("top_logprobs", 0, 0, maxTop)
	if text := o.object("text"); text != nil {
		q.readFormat(text, "format", true)
	}
	q.mustCall(o)
	effort := ""
	if r := o.object("reasoning"); r != nil {
		effort = r.text("effort")
	}
	vars := q.think(o, effort, o.vars("chat_template_kwargs"))
	for _, what := range o.texts("include", 64, 256) {
		q.logprobs = q.logprobs || what == "message.output_text.logprobs"
	}
	q.logprobs = q.logprobs || q.top > 0
	sampling := q.way.policy.Sampling
	reply := &response{
		ID: q.id, Object: "response", Created: q.created, Status: "in_progress", Model: q.model, Output: []any{},
		ParallelToolCalls: o.flag("parallel_tool_calls", true), Reasoning: o.told("reasoning", `{"effort":null,"summary":null}`), Temperature: sampling.Temp, TopP: sampling.TopP,
		Text: o.told("text", `{"format":{"type":"text"}}`), ToolChoice: o.told("tool_choice", `"auto"`), Tools: o.told("tools", `[]`), TopLogprobs: q.top,
		Truncation: "disabled", ServiceTier: "default", Metadata: o.told("metadata", `{}`), Instructions: orNull(instructions), User: orNull(o.text("user")),
	}
	if asked > 0 {
		reply.MaxOutputTokens = &asked
	}
	if err := o.problem(); err != nil {
		return nil, nil, err
	}
	if len(messages) == 0 {
		return nil, nil, missing("input", "input: give a text or a list of messages")
	}
	return q, reply, s.converse(q, messages, vars, asked)
}

// told is a field as it is told back.
func (o *object) told(name, without string) json.RawMessage {
	if raw := o.raw(name); raw != nil {
		return raw
	}
	return json.RawMessage(without)
}

// input reads a conversation in the responses API's shape: a text, or a list of items. Items of types that
// are nothing to a model that reads texts are left out.
func (o *object) input(name string) (out []llama.Message) {
	if raw := o.raw(name); jsonkind.Of(raw) == jsonkind.Text {
		if text := o.text(name); text != "" {
			out = append(out, llama.Message{Role: "user", Content: text})
		}
		return out
	}
	var calls []toolcall.Call // of the answer that is being put together
	flush := func() {
		if calls != nil {
			m := toolcall.Writer{Texts: true}.Message("", calls)
			if last := len(out) - 1; last >= 0 && out[last].Role == "assistant" && out[last].Fields == nil {
				out[last].Fields = m.Fields
			} else {
				out = append(out, m)
			}
			calls = nil
		}
	}
	for i, raw := range o.list(name, maxMessages) {
		item := o.inner(fmt.Sprintf("%s[%d]", name, i), raw)
		if item == nil {
			return nil
		}
		kind := item.text("type")
		if kind == "" && !item.has("role") && item.has("id") {
			kind = "item_reference"
		}
		if kind != "function_call" {
			flush()
		}
		switch kind {
		case "message", "":
			item.needs("role", "content")
			role := item.oneOf("role", "user", "system", "developer", "assistant")
			out = append(out, llama.Message{Role: role, Content: item.parts("content")})
		case "function_call":
			item.needs("call_id", "name", "arguments")
			args := json.RawMessage(item.text("arguments"))
			if len(args) == 0 {
				args = json.RawMessage("{}")
			}
			if !json.Valid(args) || jsonkind.Of(args) != jsonkind.Object {
				item.fail("arguments", "this is no JSON object")
			}
			calls = append(calls, toolcall.Call{ID: item.text("call_id"), Name: item.text("name"), Arguments: args})
			if calls[len(calls)-1].Name == "" {
				item.fail("name", "a call has the name of a tool")
			}
		case "function_call_output":
			item.needs("call_id", "output")
			id, err := json.Marshal(item.text("call_id"))
			if err != nil {
				item.fail("call_id", "%v", err)
			}
			out = append(out, llama.Message{Role: "tool", Content: item.parts("output"), Fields: map[string]json.RawMessage{"tool_call_id": id}})
		case "item_reference":
			item.fail("id", "responses are not kept: send the item itself")
		}
	}
	flush()
	return out
}

// parts is a text, or the texts of a list of parts.
func (o *object) parts(name string) (text string) {
	raw := o.raw(name)
	if jsonkind.Of(raw) == jsonkind.Text || raw == nil {
		return o.text(name)
	}
	for i, raw := range o.list(name, maxMessages) {
		part := o.inner(fmt.Sprintf("%s[%d]", name, i), raw)
		if part == nil {
			return ""
		}
		part.needs("type")
		switch kind := part.text("type"); kind {
		case "input_text", "output_text", "text":
			part.needs("text")
			if text != "" {
				text += "\n"
			}
			text += part.text("text")
		case "refusal":
			part.needs("refusal")
			text += part.text("refusal")
		default:
			part.fail("type", "%q is nothing to a model that reads texts", kind)
		}
	}
	return text
}
