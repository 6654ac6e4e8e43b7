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

	// A result is handed in while the next order is done.
	handing sync.WaitGroup
	handed  error // what settle said of it
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
	for failures, silent := 0, 0; ctx.Err() == nil; {
		batch, err := h.consumer.Fetch(1, jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			return h.lost(ctx)
		}
		n := 0
		for m := range batch.Messages() {
			n++
			if err := h.do(ctx, m, read); err != nil && ctx.Err() == nil {
				if errors.Is(err, errUnable) {
					return err
				}
				if failures++; failures >= mostFailures {
					return fmt.Errorf("work: %d shards in a row have failed here, the last with: %w (mend the cause and start the worker again; the run goes on with others)", failures, err)
				}
				pause(ctx, time.Duration(failures)*time.Second) // others may have more luck
			} else {
				failures = 0
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
// fault of the order's or the one before it, or of this machine, which the coordinator is told of.
func (h *hand) do(ctx context.Context, m jetstream.Msg, read func(data []byte) (*errand, error)) error {
	e, err := h.order(ctx, m, read)
	if err != nil {
		if ctx.Err() == nil {
			slog.Debug("fleet: read an order", "err", err)
			m.NakWithDelay(later)
		}
		return err
	}
	end := h.hold(e.name)
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > given {
		defer end()
		err := fmt.Errorf("it was given out %d times, and nobody has come back with it: it may end the programs that try", meta.NumDelivered-1)
		h.report(ctx, m, &notice{Key: e.key, Error: err.Error(), Hopeless: true})
		return nil
	}
	alive, stop := context.WithCancel(ctx)
	go func() { // whoever decodes says so, or it is taken for lost
		tick := time.NewTicker(h.heartbeat / 4)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.InProgress()
			case <-alive.Done():
				return
			}
		}
	}()
	r, err := e.do(ctx)
	h.handing.Wait()
	before := h.handed
	h.handed = nil
	if err != nil {
		defer end()
		defer stop()
		return h.settle(ctx, m, e, nil, err)
	}
	h.handing.Go(func() {
		defer end()
		defer stop()
		h.handed = h.settle(ctx, m, e, &r.notice, r.store(ctx, &r.notice))
	})
	return before
}

// settle tells what came of an order, and acknowledges it or gives it back. It returns the error where that is of the order or of
// this machine.
func (h *hand) settle(ctx context.Context, m jetstream.Msg, e *errand, n *notice, err error) error {
	switch {
	case ctx.Err() != nil:
		m.Nak()
		h.back.Add(1)
		return nil
	case errors.Is(err, errNotStored): // which is a fault of neither
		h.o.Say(fmt.Sprintf("%s is given back: %v", e.name, err))
		m.NakWithDelay(later)
		return nil
	case errors.Is(err, errHere): // which others may not have
		h.o.Say(fmt.Sprintf("%s is given back: %v", e.name, err))
		m.NakWithDelay(later)
		return err
	case err != nil:
		h.report(ctx, m, &notice{Key: e.key, Error: err.Error()})
		return err
	}
	h.report(ctx, m, n)
	return nil
}

// errNotStored says that a result could not be handed in, errHere that another machine may have more luck with the shard.
var (
	errNotStored = errors.New("the result could not be stored")
	errHere      = errors.New("a fault of this machine, and not of the shard")
)

// put hands in a result, again where the server is not there for a while, and returns its name. Each try has another: what has come
// through of one may not be overwritten.
func (h *hand) put(ctx context.Context, key string, try func(name string) error) (name string, err error) {
	for n := range 4 {
		if n > 0 {
			pause(ctx, time.Second<<n)
		}
		name = fmt.Sprintf("%s.%s.%s", key, h.card.Worker, nuid.Next())
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
		var err error
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
