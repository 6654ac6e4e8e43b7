package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// mostFailures is the number of failures in a row, of different shards, by which a worker knows that the fault is its
// own.
const mostFailures = 5

// hand takes orders from a queue, one after the other.
type hand struct {
	*worker
	run       names
	told      string // kind of its notices
	count     *atomic.Int64
	consumer  jetstream.Consumer
	results   jetstream.ObjectStore
	files     jetstream.ObjectStore
	heartbeat time.Duration
	most      int64 // bytes of a result

	handing  sync.WaitGroup // a result is handed in while the next order is done
	failures failures
}

// failures are those in a row, of orders that were done and of results that were handed in.
type failures struct {
	mu   sync.Mutex
	n    int
	last error
}

// note notes what came of an order.
func (f *failures) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	if f.last = err; err == nil {
		f.n = 0
	}
}

// now is how many there are by now, and the last of them.
func (f *failures) now() (n int, last error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n, f.last
}

// errand is an order that was read.
type errand struct {
	key, name string
	do        func(context.Context) (*result, error)
}

// result is what came of an order: a notice of it, and what stores it.
type result struct {
	notice
	store func(ctx context.Context, n *notice) error
}

// work does what is ordered until the context ends.
func (h *hand) work(ctx context.Context, read func(data []byte) (*errand, error)) error {
	defer h.handing.Wait()
	for known, silent := 0, 0; ctx.Err() == nil; {
		// Before an order is taken: one that is given back too often is set aside.
		failures, last := h.failures.now()
		if failures >= mostFailures {
			return fmt.Errorf("work: %d shards in a row have failed here, the last with: %w (mend the cause and start the worker again; the run goes on with others)", mostFailures, last)
		}
		if failures > known {
			pause(ctx, time.Duration(failures)*time.Second) // others may have more luck
		}
		known = failures
		batch, err := h.consumer.Fetch(1, jetstream.FetchMaxWait(2*time.Second))
		if err != nil || h.otherwise() != nil {
			return h.lost(ctx)
		}
		n := 0
		for m := range batch.Messages() {
			n++
			// What a run that is gone has not sent is no failure: it is waited for.
			if err := h.do(ctx, m, read); ctx.Err() == nil && (errors.Is(err, errUnable) || errors.Is(err, errGone)) {
				return err
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, jetstream.ErrNoMessages) && ctx.Err() == nil {
			slog.Debug("fleet: fetch", "err", err)
			if silent++; silent > 3 || errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrConsumerNotFound) {
				return h.lost(ctx)
			}
			pause(ctx, time.Second)
		} else if n > 0 || err == nil {
			silent = 0
		}
	}
	return nil
}

// lost says that the run has to be found again.
func (h *hand) lost(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	return errGone
}

// do does what an order says, tells, and acknowledges the order; its result is handed in while the next order is done. An error is a
// fault of the order's, or of this machine, which the coordinator is told of.
func (h *hand) do(ctx context.Context, m jetstream.Msg, read func(data []byte) (*errand, error)) error {
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > given { // whether it can be read or not
		err := fmt.Errorf("it was given out %d times, and nobody has come back with it: it may end the programs that try", meta.NumDelivered-1)
		h.report(ctx, m, &notice{Key: keyOf(m.Subject()), Error: err.Error(), Lost: int(meta.NumDelivered) - 1})
		return nil
	}
	e, err := h.order(ctx, m, read)
	if err != nil {
		if ctx.Err() != nil {
			m.Nak()
			return nil
		}
		slog.Debug("fleet: read an order", "err", err)
		m.NakWithDelay(later)
		h.failures.note(err)
		return err
	}
	end := h.hold(e.name)
	alive, stop := context.WithCancel(ctx)
	go every(alive, h.heartbeat/4, func() { m.InProgress() }) // whoever decodes says so, or it is taken for lost
	r, err := e.do(ctx)
	h.handing.Wait()
	if err != nil {
		defer end()
		defer stop()
		err = h.settle(ctx, m, e, nil, err)
		h.failures.note(err)
		return err
	}
	h.handing.Go(func() {
		defer end()
		defer stop()
		h.failures.note(h.settle(ctx, m, e, &r.notice, r.store(ctx, &r.notice)))
	})
	return nil
}

