package program

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// KeyVariable is the environment variable that holds a server's key.
const KeyVariable = "IVO_REWARD_KEY"

const (
	maxBody       = 16 << 20         // bytes of one answer
	requestTries  = 6                // of a request whose failure may pass
	slowTries     = 2                // of one that timed out or broke the server: more would do harm
	openTries     = 3                // of an item that the server has no score for
	maxRetryAfter = time.Minute      // that a server may ask for
	firstDelay    = time.Second / 2  // between tries; each is twice the one before
	maxDelay      = 30 * time.Second // between tries
	batchFailures = 10               // in a row, before no more items are tried
)

// Server scores items by HTTP: it posts {"items": [...]} and is answered with
// {"scores": [...]}, or the list alone, of as many numbers, objects with a "score", a "reward"
// or an "error", or null where there may be a score at another try.
type Server struct {
	url    string
	key    string // from the environment; it goes into requests, and nowhere else
	client http.Client
	o      Options
}

// NewServer prepares for the server at an address, which may not hold any secret: addresses
// stand in files and errors.
func NewServer(address string, o Options) (*Server, error) {
	fail := func(hint, format string, args ...any) error {
		return fault.New("", "reward", nil, hint, format, args...)
	}
	secret := "set the environment variable " + KeyVariable + ", which is sent as a bearer token and stored nowhere"
	u, err := url.Parse(address)
	switch {
	case strings.Contains(address, "@") && (err != nil || u.User != nil):
		return nil, fail(secret, "the address holds a user name or a password")
	case err != nil:
		return nil, fail("write it as in http://127.0.0.1:8000/score", "bad address: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fail("write it as in http://127.0.0.1:8000/score", "%q is no address of a server", address)
	}
	for name := range u.Query() {
		if slices.Contains([]string{"key", "apikey", "token", "accesstoken", "secret", "password", "auth"}, strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))) {
			return nil, fail(secret, "the address holds a secret, %q", name)
		}
	}
	u.Fragment, u.RawFragment = "", ""
	s := &Server{url: u.String(), key: strings.TrimSpace(os.Getenv(KeyVariable)), o: o.withDefaults(4)}
	if strings.ContainsFunc(s.key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return nil, fail("set it to the key alone", "%s holds characters that no request can carry", KeyVariable)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = s.o.Workers
	s.client = http.Client{
		Transport: transport,
		// Followed, a redirect would carry the key and the texts to wherever the server says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// Fingerprint is the address: what the server does there is not known here.
func (s *Server) Fingerprint() string { return "http 1 " + s.url }

// Name is the address.
func (s *Server) Name() string { return s.url }

// Close drops the connections.
func (s *Server) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

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
	c := &scoring{Server: s, items: items, answers: answers, failures: &streak{limit: batchFailures, delays: delays(0, 0)}}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Workers)
	all := make([]int, len(items))
	for i := range all {
		all[i] = i
	}
	for batch := range slices.Chunk(all, s.o.Batch) {
		g.Go(func() error {
			c.batch(gctx, batch)
			return gctx.Err()
		})
	}
	g.Wait()
	over := c.failures.err()
	if over == nil && len(answers) > 0 && !slices.ContainsFunc(answers, func(a Answer) bool { return !down(a.Err) }) {
		over = answers[0].Err
	}
	return finish(ctx, answers, over)
}

// scoring is one call of Score.
type scoring struct {
	*Server
	items    []json.RawMessage
	answers  []Answer
	failures *streak
}

// refusal is a request without an answer to its items.
type refusal struct {
	error
	tries int           // that it is worth; 0 for as many as there are, where the items are not at fault
	after time.Duration // that the server wants to be left alone
	split bool          // half of the items may go better
	slow  bool          // it took all the time there is
	fatal bool          // no other request will go better
}

func (r *refusal) Unwrap() error { return r.error }

// down tells whether the server is at fault, and no item.
func down(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.tries == 0
}

// batch scores some items. Only those that the server leaves open are asked for again.
func (c *scoring) batch(ctx context.Context, batch []int) {
	if over := c.failures.err(); over != nil {
		for _, i := range batch {
			c.answers[i] = Answer{Err: skipped(over)}
		}
		return
	}
	open := slices.Clone(batch)
	pauses := &pauses{ExponentialBackOff: delays(firstDelay, maxDelay), pause: c.o.pause}
	tries := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		left, err := c.post(ctx, open)
		if len(left) < len(open) {
			c.failures.succeed()
		}
		open = left
		var r *refusal
		switch {
		case errors.As(err, &r):
			if pauses.least = r.after; r.tries > 0 && tries >= r.tries {
				err = backoff.Permanent(err)
			}
		case err == errOpen && tries >= openTries:
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pauses), backoff.WithMaxTries(requestTries), backoff.WithMaxElapsedTime(0))
	if r := (*refusal)(nil); ctx.Err() == nil && errors.As(err, &r) {
		half := len(open) / 2
		if !r.split || r.slow || half == 0 {
			c.failures.fail(err, r.fatal)
		}
		if r.split && half > 0 {
			c.batch(ctx, open[:half])
			c.batch(ctx, open[half:])
			return
		}
	}
	for _, i := range open {
		c.answers[i] = Answer{Err: err}
	}
}

