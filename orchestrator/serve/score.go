package serve

import (
	"net/http"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// score is POST /score: what a reward that the server has says of answers.
func (s *Server) score(w http.ResponseWriter, r *http.Request) error {
	o, err := s.readBody(w, r)
	if err != nil {
		return err
	}
	name, messages, responses := o.text("reward"), o.messages("messages"), o.texts("responses", maxChoices, int(s.o.MaxBody))
	if len(responses) == 0 {
		o.fail("responses", "give at least one")
	}
	if err := o.problem(); err != nil {
		return err
	}
	m, ok := s.rewards[name]
	if !ok {
		err := bad("reward", "there is no reward called %q, but %s", name, names(s.rewards))
		err.status = http.StatusNotFound
		return err
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	var items []reward.Item
	for _, text := range responses {
		items = append(items, reward.Item{Prompt: prompt.Record{Messages: messages}, Response: text})
	}
	scores, err := m.Score(r.Context(), items)
	if err != nil {
		return err
	}
	out := []*float64{}
	for i := range scores {
		if scores[i].Err != nil {
			out = append(out, nil)
			continue
		}
		out = append(out, &scores[i].Value)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"scores": out})
}
