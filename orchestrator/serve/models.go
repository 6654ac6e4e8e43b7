package serve

import (
	"maps"
	"net/http"
	"slices"
)

// modelObject is a model as /v1/models tells of it.
type modelObject struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
	About   string `json:"description,omitempty"`
}

// offer is the model and its presets.
func (s *Server) offer() []modelObject {
	of := func(id, about string) modelObject {
		return modelObject{ID: id, Object: "model", Created: s.begun.Unix(), OwnedBy: "ivo", About: about}
	}
	out := []modelObject{of(s.name, "")}
	for _, name := range slices.Sorted(maps.Keys(s.presets)) {
		out = append(out, of(s.name+"@"+name, s.presets[name].About))
	}
	return out
}

// models is GET /v1/models.
func (s *Server) models(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": s.offer()})
}

// model is GET /v1/models/{model}.
func (s *Server) model(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("model")
	for _, m := range s.offer() {
		if m.ID == id {
			return writeJSON(w, http.StatusOK, m)
		}
	}
	_, err := s.resolve(id)
	return err
}
