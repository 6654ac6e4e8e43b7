package serve

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPI []byte

// described is the OpenAPI description, as JSON, with what this server's model makes of it: names and
// limits.
func (s *Server) described() ([]byte, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(openAPI, &doc); err != nil {
		return nil, fmt.Errorf("the OpenAPI description: %w", err)
	}
	schemas, ok := doc["components"].(map[string]any)["schemas"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the OpenAPI description has no schemas")
	}
	var ids []any
	for _, m := range s.offer() {
		ids = append(ids, m.ID)
	}
	schemas["ModelName"].(map[string]any)["enum"] = append(ids, nil)
	schemas["MaxTokens"].(map[string]any)["maximum"] = s.o.Size
	schemas["TokenID"].(map[string]any)["maximum"] = s.o.Model.Info().Vocab - 1
	return json.Marshal(doc)
}

// openapi is GET /openapi.json.
func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) error {
	doc, err := s.described()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(doc)
	return err
}
