package program

import (
	"bytes"
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

const (
	maxBody       = 16 << 20         // bytes of one answer
	maxKey        = 64 << 10         // bytes of a file that holds a key
	requestTries  = 6                // of a request whose failure may pass
	slowTries     = 2                // of one that timed out or broke the server: more would do harm
	openTries     = 3                // of an item that the server has no score for
	maxRetryAfter = time.Minute      // that a server may ask for
	firstDelay    = time.Second / 2  // between tries; each is twice the one before
	maxDelay      = 30 * time.Second // between tries
	batchFailures = 10               // in a row, before no more items are tried
)

// client posts JSON to one address, and again where another try may help.
type client struct {
	url      string
	variable string // the environment variable of the key
	key      string // it goes into requests, and nowhere else
	form     string // what the server is to answer, for hints
	http     http.Client
	o        Options
}

// newClient prepares for the server at an address, which may not hold any secret: addresses
// stand in files and errors. The key is that of the environment variable, or of the file that the
// variable with _FILE behind its name names.
func newClient(address, variable, form string, o Options) (*client, error) {
	fail := func(hint, format string, args ...any) error {
		return fault.New("", "reward", nil, hint, format, args...)
	}
	secret := "set the environment variable " + variable + ", which is sent as a bearer token and stored nowhere"
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
	c := &client{url: u.String(), variable: variable, form: form, o: o.withDefaults(4)}
	if c.key, err = readKey(variable); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = c.o.Workers
	c.http = http.Client{
		Transport: transport,
		// Followed, a redirect would carry the key and the texts to wherever the server says.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// readKey is the key of an environment variable, or of the file that NAME_FILE names; "" without.
func readKey(variable string) (string, error) {
	fail := func(hint, format string, args ...any) (string, error) {
		return "", fault.New("", "reward", nil, hint, format, args...)
	}
	key, from := strings.TrimSpace(os.Getenv(variable)), variable
	if path := os.Getenv(variable + "_FILE"); key == "" && path != "" {
		from = "the file of " + variable + "_FILE"
		f, err := os.Open(path)
		if err != nil {
			return fail("name a file that holds the key alone", "%s: %w", from, err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxKey+1))
		if err != nil || len(text) > maxKey {
			return fail("name a file that holds the key alone", "%s is too large or cannot be read", from)
		}
		if key = strings.TrimSpace(string(text)); key == "" {
			return fail("write the key into it", "%s is empty", from)
		}
	}
	if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fail("set it to the key alone", "%s holds characters that no request can carry", from)
	}
	return key, nil
}

// Name is the address.
func (c *client) Name() string { return c.url }

// Close drops the connections.
func (c *client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// work is what one call asks for: n items, in batches.
type work struct {
	*client
	n        int
	failures *streak
	// post asks for some items once, and returns those that are left open.
	post func(ctx context.Context, batch []int) (open []int, err error)
	errs []error // why items have no answer
}

// do asks for all items, again where that may help. It returns why not all were tried, or why all of them
// found the server down.
func (w *work) do(ctx context.Context) error {
	w.errs = make([]error, w.n)
	w.failures = &streak{limit: batchFailures, delays: delays(0, 0)}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(w.o.Workers)
	all := make([]int, w.n)
	for i := range all {
		all[i] = i
	}
	for batch := range slices.Chunk(all, w.o.Batch) {
		g.Go(func() error {
			w.batch(gctx, batch)
			return gctx.Err()
		})
	}
	g.Wait()
	over := w.failures.err()
	if over == nil && w.n > 0 && !slices.ContainsFunc(w.errs, func(err error) bool { return !down(err) }) {
		over = w.errs[0]
	}
	return over
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

// batch asks for some items. Only those that the server leaves open are asked for again.
func (w *work) batch(ctx context.Context, batch []int) {
	if over := w.failures.err(); over != nil {
		for _, i := range batch {
			w.errs[i] = skipped(over)
		}
		return
	}
	open := slices.Clone(batch)
	pauses := &pauses{ExponentialBackOff: delays(firstDelay, maxDelay), pause: w.o.pause}
	tries := 0
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		left, err := w.post(ctx, open)
		if len(left) < len(open) {
			w.failures.succeed()
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
			w.failures.fail(err, r.fatal)
		}
		if r.split && half > 0 {
			w.batch(ctx, open[:half])
			w.batch(ctx, open[half:])
			return
		}
	}
	for _, i := range open {
		w.errs[i] = err
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

// ask posts a body once. One that is alone in taking too long is worth another try, one of several
// items is better split.
func (c *client) ask(ctx context.Context, body any, alone bool) (answer []byte, failed *refusal) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, &refusal{error: err, tries: 1}
	}
	limit, cancel := c.o.timeout(ctx, c.o.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(limit, http.MethodPost, c.url, &text)
	if err != nil {
		return nil, &refusal{error: err, tries: 1, fatal: true}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "ivo")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err == nil {
		defer resp.Body.Close()
		answer, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &refusal{error: context.Cause(ctx), tries: 1}
	case err != nil && limit.Err() != nil:
		tries := slowTries
		if !alone {
			tries = 1 // fewer may take less
		}
		return nil, &refusal{tries: tries, split: true, slow: true, error: fault.New("", "reward_timeout", c.o.Timeout, "raise {reward_timeout}, or see what the server is busy with",
			"no answer from %s within %v", c.url, c.o.Timeout)}
	case err != nil:
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the address, which is said already
		}
		return nil, &refusal{error: fault.New("", "reward", nil, "check that the server runs, and its address", "%s: %s", c.url, c.hide(err.Error()))}
	case resp.StatusCode/100 != 2:
		return nil, c.status(resp, answer)
	case len(answer) > maxBody:
		return nil, &refusal{tries: 1, error: c.wrong("it answered with more than %d MiB", maxBody>>20)}
	}
	return answer, nil
}

// wrong is an answer that cannot be used.
func (c *client) wrong(format string, args ...any) error {
	return fault.New("", "reward", nil, c.form, "%s: "+format, append([]any{c.url}, args...)...)
}

// status tells of an answer that is not "200 OK", and what may come of another try.
func (c *client) status(resp *http.Response, body []byte) *refusal {
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
		hint = "set the environment variable " + c.variable + " to the server's key"
	default:
		r.fatal = true
		hint = "check the address and what the server expects"
		if to, err := resp.Location(); err == nil && code < 400 {
			hint = "redirects are not followed: give the address itself"
			body = []byte((&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String())
		}
	}
	said := clean(c.hide(string(body)), maxShown)
	if said != "" {
		said = ": " + said
	}
	r.error = fault.New("", "reward", nil, hint, "%s answered %s%s", c.url, clean(c.hide(resp.Status), maxShown), said)
	return r
}

// hide takes the key out of a text that the server may have put it into.
func (c *client) hide(text string) string {
	if c.key == "" {
		return text
	}
	quoted := strconv.Quote(c.key) // as JSON has it too, for a key is printable ASCII
	return strings.NewReplacer(c.key, "[the key]", quoted[1:len(quoted)-1], "[the key]").Replace(text)
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
