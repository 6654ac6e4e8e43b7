package hub

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("not an address")
	case (u.Scheme != "https" && u.Scheme != "http") || u.Host == "":
		return nil, errors.New("not an http or https address")
	}
	return u, nil
}

// show is an address for people, without what it may hold of secrets.
func show(u *url.URL) string { return u.Scheme + "://" + u.Host + u.EscapedPath() }

func sameHost(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// stripping is a client that takes the token off when a server redirects to another
// host. net/http does so too, but not for other ports and for hosts below the first.
func stripping(c *http.Client) *http.Client {
	if c == nil {
		c = http.DefaultClient
	}
	own := *c
	own.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if !sameHost(r.URL, via[0].URL) {
			r.Header.Del("Authorization")
		}
		if c.CheckRedirect != nil {
			return c.CheckRedirect(r, via)
		}
		if len(via) >= 10 {
			return errors.New("more than 10 redirects")
		}
		return nil
	}
	return &own
}

var errStalled = errors.New("the server sends nothing")

// do sends a request and returns the answer; stop frees it. An answer that stalls, be
// it at its beginning or in its body, ends in errStalled.
func (s *session) do(ctx context.Context, method string, u *url.URL, header http.Header) (r *http.Response, stop func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(s.stall, func() { cancel(errStalled) })
	stop = func() {
		timer.Stop()
		cancel(nil)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		stop()
		return nil, nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set("User-Agent", "ivo")
	if s.Token != "" && sameHost(u, s.endpoint) {
		req.Header.Set("Authorization", "Bearer "+s.Token)
	}
	r, err = s.client.Do(req)
	if err != nil {
		stop()
		// The error of net/http names the address, and with it what its query holds.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		return nil, nil, fmt.Errorf("%s: %w", u.Host, err)
	}
	r.Body = &watched{r.Body, ctx, timer, s.stall}
	return r, stop, nil
}

// watched is a body that puts the timer off with every read.
type watched struct {
	io.ReadCloser
	ctx   context.Context
	timer *time.Timer
	stall time.Duration
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadCloser.Read(b)
	w.timer.Reset(w.stall)
	if err != nil && err != io.EOF && context.Cause(w.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

// Tries and waits, when a server is busy or a connection is cut.
const (
	maxTries  = 5 // of a file, in a row without progress
	listTries = 3 // of a listing
	firstWait = time.Second
	mostWait  = 2 * time.Minute
)

// busy is a failure after which the same request may succeed.
type busy struct {
	err   error
	after time.Duration // that the server asks to wait, if it does
}

func (b busy) Error() string { return b.err.Error() }

// later makes the error of an answer worth another try when the answer says so.
func later(r *http.Response, err error) error {
	if c := r.StatusCode; c != http.StatusRequestTimeout && c != http.StatusTooManyRequests && c < 500 {
		return err
	}
	b := busy{err: err}
	text := r.Header.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil {
		b.after = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		b.after = time.Until(at)
	}
	return b
}

// lost is the error of a request without an answer, or of an answer that was cut.
func (s *session) lost(ctx context.Context, op, what string, err error) error {
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return s.failed(ctx, op, what, err)
	}
	return busy{err: s.failed(ctx, op, what, err)}
}

// again calls try until it succeeds, fails for good, or was busy tries times in a row
// without progress.
func (s *session) again(ctx context.Context, tries int, try func() (progress bool, err error)) error {
	for n := 1; ; n++ {
		progress, err := try()
		if ctx.Err() != nil && err != nil {
			return context.Cause(ctx)
		}
		b, ok := err.(busy)
		if !ok {
			return err
		}
		if progress {
			n = 1
		}
		if n >= tries {
			return b.err
		}
		wait := min(max(firstWait<<(n-1), b.after), mostWait)
		slog.Warn("a download is tried again", "after", wait, "error", b.err)
		if err := s.Wait(ctx, wait); err != nil {
			return err
		}
	}
}
