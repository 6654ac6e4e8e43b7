package serve

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/serve/shelf"
)

// What the server's machine has of runs and prompts, for the page: by ids that are listed, and only to read.

// runs is GET /runs.
func (s *Server) runs(w http.ResponseWriter, _ *http.Request) error {
	runs, err := s.o.Shelf.Runs()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"runs": runs})
}

// report is GET /runs/{run}/report: a page that may do nothing but be read.
func (s *Server) report(w http.ResponseWriter, r *http.Request) error {
	page, err := s.o.Shelf.Report(r.PathValue("run"))
	if err != nil {
		return unlisted(err, "GET /runs lists them, and says which have a report")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'")
	_, err = w.Write(page)
	return err
}

// prompts is GET /prompts.
func (s *Server) prompts(w http.ResponseWriter, _ *http.Request) error {
	lists, err := s.o.Shelf.Prompts()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"prompts": append([]shelf.Prompts{}, lists...)})
}

// maxPrompts is how many prompts are told at once.
const maxPrompts = 200

// promptList is GET /prompts/{list}: some of its prompts, as conversations.
func (s *Server) promptList(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	from, err := queried(q, "from", 0, 0, 1<<30)
	if err != nil {
		return err
	}
	count, err := queried(q, "count", 50, 1, maxPrompts)
	if err != nil {
		return err
	}
	records, err := s.o.Shelf.Records(r.PathValue("list"))
	if err != nil {
		return unlisted(err, "GET /prompts lists them")
	}
	type conversation struct {
		ID       string          `json:"id"`
		Messages []llama.Message `json:"messages"`
	}
	some := []conversation{}
	for _, r := range records[min(from, len(records)):min(from+count, len(records))] {
		some = append(some, conversation{r.ID, shelf.Conversation(r)})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"total": len(records), "from": from, "prompts": some})
}

// unlisted is an error of what is asked for by its id.
func unlisted(err error, where string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &problem{status: http.StatusNotFound, message: "nothing is called so: " + where, code: "not_found"}
	}
	return err
}

// queried reads a number of an address's query.
func queried(q url.Values, name string, without, lo, hi int) (int, error) {
	if !q.Has(name) {
		return without, nil
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < lo || n > hi {
		return 0, bad(name, "%s is %q: give a number from %d to %d", name, q.Get(name), lo, hi)
	}
	return n, nil
}