// settle tells what came of an order, and acknowledges it or gives it back. It returns the error where that is of the order or of
// this machine.
func (h *hand) settle(ctx context.Context, m jetstream.Msg, e *errand, n *notice, err error) error {
	switch {
	case ctx.Err() != nil:
		h.giveBack(ctx, m, e.key, 0)
		h.back.Add(1)
		return nil
	case errors.Is(err, errNotStored): // which is a fault of neither
		h.o.Say(fmt.Sprintf("%s is given back: %v", e.name, err))
		h.giveBack(ctx, m, e.key, later)
		return nil
	case errors.Is(err, errHere): // which others may not have
		h.o.Say(fmt.Sprintf("%s is given back: %v", e.name, err))
		h.giveBack(ctx, m, e.key, later)
		return err
	case err != nil:
		h.report(ctx, m, &notice{Key: e.key, Error: err.Error()})
		return err
	}
	h.report(ctx, m, n)
	return nil
}

// giveBack gives an order back, and says so if it can: it is not one with which nobody comes back.
func (h *hand) giveBack(ctx context.Context, m jetstream.Msg, key string, after time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := h.js.Publish(ctx, h.run.subject(h.told, h.card.Worker, key), encode(notice{Key: key, Worker: h.card.Worker, Card: h.card, Back: true})); err != nil {
		slog.Debug("fleet: tell of what is given back", "err", err)
	}
	m.NakWithDelay(after)
}

// errNotStored says that a result could not be handed in, errHere that another machine may have more luck with the shard.
var (
	errNotStored = errors.New("the result could not be stored")
	errHere      = errors.New("a fault of this machine, and not of the shard")
)

// put hands in a result, again where the server is not there for a while, and returns its name. Each try has another: what has come
// through of one may not be overwritten.
func (h *hand) put(ctx context.Context, key string, bytes int64, try func(name string) error) (name string, err error) {
	of := key + "." + h.card.Worker
	for n := range 4 {
		if n > 0 {
			pause(ctx, time.Second<<n)
		}
		h.room(ctx, of, bytes)
		name = of + "." + nuid.Next()
		if err = try(name); err == nil || ctx.Err() != nil {
			return name, err
		}
	}
	return "", fmt.Errorf("%w: %w", errNotStored, err)
}

// report tells the coordinator of a shard, again and again until it is on the server, and then acknowledges the order or,
// of one that has failed, gives it back.
func (h *hand) report(ctx context.Context, m jetstream.Msg, n *notice) {
	n.Worker, n.Card = h.card.Worker, h.card
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		_, err := h.js.Publish(ctx, h.run.subject(h.told, h.card.Worker, n.Key), encode(n))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			m.Nak()
			return
		}
		slog.Debug("fleet: tell of a shard", "err", err)
		if errors.Is(err, jetstream.ErrNoStreamResponse) { // the run is over, or not there for now
			return
		}
		pause(ctx, wait)
	}
	if n.Error != "" {
		m.NakWithDelay(2 * time.Second)
		return
	}
	h.count.Add(1)
	acknowledge(ctx, m)
}

// acknowledge says that a message is done with. Where that does not come through the message comes again, and is known by its
// key.
func acknowledge(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := m.DoubleAck(ctx); err != nil {
		slog.Debug("fleet: acknowledge", "err", err)
	}
}

// order reads an order.
func (h *hand) order(ctx context.Context, m jetstream.Msg, read func(data []byte) (*errand, error)) (*errand, error) {
	data := m.Data()
	if name := m.Headers().Get(inObject); name != "" {
		info, err := h.files.GetInfo(ctx, name)
		if err != nil {
			return nil, err
		}
		if info.Size > mostOrder {
			return nil, fmt.Errorf("an order of %s, where %s is the most", size(info.Size), size(mostOrder))
		}
		ctx, cancel := context.WithTimeout(ctx, sendTime(int64(info.Size))) // or the client takes 5 s for enough, whatever its size
		defer cancel()
		if data, err = h.files.GetBytes(ctx, name); err != nil {
			return nil, err
		}
	}
	return read(data)
}

// inHand names the shards in hand.
func (w *worker) inHand() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.doing))
}