// pauses are the delays between tries, none shorter than the server asked for.
type pauses struct {
	*backoff.ExponentialBackOff
	least time.Duration
	pause func(time.Duration) time.Duration
}

func (p *pauses) NextBackOff() time.Duration {
	return p.pause(max(p.ExponentialBackOff.NextBackOff(), p.least))
}

// errOpen is why items without a score are asked for again.
var errOpen = errors.New("the server gave no score (null)")

// post asks for the scores of some items, and returns those that have none yet.
func (c *scoring) post(ctx context.Context, batch []int) (open []int, err error) {
	items := make([]json.RawMessage, len(batch))
	for k, i := range batch {
		items[k] = c.items[i]
	}
	scores, r := c.ask(ctx, items)
	if r != nil {
		return batch, r
	}
	for k, i := range batch {
		id := identity(c.items[i])
		a, known, broken := readAnswer(scores[k], id)
		if a.Err = cmp.Or(a.Err, broken); a.Err != nil {
			a, _, broken = readAnswer([]byte(c.hide(string(scores[k]))), id)
			a = Answer{Err: errors.New(c.hide(cmp.Or(a.Err, broken).Error()))}
		} else if !known {
			open, err = append(open, i), errOpen
		}
		c.answers[i] = a
	}
	return open, err
}

// ask posts items once.
func (s *Server) ask(ctx context.Context, items []json.RawMessage) (scores []json.RawMessage, failed *refusal) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"items": items}); err != nil {
		return nil, &refusal{error: err, tries: 1}
	}
	limit, cancel := s.o.timeout(ctx, s.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limit, http.MethodPost, s.url, &body)
	if err != nil {
		return nil, &refusal{error: err, tries: 1, fatal: true}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ivo")
	if s.key != "" {
		req.Header.Set("Authorization", "Bearer "+s.key)
	}
	resp, err := s.client.Do(req)
	var answer []byte
	if err == nil {
		defer resp.Body.Close()
		answer, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &refusal{error: context.Cause(ctx), tries: 1}
	case err != nil && limit.Err() != nil:
		tries := slowTries
		if len(items) > 1 {
			tries = 1 // fewer may take less
		}
		return nil, &refusal{tries: tries, split: true, slow: true, error: fault.New("", "reward_timeout", s.o.Timeout, "raise {reward_timeout}, or see what the server is busy with",
			"no answer from %s within %v", s.url, s.o.Timeout)}
	case err != nil:
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the address, which is said already
		}
		return nil, &refusal{error: fault.New("", "reward", nil, "check that the server runs, and its address", "%s: %s", s.url, s.hide(err.Error()))}
	case resp.StatusCode/100 != 2:
		return nil, s.status(resp, answer)
	case len(answer) > maxBody:
		return nil, &refusal{tries: 1, error: s.wrong("it answered with more than %d MiB", maxBody>>20)}
	}
	answer = numbers(answer)
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

// wrong is an answer that cannot be used.
func (s *Server) wrong(format string, args ...any) error {
	return fault.New("", "reward", nil, `let it answer {"items": [...]} with {"scores": [...]}, one number for each item`,
		"%s: "+format, append([]any{s.url}, args...)...)
}

// status tells of an answer that is not "200 OK", and what may come of another try.
func (s *Server) status(resp *http.Response, body []byte) *refusal {
	r := &refusal{tries: 1}
	hint := "see what the server says about it"
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		r.tries, r.after = 0, retryAfter(resp.Header.Get("Retry-After"))
		hint = "ask for less at once, or run it again later"
	case code == http.StatusRequestTimeout || code == http.StatusBadGateway || code == http.StatusGatewayTimeout:
		r.tries = 0
	case code >= 500:
		r.tries, r.split = slowTries, true
	case code == http.StatusBadRequest || code == http.StatusRequestEntityTooLarge || code == http.StatusUnprocessableEntity:
		r.split = true
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		r.fatal = true
		hint = "set the environment variable " + KeyVariable + " to the server's key"
	default:
		r.fatal = true
		hint = "check the address and what the server expects"
		if to, err := resp.Location(); err == nil && code < 400 {
			hint = "redirects are not followed: give the address itself"
			body = []byte((&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String())
		}
	}
	said := clean(s.hide(string(body)), maxShown)
	if said != "" {
		said = ": " + said
	}
	r.error = fault.New("", "reward", nil, hint, "%s answered %s%s", s.url, clean(s.hide(resp.Status), maxShown), said)
	return r
}

// hide takes the key out of a text that the server may have put it into.
func (s *Server) hide(text string) string {
	if s.key == "" {
		return text
	}
	return strings.ReplaceAll(text, s.key, "[the key]")
}

// retryAfter reads how long a server wants to be left alone: seconds or a date (RFC 9110,
// 10.2.3).
func retryAfter(header string) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), maxRetryAfter)
}
