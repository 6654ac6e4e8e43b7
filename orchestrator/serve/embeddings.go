package serve

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"sync"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
	"github.com/ivo-decoding/ivo/llama"
)

const maxInputs = 2048

// embedder makes a vector of a text from the policy's own states: the mean over its tokens of the states of
// an inner layer, two thirds of the way up, scaled to length 1. The first token is left out where there are
// others: whatever it is, models make a mark of it that outweighs the rest.
type embedder struct {
	mu      sync.Mutex
	context *llama.Context // made when it is first needed
}

func (e *embedder) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.context == nil {
		return nil
	}
	return e.context.Close()
}

// embeddingLayer is the layer whose states are taken; -1 where a model has no inner one.
func embeddingLayer(m *llama.Model) int { return min(m.Info().Layers*2/3, m.Info().Layers-2) }

// embed makes the vector of a text's tokens, [width].
func (s *Server) embed(ctx context.Context, tokens []int32) ([]float32, error) {
	const batch = 512
	e, m := &s.embedder, s.o.Model
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.context == nil {
		var err error
		e.context, err = m.NewContext(llama.ContextParams{
			Ctx: s.o.Size, Batch: min(batch, s.o.Size), Threads: max(s.o.Context.Threads, 1), Flash: s.o.Context.Flash, CacheK: s.o.Context.CacheK, CacheV: s.o.Context.CacheV,
			Layers: []int{embeddingLayer(m)}, LayersOnly: true,
		})
		if err != nil {
			return nil, err
		}
	}
	c := e.context
	if err := c.Clear(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.Abort(true) })
	defer func() {
		stop()
		c.Abort(false)
	}()
	sum := make([]float64, m.Info().Width)
	for from := 0; from < len(tokens); from += batch {
		part := tokens[from:min(from+batch, len(tokens))]
		for i, t := range part {
			if _, err := c.AddKept(t, int32(from+i), 0); err != nil {
				return nil, err
			}
		}
		if err := c.Decode(); err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, err
		}
		for i := range part {
			state, err := c.Kept(i)
			if err != nil {
				return nil, err
			}
			if from+i == 0 && len(tokens) > 1 {
				continue
			}
			for j, x := range state {
				sum[j] += float64(x)
			}
		}
	}
	norm := 0.0
	for _, x := range sum {
		norm += x * x
	}
	out := make([]float32, len(sum))
	for i, x := range sum {
		out[i] = float32(x / max(math.Sqrt(norm), 1e-30))
	}
	return out, nil
}

// embeddings is POST /v1/embeddings.
func (s *Server) embeddings(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	model := o.text("model")
	encoding := o.oneOf("encoding_format", "float", "base64")
	dimensions := o.whole("dimensions", s.o.Model.Info().Width, 1, 1<<30)
	inputs, err := s.inputs(o, "input")
	if err != nil {
		return err
	}
	if _, err := s.resolve(model); err != nil {
		return err
	}
	if width := s.o.Model.Info().Width; dimensions != width {
		return bad("dimensions", "dimensions: the model's vectors have %d", width)
	}
	if embeddingLayer(s.o.Model) < 0 {
		return bad("model", "the model has no inner layer to take states of")
	}
	if model == "" {
		model = s.name
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	type vector struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	data, used := []vector{}, 0
	for i, tokens := range inputs {
		if len(tokens) == 0 || len(tokens) > s.o.Size {
			return bad("input", "input %d has %d tokens: give from 1 to %d", i, len(tokens), s.o.Size)
		}
		used += len(tokens)
		v, err := s.embed(r.Context(), tokens)
		if err != nil {
			return err
		}
		var out any = v
		if encoding == "base64" {
			bytes := make([]byte, 0, 4*len(v))
			for _, x := range v {
				bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(x))
			}
			out = base64.StdEncoding.EncodeToString(bytes)
		}
		data = append(data, vector{"embedding", i, out})
	}
	note(w, "model", model)
	note(w, "prompt_tokens", used)
	return writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data, "model": model, "usage": map[string]int{"prompt_tokens": used, "total_tokens": used}})
}

// inputs reads a text or a list of tokens, or a list of such, in tokens. Special tokens that texts spell are
// parsed, as in plain prompts everywhere.
func (s *Server) inputs(o *object, name string) (out [][]int32, err error) {
	raw := o.raw(name)
	if raw == nil {
		o.fail(name, "give a text")
	}
	if jsonkind.Of(raw) == jsonkind.Text {
		return s.tokenized(o, name, []string{o.text(name)})
	}
	list := o.list(name, 1<<20)
	if err := o.problem(); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, bad(name, "%s: the list is empty: give a text", name)
	}
	if jsonkind.Of(list[0]) == jsonkind.Number {
		tokens, err := s.ids(o, name, raw)
		return [][]int32{tokens}, err
	}
	if len(list) > maxInputs {
		return nil, bad(name, "%s: %d are given, at most %d are taken", name, len(list), maxInputs)
	}
	if jsonkind.Of(list[0]) == jsonkind.Text {
		return s.tokenized(o, name, o.texts(name, maxInputs, int(s.o.MaxBody)))
	}
	for i, item := range list {
		tokens, err := s.ids(o, fmt.Sprintf("%s[%d]", name, i), item)
		if err != nil {
			return nil, err
		}
		out = append(out, tokens)
	}
	return out, nil
}

func (s *Server) tokenized(o *object, name string, texts []string) (out [][]int32, err error) {
	if err := o.problem(); err != nil {
		return nil, err
	}
	for i, text := range texts {
		tokens, err := s.o.Encoder.Tokens(text)
		if err != nil {
			p := problemOf(err)
			p.param = name
			return nil, p
		}
		if out = append(out, tokens); text == "" {
			return nil, bad(name, "%s: text %d is empty", name, i)
		}
	}
	return out, nil
}

// ids reads a list of tokens.
func (s *Server) ids(o *object, name string, raw []byte) (out []int32, err error) {
	in := &object{fields: map[string]json.RawMessage{name: raw}, path: o.path, err: o.err}
	for i, item := range in.list(name, 1<<20) {
		one := &object{fields: map[string]json.RawMessage{"": item}, path: fmt.Sprintf("%s%s[%d]", o.path, name, i), err: o.err}
		if one.raw("") == nil {
			one.fail("", "this is null: give a token's number")
		}
		out = append(out, int32(one.whole("", 0, 0, s.o.Model.Info().Vocab-1)))
		if err := o.problem(); err != nil {
			return nil, err
		}
	}
	return out, o.problem()
}
