package chat_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/chat"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// template shows posts as the lab's model knows them.
const template = `{% for m in messages %}{% if m.role == "system" and m.content == "refuse" %}{{ raise_exception("no system prompt here") }}{% endif %}
{{- m.content }}{% if m.role == "user" %}
TL;DR:{% endif %}{% endfor %}`

// options are those of a chat of posts that the lab's model summarizes, to the last digit that matters
// the same however it is decoded.
func options(t *testing.T, m *llama.Model) chat.Options {
	t.Helper()
	e, err := prompt.NewEncoder(m, prompt.Options{Template: template})
	if err != nil {
		t.Fatal(err)
	}
	return chat.Options{
		Encoder: e, Size: 256, Strategy: decode.Strategy{Method: decode.MethodSample},
		Request: decode.Request{MaxTokens: 24, Sampling: policy.Sampling{Temp: 0}},
		Context: batch.Context{Threads: 1, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Flash: llama.FlashOff},
	}
}

func load(t *testing.T) *llama.Model {
	t.Helper()
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func begin(t *testing.T, m *llama.Model, o chat.Options) *chat.Chat {
	t.Helper()
	c, err := chat.New(m, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func silent([]byte) {}

func ask(t *testing.T, c *chat.Chat, message string) chat.Outcome {
	t.Helper()
	var said strings.Builder
	o, err := c.Answer(t.Context(), message, func(b []byte) { said.Write(b) })
	if err != nil {
		t.Fatal(err)
	}
	if !o.Kept || o.Stopped || o.Answer != said.String() || o.Answer == "" {
		t.Fatalf("%+v, said %q", o, said.String())
	}
	return o
}

var posts = []string{"i found a red lamp. yesterday i sold a huge drum.", "my cousin lost a tiny hat.", "i broke a green kettle at home."}

// Each answer is what the model says to all of the conversation when it is shown that at once, and takes
// no decoding of what it was shown before.
func TestAnswersToAll(t *testing.T) {
	m := load(t)
	o := options(t, m)
	c := begin(t, m, o)
	for i, post := range posts {
		got := ask(t, c, post)
		c.Prepare(t.Context())
		if i > 0 && got.Fed >= got.Prompt {
			t.Errorf("answer %d decoded %d tokens, shown %d", i, got.Fed, got.Prompt)
		}
		messages := append(c.Messages()[:2*i], llama.Message{Role: "user", Content: post})
		prompt, err := o.Encoder.Conversation(messages, true)
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.New(m, engine.Params{Sequences: 1, Ctx: 512, Threads: 1, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Flash: llama.FlashOff})
		if err != nil {
			t.Fatal(err)
		}
		req := o.Request
		req.Prompt = prompt
		var want string
		job, err := decode.Sample(e, req, 1, func(rs []decode.Response) { want = rs[0].Text })
		if err == nil {
			err = e.Run(t.Context(), []engine.Job{job})
		}
		e.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got.Answer != want || got.Prompt != len(prompt) {
			t.Errorf("answer %d: %q of %d tokens, not %q of %d", i, got.Answer, got.Prompt, want, len(prompt))
		}
	}
}

func TestMessages(t *testing.T) {
	m := load(t)
	o := options(t, m)
	o.Request.Sampling, o.Seed = policy.Sampling{Temp: 1}, 1
	c := begin(t, m, o)
	if err := c.Undo(); err == nil {
		t.Error("nothing was undone")
	}
	if _, err := c.Retry(t.Context(), silent); err == nil {
		t.Error("nothing was retried")
	}
	first, second := ask(t, c, posts[0]), ask(t, c, posts[1])
	c.SetSystem("brief")
	want := []llama.Message{
		{Role: "system", Content: "brief"}, {Role: "user", Content: posts[0]}, {Role: "assistant", Content: first.Answer},
		{Role: "user", Content: posts[1]}, {Role: "assistant", Content: second.Answer},
	}
	if diff := cmp.Diff(want, c.Messages()); diff != "" {
		t.Error(diff)
	}
	again, err := c.Retry(t.Context(), silent)
	if err != nil || !again.Kept || again.Message != posts[1] || again.Response == second.Response || len(c.Turns()) != 2 {
		t.Errorf("%+v, %v: %v", again, c.Turns(), err)
	}
	if last, err := c.Last(); err != nil || last != again.Turn {
		t.Errorf("%v: %v", last, err)
	}
	if err := c.Undo(); err != nil || len(c.Turns()) != 1 || c.Turns()[0] != first.Turn {
		t.Errorf("%v: %v", c.Turns(), err)
	}
	c.Clear()
	if len(c.Turns()) != 0 || len(c.Messages()) != 1 {
		t.Errorf("%v", c.Messages())
	}
}

// What was said before the context ended is the answer; before anything was, there is none.
func TestStopped(t *testing.T) {
	m := load(t)
	c := begin(t, m, options(t, m))
	ask(t, c, posts[0])
	turns := c.Turns()
	ctx, cancel := context.WithCancelCause(t.Context())
	var said string
	o, err := c.Answer(ctx, posts[1], func(b []byte) {
		said += string(b)
		cancel(errors.New("enough"))
	})
	if err != nil || !o.Stopped || !o.Kept || o.Response != nil || o.Answer != said || len(c.Turns()) != 2 {
		t.Errorf("%+v, said %q: %v", o, said, err)
	}
	for _, answer := range []func() (chat.Outcome, error){
		func() (chat.Outcome, error) { return c.Answer(ctx, posts[2], silent) },
		func() (chat.Outcome, error) { return c.Retry(ctx, silent) },
	} {
		if o, err = answer(); err != nil || !o.Stopped || o.Kept || len(c.Turns()) != 2 || c.Turns()[0] != turns[0] || c.Turns()[1].Answer != said {
			t.Errorf("%+v: %v", o, err)
		}
	}
	ask(t, c, posts[2])
}

// Where the context is full the oldest turns go, and a message that fits by no means costs none.
func TestFullContext(t *testing.T) {
	m := load(t)
	o := options(t, m)
	o.Size = 200
	var forgot []string
	o.Forgot = func(turns, of int) { forgot = append(forgot, fmt.Sprint(turns, " of ", of)) }
	c := begin(t, m, o)
	for i := range 12 {
		before := len(c.Turns())
		told := len(forgot)
		got := ask(t, c, posts[i%3])
		if got.Prompt > o.Size-o.Request.MaxTokens {
			t.Errorf("%d tokens are shown", got.Prompt)
		}
		if after := len(c.Turns()); after <= before != (len(forgot) > told) {
			t.Errorf("%d turns after %d: %v", after, before, forgot)
		}
	}
	if len(forgot) == 0 || len(forgot) > 8 {
		t.Errorf("forgotten %v", forgot) // several at once
	}
	turns := c.Turns()
	_, err := c.Answer(t.Context(), strings.Repeat(posts[0], 20), silent)
	if err == nil || !strings.Contains(err.Error(), "the message takes") || cmp.Diff(turns, c.Turns(), cmp.Comparer(func(a, b chat.Turn) bool { return a == b })) != "" {
		t.Errorf("%v; %v", err, c.Turns())
	}
	c.SetSystem("refuse")
	if _, err := c.Answer(t.Context(), posts[0], silent); err == nil || len(c.Turns()) != len(turns) {
		t.Errorf("%v; %v", err, c.Turns())
	}
}

func TestChange(t *testing.T) {
	m := load(t)
	o := options(t, m)
	o.Context.Batch = 8
	c := begin(t, m, o)
	ask(t, c, posts[0])
	c.Prepare(t.Context())
	beam := decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 4, Block: 2}}
	if err := c.Change(beam, policy.Sampling{Temp: 1}); err == nil || !strings.Contains(err.Error(), "do not fit a batch of 8") {
		t.Error(err)
	}
	if !c.Alive() || c.Strategy().Method != decode.MethodSample || c.Sampling().Temp != 0 {
		t.Errorf("%v %v", c.Strategy(), c.Sampling())
	}
	ask(t, c, posts[1])
	if err := c.Change(decode.Strategy{Method: decode.MethodBestOfN, N: 3}, policy.Sampling{Temp: 1}); err != nil {
		t.Fatal(err)
	}
	if c.Strategy().Method != decode.MethodBestOfN || len(c.Turns()) != 2 {
		t.Errorf("%v after %v", c.Strategy(), c.Turns())
	}
}

func TestNoRoom(t *testing.T) {
	m := load(t)
	for want, change := range map[string]func(o *chat.Options){
		"leave no room":         func(o *chat.Options) { o.Size = 24 },
		"shortest conversation": func(o *chat.Options) { o.System, o.Size = strings.Repeat(posts[0], 3), 60 },
		"no system prompt here": func(o *chat.Options) { o.System = "refuse" },
	} {
		o := options(t, m)
		change(&o)
		if c, err := chat.New(m, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// What the model thought is told apart from its answer, and is no part of what it is shown again.
func TestThoughtsAreForgotten(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/lab-think.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	o := options(t, m)
	// The template opens the thought, and a budget ends it: conversations are nothing that the model knows.
	if o.Encoder, err = prompt.NewEncoder(m, prompt.Options{Template: template + " <think>"}); err != nil {
		t.Fatal(err)
	}
	o.Request.Thoughts = decode.Thoughts{Limited: true, Budget: 7}
	var thought strings.Builder
	o.Request.MaxTokens, o.Size, o.Thinking = 80, 400, func(b []byte) { thought.Write(b) }
	c := begin(t, m, o)
	for _, post := range posts[:2] {
		thought.Reset()
		a := ask(t, c, post)
		if a.Thinking == "" || a.Thinking != thought.String() || strings.Contains(a.Answer, "think") || a.Response.Text != a.Answer {
			t.Errorf("thought %q (%q as it came), answered %q", a.Thinking, thought.String(), a.Answer)
		}
	}
	for _, message := range c.Messages() {
		if strings.Contains(message.Content, "think") || len(message.Fields) > 0 {
			t.Errorf("the model is shown %+v", message)
		}
	}
}
