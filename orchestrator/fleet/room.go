package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A result is stored in pieces, of which those are left that came through where it does not come to its end: because its worker was
// killed, or because there was no room for the rest. A worker may not remove any, for they might be another's. So it asks for room
// before it stores, and the coordinator removes what nobody goes on with.

// wanted asks for room for a result.
type wanted struct {
	For   string `json:"for"` // the shard and the worker
	Bytes int64  `json:"bytes"`
}

// granted says whether there is.
type granted struct {
	Room bool `json:"room"`
}

// rooms is what was granted, and pieces that nobody may be going on with.
type rooms struct {
	mu       sync.Mutex
	promised map[string]promise // by what it was wanted for
	pieces   map[string]pieces  // by their subject; the sweeper's own
}

type promise struct {
	bytes int64
	until time.Time
}

// pieces are those of a result, that many since then.
type pieces struct {
	n     uint64
	since time.Time
}

// idle is how long nothing follows on pieces of a result that nobody goes on with: the client gives one up that is not stored after 5 s.
var idle = 20 * time.Second

// stored is what a result takes where it is stored: a piece has a head.
func stored(bytes int64) int64 { return bytes + bytes>>8 + 4096 }

// admit says whether there is room for a result, and keeps it for as long as that may be on its way.
func (c *Coordinator) admit(ctx context.Context, data []byte) any {
	var w wanted
	if json.Unmarshal(data, &w) != nil || w.Bytes < 0 || w.Bytes > c.shares.result()+mostLine || len(w.For) > mostWord {
		return nil
	}
	if c.server == nil { // which has room for what its operator says
		return &granted{true}
	}
	stream, err := c.js.Stream(ctx, "OBJ_"+c.run.results())
	if err != nil {
		return &granted{}
	}
	left := c.shares.results - int64(stream.CachedInfo().State.Bytes) - stored(w.Bytes)
	now := time.Now()
	c.rooms.mu.Lock()
	defer c.rooms.mu.Unlock()
	for of, p := range c.rooms.promised {
		if now.After(p.until) {
			delete(c.rooms.promised, of)
		} else if of != w.For {
			left -= p.bytes
		}
	}
	if left < 0 || len(c.rooms.promised) >= mostWorkers*mostDoing {
		return &granted{}
	}
	if c.rooms.promised == nil {
		c.rooms.promised = map[string]promise{}
	}
	c.rooms.promised[w.For] = promise{stored(w.Bytes), now.Add(sendTime(w.Bytes))}
	return &granted{true}
}

// came frees for others what was kept for an object that has come.
func (r *rooms) came(object string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.promised, object[:max(0, strings.LastIndexByte(object, '.'))])
}

// room waits until there is some for a result. Where nobody says, it is tried.
func (h *hand) room(ctx context.Context, of string, bytes int64) {
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, 10*time.Second) {
		again, cancel := context.WithTimeout(ctx, askAgain)
		m, err := h.nc.RequestWithContext(again, h.run.subject("room"), encode(wanted{of, bytes}))
		cancel()
		var a granted
		if err != nil || json.Unmarshal(m.Data, &a) != nil || a.Room {
			return
		}
		slog.Debug("fleet: no room for a result yet", "of", of, "bytes", bytes)
		pause(ctx, wait)
	}
}

// sweep removes pieces of results that are not whole, where none has followed for a while.
func (c *Coordinator) sweep(ctx context.Context) error {
	stream, err := c.js.Stream(ctx, "OBJ_"+c.run.results())
	if err != nil {
		return err
	}
	begin := "$O." + c.run.results() + ".C."
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(begin+">"))
	if err != nil {
		return err
	}
	r := &c.rooms
	seen, now := map[string]pieces{}, time.Now()
	var still []string
	for subject, n := range info.State.Subjects {
		p := r.pieces[subject]
		if p.n != n {
			p = pieces{n, now}
		}
		seen[subject] = p
		if now.Sub(p.since) > idle {
			still = append(still, subject)
		}
	}
	r.pieces = seen
	if len(still) == 0 {
		return nil
	}
	objects, err := c.results.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return err
	}
	whole := map[string]bool{}
	for _, o := range objects {
		whole[begin+o.NUID] = true
	}
	for _, subject := range still {
		if whole[subject] {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return err
		}
		slog.Debug("fleet: pieces of a result are removed that nobody goes on with", "subject", subject)
	}
	return nil
}
