package serve

import (
	"fmt"
	"net"
	"strings"
)

// Greeting is what is said when the server is there: where, what it serves, and how to ask.
func (s *Server) Greeting(listeners ...net.Listener) string {
	var b strings.Builder
	url := ""
	for _, l := range listeners {
		at := "http://" + l.Addr().String()
		if l.Addr().Network() == "unix" {
			at = l.Addr().String()
		}
		if url == "" {
			url = at
		}
		fmt.Fprintf(&b, "ivo serves %s at %s\n", s.name, at)
	}
	how := string(s.o.Policy.Strategy.Method)
	if s.o.Head != "" {
		how += ", guided by a value head"
	}
	fmt.Fprintf(&b, "  answers by  %s\n", how)
	var ids []string
	for _, m := range s.offer() {
		ids = append(ids, m.ID)
	}
	fmt.Fprintf(&b, "  models      %s\n", strings.Join(ids, ", "))
	key := ""
	if len(s.o.Keys) > 0 {
		key = ` -H "Authorization: Bearer $IVO_API_KEY"`
	}
	fmt.Fprintf(&b, "  try         curl %s/v1/chat/completions%s -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n", url, key)
	return b.String()
}
