package serve

import (
	"maps"

	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

// responseEvents puts a response together, and tells of it as it comes where there is a stream.
type responseEvents struct {
	s        *Server
	q        *question
	reply    *response
	stream   *stream // nil where nothing is streamed
	sequence int
	begun    bool
	message  *outputMessage // under way
	thought  *outputThought // under way
}

// send sends an event with its number.
func (e *responseEvents) send(kind string, fields map[string]any) error {
	if e.stream == nil {
		return nil
	}
	event := map[string]any{"type": kind, "sequence_number": e.sequence}
	maps.Copy(event, fields)
	e.sequence++
	return e.stream.event(kind, event)
}

func (e *responseEvents) alive() error {
	if e.stream == nil {
		return nil
	}
	return e.stream.alive()
}

// begin tells that the response is under way.
func (e *responseEvents) begin() error {
	if e.begun {
		return nil
	}
	e.begun = true
	if err := e.send("response.created", map[string]any{"response": e.reply}); err != nil {
		return err
	}
	return e.send("response.in_progress", map[string]any{"response": e.reply})
}

func (e *responseEvents) fail(err error) error {
	if e.stream == nil || !e.stream.begun {
		return err
	}
	p := problemOf(err)
	e.reply.Status, e.reply.Error = "failed", &responseError{"server_error", p.message}
	if serr := e.send("response.failed", map[string]any{"response": e.reply}); serr != nil {
		return serr
	}
	return err
}

// take tells what has come.
func (e *responseEvents) take(d delta) error {
	if err := e.begin(); err != nil {
		return err
	}
	if d.thought != "" {
		if err := e.think(d.thought); err != nil {
			return err
		}
	}
	if d.text != "" || d.calls != nil || d.done != nil {
		if err := e.thoughtOver(); err != nil {
			return err
		}
	}
	if d.text != "" {
		logprobs, err := e.s.logprobs(e.q, d.tokens)
		if err != nil {
			return err
		}
		if err := e.text(d.text, logprobs); err != nil {
			return err
		}
	}
	if d.done != nil || d.calls != nil {
		status := "completed"
		if d.done != nil && d.done.finish == "length" {
			status = "incomplete"
		}
		var logprobs []tokenLogprob
		if d.done != nil && len(d.done.calls) == 0 {
			if e.message == nil { // an answer without a text is one all the same
				if err := e.open(); err != nil {
					return err
				}
			}
			var err error
			if logprobs, err = e.s.logprobs(e.q, d.done.Said()); err != nil {
				return err
			}
		}
		if err := e.close(status, logprobs); err != nil {
			return err
		}
	}
	for _, c := range d.calls {
		if err := e.call(c); err != nil {
			return err
		}
	}
	if d.done != nil {
		if e.reply.Status = "completed"; d.done.finish == "length" {
			e.reply.Status, e.reply.Incomplete = "incomplete", &incomplete{"max_output_tokens"}
		}
	}
	return nil
}

// at is where the item under way, and its content, stand.
func (e *responseEvents) at(id string) map[string]any {
	return map[string]any{"output_index": len(e.reply.Output), "item_id": id}
}

// open begins a message.
func (e *responseEvents) open() error {
	e.message = &outputMessage{Type: "message", ID: newID("msg_"), Status: "in_progress", Role: "assistant", Content: []outputText{}}
	if err := e.send("response.output_item.added", map[string]any{"output_index": len(e.reply.Output), "item": e.message}); err != nil {
		return err
	}
	e.message.Content = append(e.message.Content, outputText{Type: "output_text", Annotations: []any{}, Logprobs: []tokenLogprob{}})
	event := e.at(e.message.ID)
	event["content_index"], event["part"] = 0, e.message.Content[0]
	return e.send("response.content_part.added", event)
}

// text adds to the message, with what is known of its tokens.
func (e *responseEvents) text(s string, logprobs []tokenLogprob) error {
	if e.message == nil {
		if err := e.open(); err != nil {
			return err
		}
	}
	e.message.Content[0].Text += s
	event := e.at(e.message.ID)
	event["content_index"], event["delta"], event["logprobs"] = 0, s, append([]tokenLogprob{}, logprobs...)
	return e.send("response.output_text.delta", event)
}

// think adds to the thought.
func (e *responseEvents) think(s string) error {
	if e.thought == nil {
		if err := e.close("completed", nil); err != nil { // some think again after they have begun to answer
			return err
		}
		e.thought = &outputThought{Type: "reasoning", ID: newID("rs_"), Status: "in_progress", Summary: []any{}, Content: []thoughtText{}}
		if err := e.send("response.output_item.added", map[string]any{"output_index": len(e.reply.Output), "item": e.thought}); err != nil {
			return err
		}
		e.thought.Content = append(e.thought.Content, thoughtText{Type: "reasoning_text"})
	}
	e.thought.Content[0].Text += s
	event := e.at(e.thought.ID)
	event["content_index"], event["delta"] = 0, s
	return e.send("response.reasoning_text.delta", event)
}

// thoughtOver ends the thought under way, if there is one.
func (e *responseEvents) thoughtOver() error {
	t := e.thought
	if t == nil {
		return nil
	}
	e.thought, t.Status = nil, "completed"
	event := e.at(t.ID)
	event["content_index"], event["text"] = 0, t.Content[0].Text
	if err := e.send("response.reasoning_text.done", event); err != nil {
		return err
	}
	return e.item(t)
}

// close ends the message under way, if there is one.
func (e *responseEvents) close(status string, logprobs []tokenLogprob) error {
	m := e.message
	if m == nil {
		return nil
	}
	e.message, m.Status = nil, status
	part := &m.Content[0]
	if logprobs != nil {
		part.Logprobs = logprobs
	}
	event := e.at(m.ID)
	event["content_index"], event["text"], event["logprobs"] = 0, part.Text, part.Logprobs
	if err := e.send("response.output_text.done", event); err != nil {
		return err
	}
	event = e.at(m.ID)
	event["content_index"], event["part"] = 0, part
	if err := e.send("response.content_part.done", event); err != nil {
		return err
	}
	return e.item(m)
}

// item ends an item of the output.
func (e *responseEvents) item(item any) error {
	index := len(e.reply.Output)
	e.reply.Output = append(e.reply.Output, item)
	return e.send("response.output_item.done", map[string]any{"output_index": index, "item": item})
}

// call tells of a call.
func (e *responseEvents) call(c toolcall.Call) error {
	item := &outputCall{Type: "function_call", ID: newID("fc_"), Status: "in_progress", CallID: c.ID, Name: c.Name}
	if err := e.send("response.output_item.added", map[string]any{"output_index": len(e.reply.Output), "item": item}); err != nil {
		return err
	}
	item.Status, item.Arguments = "completed", string(c.Arguments)
	event := e.at(item.ID)
	event["delta"] = item.Arguments
	if err := e.send("response.function_call_arguments.delta", event); err != nil {
		return err
	}
	event = e.at(item.ID)
	event["arguments"], event["name"] = item.Arguments, item.Name
	if err := e.send("response.function_call_arguments.done", event); err != nil {
		return err
	}
	return e.item(item)
}
