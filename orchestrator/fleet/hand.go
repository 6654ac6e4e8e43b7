package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// mostOrder is the most bytes of an order when it is not compressed.
const mostOrder = 256 << 20

// mostFailures is the number of failures in a row, of different shards, by which a worker knows that the fault is its
// own.
const mostFailures = 5

// hand is one context of a worker, which draws a shard at a time.
type hand struct {
	*worker
	run       names
	consumer  jetstream.Consumer
	results   jetstream.ObjectStore
	files     jetstream.ObjectStore
	threads   int
	heartbeat time.Duration

	engine *engine.Engine
	suits  *rollout.Drawing // that the engine was made for
}

// work draws shards until the context ends.
func (h *hand) work(ctx context.Context) error {
	defer func() {
		if h.engine != nil {
			h.engine.Close()
		}
	}()
	for failures, silent := 0, 0; ctx.Err() == nil; {
		batch, err := h.consumer.Fetch(1, jetstream.FetchMaxWait(2*time.Second))
		if err != nil {
			return h.lost(ctx)
		}
		n := 0
		for m := range batch.Messages() {
			n++
			if err := h.draw(ctx, m); err != nil && ctx.Err() == nil {
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

// draw draws the shard of an order, says so, and acknowledges the order. An error is a fault of the shard's or of
// this machine, which the coordinator is told of.
func (h *hand) draw(ctx context.Context, m jetstream.Msg) error {
	d, err := h.read(ctx, m)
	if err != nil {
		if ctx.Err() == nil {
			slog.Debug("fleet: read an order", "err", err)
			m.NakWithDelay(5 * time.Second)
		}
		return err
	}
	defer h.hold(d.Name)()
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > given {
		err := fmt.Errorf("it was given out %d times, and nobody has come back with it: it may end the programs that try", meta.NumDelivered-1)
		h.report(ctx, m, &notice{Key: d.Key, Error: err.Error(), Hopeless: true})
		return nil
	}
	alive, stop := context.WithCancel(ctx)
	defer stop()
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
	n, err := h.answer(ctx, d)
	switch {
	case ctx.Err() != nil:
		m.Nak() // handed back
		return nil
	case err != nil:
		h.report(ctx, m, &notice{Key: d.Key, Error: err.Error()})
		return err
	}
	return h.report(ctx, m, n)
}

// report tells the coordinator of a shard, again and again until it is on the server, and then acknowledges the order or,
// of one that has failed, gives it back.
func (h *hand) report(ctx context.Context, m jetstream.Msg, n *notice) error {
	n.Worker, n.Card = h.card.Worker, h.card
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		_, err := h.js.Publish(ctx, h.run.subject("notice", h.card.Worker, n.Key), encode(n))
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			m.Nak()
			return nil
		}
		slog.Debug("fleet: tell of a shard", "err", err)
		if errors.Is(err, jetstream.ErrNoStreamResponse) { // the run is over, or not there for now
			return nil
		}
		pause(ctx, wait)
	}
	if n.Error != "" {
		return m.NakWithDelay(2 * time.Second)
	}
	h.shards.Add(1)
	acknowledge(ctx, m)
	return nil
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

// read reads an order.
func (h *hand) read(ctx context.Context, m jetstream.Msg) (*rollout.Drawing, error) {
	data := m.Data()
	if name := m.Headers().Get(inObject); name != "" {
		var err error
		if data, err = h.files.GetBytes(ctx, name); err != nil {
			return nil, err
		}
	}
	return parseOrder(data)
}

func parseOrder(data []byte) (*rollout.Drawing, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostOrder))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	if data, err = z.DecodeAll(data, nil); err != nil {
		return nil, err
	}
	d := &rollout.Drawing{}
	return d, json.Unmarshal(data, d)
}

// answer draws a shard and stores the result.
func (h *hand) answer(ctx context.Context, d *rollout.Drawing) (*notice, error) {
	begun := time.Now()
	if err := h.ready(ctx, d); err != nil {
		return nil, err
	}
	before := h.engine.Stats().Tokens
	s, err := d.Draw(ctx, h.engine, nil)
	if err != nil {
		return nil, err
	}
	n := &notice{Key: d.Key, Tokens: int64(h.engine.Stats().Tokens - before)}
	h.tokens.Add(n.Tokens)
	var file *os.File
	if d.Schema != nil {
		dir, err := os.MkdirTemp(h.o.Cache, "shard-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "states")
		if err := states.Write(path, *d.Schema, s.Prompts, s.States); err != nil {
			return nil, err
		}
		if file, err = os.Open(path); err != nil {
			return nil, err
		}
		defer file.Close()
	}
	n.Object = d.Key + "." + h.card.Worker
	read, write := io.Pipe()
	go func() { write.CloseWithError(pack(write, d.Key, s, file)) }()
	defer read.Close()
	info, err := h.results.Put(ctx, jetstream.ObjectMeta{Name: n.Object, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}, full{read})
	if err != nil {
		return nil, fmt.Errorf("store the result: %w", err)
	}
	n.Bytes, n.Took = int64(info.Size), time.Since(begun)
	return n, nil
}

// full reads as much as is asked for, so that chunks are whole.
type full struct{ r io.Reader }

func (f full) Read(b []byte) (int, error) {
	n, err := io.ReadFull(f.r, b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// ready opens what a shard is drawn with.
func (h *hand) ready(ctx context.Context, d *rollout.Drawing) (err error) {
	if d.Model != h.card.Model {
		return fmt.Errorf("it is to be drawn with another model than %s", h.card.Named)
	}
	if d.Guide.Rerank != "" || d.Guide.ValueBy != "" {
		return errors.New("a reward takes part in its search, and no worker asks one on another's word")
	}
	if len(d.Guide.Heads) > 0 {
		var of []value.Source
		for _, f := range d.Guide.Heads {
			head, err := h.heads.get(ctx, h, f.SHA256)
			if err != nil {
				return err
			}
			of = append(of, value.Head(head, d.Guide.Reading))
		}
		d.Policy.Value = value.Mean(of...)
	}
	if d.Thinking != nil {
		if d.Marks, err = d.Thinking.Marks(h.model); err != nil {
			return err
		}
	}
	if h.engine != nil && h.suits.Suits(d) {
		return nil
	}
	if h.engine != nil {
		h.engine.Close()
		h.engine = nil
	}
	c := d.Context
	c.Threads = h.threads
	if h.engine, err = engine.New(h.model, c.Params(d.Parallel, d.Layers)); err != nil {
		return err
	}
	h.suits = d
	return nil
}

// inHand names the shards in hand.
func (w *worker) inHand() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.doing))
}
