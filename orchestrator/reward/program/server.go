package program

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
)

// KeyVariable is the environment variable that holds a server's key, and KeyVariable + "_FILE" that of a
// file that does.
const KeyVariable = "IVO_REWARD_KEY"

// Server scores items by HTTP: it posts {"items": [...]} and is answered with
// {"scores": [...]}, or the list alone, of as many numbers, objects with a "score", a "reward"
// or an "error", or null where there may be a score at another try.
type Server struct{ *client }

// NewServer prepares for the server at an address, which may not hold any secret: addresses
// stand in files and errors.
func NewServer(address string, o Options) (*Server, error) {
	c, err := newClient(address, KeyVariable, `let it answer {"items": [...]} with {"scores": [...]}, one number for each item`, o)
	if err != nil {
		return nil, err
	}
	return &Server{c}, nil
}

// Fingerprint is the address: what the server does there is not known here.
func (s *Server) Fingerprint() string { return "http 1 " + s.url }

// Try sees whether the server answers, and in which form. That items have no score is no fault
// here.
func (s *Server) Try(ctx context.Context, items []json.RawMessage) error {
	answers, err := s.Score(ctx, items)
	for _, a := range answers {
		if f := (*refusal)(nil); errors.As(a.Err, &f) {
			return a.Err
		}
	}
	return err
}

// Score gives one answer for each item, in order. It fails as a whole when ctx ends, and when
// the server failed so often that no item has a score.
func (s *Server) Score(ctx context.Context, items []json.RawMessage) ([]Answer, error) {
	answers := make([]Answer, len(items))
	w := &work{client: s.client, n: len(items), post: func(ctx context.Context, batch []int) ([]int, error) {
		return s.score(ctx, items, answers, batch)
	}}
	over := w.do(ctx)
	for i, err := range w.errs {
		if err != nil {
			answers[i] = Answer{Err: err}
		}
	}
	return finish(ctx, answers, Answer.err, over)
}

// errOpen is why items without a score are asked for again.
var errOpen = errors.New("the server gave no score (null)")

// score asks for the scores of some items, and returns those that have none yet.
func (s *Server) score(ctx context.Context, items []json.RawMessage, answers []Answer, batch []int) (open []int, err error) {
	some := make([]json.RawMessage, len(batch))
	for k, i := range batch {
		some[k] = items[i]
	}
	scores, r := s.post(ctx, some)
	if r != nil {
		return batch, r
	}
	for k, i := range batch {
		id := identity(items[i])
		a, known, broken := readAnswer(scores[k], id)
		if a.Err = cmp.Or(a.Err, broken); a.Err != nil {
			a, _, broken = readAnswer([]byte(s.hide(string(scores[k]))), id)
			a = Answer{Err: errors.New(s.hide(cmp.Or(a.Err, broken).Error()))}
		} else if !known {
			open, err = append(open, i), errOpen
		}
		answers[i] = a
	}
	return open, err
}

// post asks for scores once.
func (s *Server) post(ctx context.Context, items []json.RawMessage) (scores []json.RawMessage, failed *refusal) {
	answer, failed := s.ask(ctx, map[string]any{"items": items}, len(items) == 1)
	if failed != nil {
		return nil, failed
	}
	answer = numbers(answer)
	var err error
	if len(answer) > 0 && answer[0] == '{' {
		var object struct {
			Scores []json.RawMessage `json:"scores"`
		}
		err = json.Unmarshal(answer, &object)
		scores = object.Scores
	} else {
		err = json.Unmarshal(answer, &scores)
	}
	switch {
	case err != nil || scores == nil:
		return nil, &refusal{tries: 1, error: s.wrong("it answered with %s", show([]byte(s.hide(string(answer)))))}
	case len(scores) != len(items):
		return nil, &refusal{tries: 1, split: true, error: s.wrong("it gave %d scores for %d items", len(scores), len(items))}
	}
	return scores, nil
}
