package serve

import (
	"maps"
	"net/http"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// The addresses of llama-server that clients of it look for.

// props is GET /props: what the server is, and what requests may choose.
func (s *Server) props(w http.ResponseWriter, _ *http.Request) error {
	p := s.o.Policy
	type preset struct {
		Name  string `json:"name"`
		About string `json:"description,omitempty"`
	}
	presets := []preset{}
	for _, name := range slices.Sorted(maps.Keys(s.presets)) {
		presets = append(presets, preset{name, s.presets[name].About})
	}
	ranges, kinds := map[string][2]float64{}, map[string]string{}
	for name, f := range s.heads {
		ranges[name] = [2]float64{f.Lo, f.Hi}
	}
	for name, m := range s.rewards {
		kinds[name] = m.Info().Name
	}
	info := s.o.Model.Info()
	return writeJSON(w, http.StatusOK, map[string]any{
		"default_generation_settings": map[string]any{
			"n_ctx": s.o.Size,
			"params": map[string]any{
				"temperature": p.Sampling.Temp, "top_k": p.Sampling.TopK, "top_p": p.Sampling.TopP, "min_p": p.Sampling.MinP, "n_predict": p.MaxTokens,
			},
		},
		"total_slots": s.o.MaxQueue, "model_alias": s.name, "model_path": modelName(s.o.Model.Path()), "chat_template": s.o.Model.ChatTemplate(),
		"build_info": "ivo " + s.o.Version + ", " + llama.Build(), "modalities": map[string]bool{"vision": false, "audio": false},
		"ivo": map[string]any{
			"method": p.Strategy.Method, "methods": decode.Methods, "beams": p.Strategy.Beam.Beams, "block": p.Strategy.Beam.Block, "candidates": p.Strategy.Guide.TopK,
			"samples": p.Strategy.N, "beta": p.Strategy.Guide.Beta, "value_head": s.o.Head, "reward": s.o.Reward,
			"value_heads": ranges, "rewards": slices.Sorted(maps.Keys(s.rewards)), "reward_kinds": kinds, "presets": presets,
			"parameters": info.Params, "context_train": info.ContextTrain, "vocabulary": info.Vocab, "tools": s.dialect.Name,
		},
	})
}

// tokenize is POST /tokenize.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	content, special, parse, pieces := o.text("content"), o.flag("add_special", false), o.flag("parse_special", true), o.flag("with_pieces", false)
	if err := o.problem(); err != nil {
		return err
	}
	tokens, err := s.o.Model.Tokenize(content, special, parse)
	if err != nil {
		return err
	}
	if !pieces {
		return writeJSON(w, http.StatusOK, map[string]any{"tokens": append([]int32{}, tokens...)})
	}
	type piece struct {
		ID    int32 `json:"id"`
		Piece any   `json:"piece"` // a text, or bytes where it is none
	}
	out := []piece{}
	for _, t := range tokens {
		token, bytes, err := s.piece(t)
		if err != nil {
			return err
		}
		if out = append(out, piece{t, token}); token != string(bytesOf(bytes)) {
			out[len(out)-1].Piece = bytes
		}
	}
	return writeJSON(w, http.StatusOK, map[string]any{"tokens": out})
}

// detokenize is POST /detokenize.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	tokens, err := s.ids(o, "tokens", o.raw("tokens"))
	if err != nil {
		return err
	}
	text, err := s.o.Model.Detokenize(tokens, true)
	if err != nil {
		return err
	}
	var t runes
	return writeJSON(w, http.StatusOK, map[string]string{"content": t.add(text, true)})
}

// applyTemplate is POST /apply-template: what the model is shown of a conversation.
func (s *Server) applyTemplate(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	messages, tools, vars := o.messages("messages"), o.readTools(false), o.vars("chat_template_kwargs")
	if err := o.problem(); err != nil {
		return err
	}
	if len(messages) == 0 {
		return bad("messages", "messages: give at least one")
	}
	messages, shown, err := s.dialect.show(messages, tools)
	if err != nil {
		return err
	}
	text, err := s.o.Encoder.With(vars).With(shown).Text(prompt.Record{Messages: messages})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]string{"prompt": text})
}
