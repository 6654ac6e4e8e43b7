package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// connect waits for a server that is not there yet, and does not for one that is and says no.
func (w *worker) connect(ctx context.Context, options []nats.Option) (err error) {
	since := time.Now()
	for waiting := false; ; waiting = true {
		var refused *net.OpError
		w.nc, err = dial(w.o.URL, options...)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, nats.ErrAuthorization):
			return w.notLetIn()
		case errors.Is(err, errUninvited):
			return uninvited("work")
		case !errors.Is(err, nats.ErrNoServers) && !errors.Is(err, nats.ErrTimeout) && !(errors.As(err, &refused) && refused.Op == "dial"):
			return &fault.Error{Op: "work", Field: "nats", Err: fmt.Errorf("the fleet cannot be reached: %w", err), Hint: "check {nats}, and the invitation"}
		}
		if !waiting {
			text := "waiting for a server at " + redacted(w.o.URL)
			if !errors.Is(err, nats.ErrNoServers) { // nobody listens there yet
				text += ": " + err.Error()
			}
			w.o.Say(text)
		}
		if pause(ctx, again(since)); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// again is how long what has been waited for since then may be left alone: a quarter of the time that it took so far, so that
// a worker that is started with its run does not come late.
func again(since time.Time) time.Duration {
	return min(max(time.Since(since)/4, 100*time.Millisecond), time.Second)
}

// otherwise is the error of a run that is not reached again because it goes on with TLS where it had none, or without, or because
// another has taken its place; nil where it may be waited for.
func (w *worker) otherwise() error {
	if w.nc.IsConnected() {
		return nil
	}
	switch err := w.nc.LastError(); {
	case met(err):
		return uninvited("work")
	case errors.Is(err, errOther):
		return &fault.Error{Op: "work", Err: err}
	case errors.Is(err, nats.ErrSecureConnWanted):
		return &fault.Error{Op: "work", Err: errors.New("the run goes on without TLS"), Hint: "take the address that it says now, without " + InviteVariable}
	}
	return nil
}

func (w *worker) notLetIn() error {
	return &fault.Error{Op: "work", Err: errors.New("the fleet does not let this worker in"), Hint: "take the line that ivo fleet invite prints for this run"}
}
