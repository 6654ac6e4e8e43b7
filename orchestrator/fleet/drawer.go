package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// drawer is one context of a worker, which draws a shard at a time.
type drawer struct {
	*hand
	threads int
	engine  *engine.Engine
	suits   *rollout.Drawing // that the engine was made for
}

func (h *drawer) close() {
	if h.engine != nil {
		h.engine.Close()
	}
}

func (h *drawer) read(data []byte) (*errand, error) {
	d := &rollout.Drawing{}
	if err := expand(data, mostOrder, d); err != nil {
		return nil, err
	}
	return &errand{d.Key, d.Name, func(ctx context.Context) (*result, error) { return h.answer(ctx, d) }}, nil
}

// answer draws a shard.
func (h *drawer) answer(ctx context.Context, d *rollout.Drawing) (*result, error) {
	begun := time.Now()
	if err := h.ready(ctx, d); err != nil {
		return nil, err
	}
	before := h.engine.Stats().Tokens
	s, err := d.Draw(ctx, h.engine, nil)
	if err != nil {
		return nil, err
	}
	r := &result{notice: notice{Key: d.Key, Tokens: int64(h.engine.Stats().Tokens - before), Took: time.Since(begun)}}
	h.tokens.Add(r.Tokens)
	r.store = func(ctx context.Context, n *notice) error { return h.keep(ctx, d, s, n) }
	return r, nil
}

// keep stores a shard, and notes where and of what size.
func (h *drawer) keep(ctx context.Context, d *rollout.Drawing, s *rollout.Shard, n *notice) (err error) {
	var file *os.File
	if d.Schema != nil {
		dir, err := os.MkdirTemp(h.o.Cache, "shard-")
		if err != nil {
			return fmt.Errorf("%w: %w", errHere, err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "states")
		if err := states.Write(path, *d.Schema, s.Prompts, s.States); err != nil {
			return fmt.Errorf("%w: %w", errHere, err)
		}
		if file, err = os.Open(path); err != nil {
			return err
		}
		defer file.Close()
		os.RemoveAll(dir) // where the system lets it go while it is open: a worker that is killed leaves nothing then
	}
	begin, rest, err := pack(d.Key, s, file, h.most)
	if err != nil {
		return err
	}
	n.Bytes = int64(len(begin)) + rest.Size()
	n.Object, err = h.put(ctx, d.Key, n.Bytes, func(name string) error {
		whole := io.MultiReader(bytes.NewReader(begin), io.NewSectionReader(rest, 0, rest.Size()))
		_, err := h.results.Put(ctx, jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}, full{whole})
		return err
	})
	return err
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
func (h *drawer) ready(ctx context.Context, d *rollout.Drawing) (err error) {
	if d.Model != h.card.Model {
		return fmt.Errorf("it is to be drawn with another model than %s", h.card.Named)
	}
	if d.Guide.Rerank != "" || d.Guide.ValueBy != "" {
		return errors.New("a reward takes part in its search, and no worker asks one on another's word")
	}
	if len(d.Guide.Heads) > 0 {
		var of []value.Source
		for _, f := range d.Guide.Heads {
			head, err := h.heads.get(ctx, h.hand, f.SHA256)
			if disk := (*fs.PathError)(nil); errors.As(err, &disk) || errors.Is(err, errGone) {
				err = fmt.Errorf("%w: %w", errHere, err)
			}
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
