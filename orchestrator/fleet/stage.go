package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// takers is the number of results that are checked and written at once.
const takers = 4

// hears has notices told as they come. The server says every now and then that there are none: what was asked of one of a
// cluster that is lost since is soon asked again.
func hears(of jetstream.Consumer, told func(m jetstream.Msg)) (jetstream.ConsumeContext, error) {
	return of.Consume(told, jetstream.PullMaxMessages(takers), jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(2*time.Second))
}

// stage is a list of orders that are drawn, and taken as they come.
type stage struct {
	*Coordinator
	to     rollout.Taker
	all    []*rollout.Drawing
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	open  map[string]*order // not taken yet, by key
	wait  []*order          // not on the queue yet
	out   int               // on the queue
	aside []*order
	pace  pace
	done  chan struct{} // closed when nothing is left
}

// pace is when shards were finished of late, by which it is known how long the others take.
type pace []time.Time

const (
	paceFor  = 2 * time.Minute // of so long, and
	paceMost = 256             // so many
)

func (p *pace) add(now time.Time) {
	for len(*p) > 2 && now.Sub((*p)[0]) > paceFor || len(*p) > paceMost {
		*p = (*p)[1:]
	}
	*p = append(*p, now)
}

// left is how long so many others take, 0 where that is not known.
func (p pace) left(now time.Time, others int) time.Duration {
	if len(p) < 2 {
		return 0
	}
	return now.Sub(p[0]) / time.Duration(len(p)-1) * time.Duration(others)
}

// order is a shard that is wanted.
type order struct {
	*rollout.Drawing
	at      int // its place in the list
	attempt int // by which its messages are told apart
	back    int // it was given back as it was
	taking  bool
	queued  bool
	failed  []string // workers
	err     error    // of the last
	overdue
}

// Draw has the shards drawn by the workers.
func (c *Coordinator) Draw(ctx context.Context, all []*rollout.Drawing, to rollout.Taker) (err error) {
	if len(all) == 0 {
		return nil
	}
	c.asked.Store(true)
	s := &stage{Coordinator: c, parent: ctx, to: to, all: all, open: map[string]*order{}, done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	defer s.cancel(nil)
	for i, d := range all {
		if err := c.prepare(d); err != nil {
			return err
		}
		o := &order{Drawing: d, at: i}
		s.open[d.Key], s.wait = o, append(s.wait, o)
	}
	if err := c.persist(ctx, s.resume); err != nil {
		return s.failed(err)
	}
	defer c.crew.begin(s)()
	if err := s.fill(); err != nil {
		return s.failed(err)
	}
	events := make(chan jetstream.Msg)
	listening, err := hears(c.notices, func(m jetstream.Msg) {
		select {
		case events <- m:
		case <-s.ctx.Done():
		}
	})
	if err != nil {
		return s.failed(err)
	}
	var wg sync.WaitGroup
	for range takers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case m := <-events:
					if err := s.take(m); err != nil {
						s.cancel(err)
						return
					}
				case <-s.ctx.Done():
					return
				}
			}
		}()
	}
	s.last()
	err = context.Cause(s.ctx)
	s.cancel(nil)
	listening.Stop()
	wg.Wait()
	if err == nil {
		err = s.result()
	}
	return s.failed(err)
}

// last waits until nothing is left, or something has gone wrong.
func (s *stage) last() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.done:
			return
		case <-s.ctx.Done():
			return
		case err := <-s.broken:
			s.cancel(err)
		case <-tick.C:
			if err := s.remind(); err != nil {
				s.cancel(err)
			}
		}
	}
}

// failed says what an error of the stage means.
func (s *stage) failed(err error) error { return s.serverFailed(s.parent, err) }

// serverFailed says what a fault of the server means.
func (c *Coordinator) serverFailed(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil || !errors.Is(err, errStore) && !errors.Is(err, jetstream.ErrJetStreamNotEnabled) && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, nats.ErrTimeout) {
		return err
	}
	return &fault.Error{Op: "fleet", Err: fmt.Errorf("the server of the fleet does not work any more: %w", err), Hint: "see that it runs and has room on its disk, and run the same command again, finished work is kept"}
}

// result is the error of shards that were set aside.
func (s *stage) result() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.aside) == 0 {
		return nil
	}
	first := s.aside[0]
	return &fault.Error{Op: "fleet", Err: fmt.Errorf("%d of %d shards were set aside; %s: %w", len(s.aside), len(s.all), first.Name, first.err), Hint: "the others are finished and kept; mend the cause and run the same command again, which tries them once more"}
}

// resume finds out what is on the queue from before, and takes off what nobody wants.
func (s *stage) resume() error {
	stream, err := s.js.Stream(s.ctx, s.run.shards())
	if err != nil {
		return err
	}
	info, err := stream.Info(s.ctx, jetstream.WithSubjectFilter(s.run.subject("shard", ">")))
	if err != nil {
		return err
	}
	for _, subject := range slices.Sorted(maps.Keys(info.State.Subjects)) {
		parts := strings.Split(subject, ".")
		if len(parts) != 6 || parts[3] == scoresQueue {
			continue
		}
		o := s.open[parts[4]]
		if o != nil && o.queued && parts[5] == fmt.Sprint(o.attempt) {
			continue // found before
		}
		if o == nil || o.queued || parts[3] != queue(o.Model) {
			if err := stream.Purge(s.ctx, jetstream.WithPurgeSubject(subject)); err != nil {
				return err
			}
			continue
		}
		fmt.Sscan(parts[5], &o.attempt)
		o.queued = true
		s.out++
	}
	s.wait = slices.DeleteFunc(s.wait, func(o *order) bool { return o.queued })
	return nil
}

// fill puts orders on the queue, so many that no worker has to wait.
func (s *stage) fill() error {
	for {
		s.mu.Lock()
		if s.out >= max(window, 4*s.contexts()) || len(s.wait) == 0 || s.to.Wants != nil && !s.to.Wants() {
			if s.to.Wants != nil && !s.to.Wants() {
				s.finish()
			}
			s.mu.Unlock()
			return nil
		}
		o := s.wait[0]
		s.wait = s.wait[1:]
		s.out++
		o.queued = true
		attempt := o.attempt
		s.mu.Unlock()
		if err := s.post(s.ctx, queue(o.Model), o.Key, attempt, o.Drawing); err != nil {
			return err
		}
	}
}

// finish ends the stage; the mutex is held.
func (s *stage) finish() {
	select {
	case <-s.done:
	default:
		close(s.done)
	}
}

// take looks at what a worker says of a shard.
func (s *stage) take(m jetstream.Msg) error {
	var n notice
	if !said(m.Data(), &n) {
		return m.Term()
	}
	s.heard(&n.Card)
	s.mu.Lock()
	o := s.open[n.Key]
	free := o != nil && !o.taking
	if free {
		o.taking = true
	}
	s.mu.Unlock()
	switch {
	case o == nil: // it was taken from another, or is of an earlier stage
		if n.Object != "" {
			s.o.Say(fmt.Sprintf("worker %s hands in a shard that another has handed in: it is dropped", n.Card.Called()))
		}
		s.drop(s.ctx, n.Object)
		acknowledge(s.ctx, m)
		return nil
	case !free:
		return m.NakWithDelay(time.Second)
	case n.Back:
		s.mu.Lock()
		o.taking = false
		o.back++
		s.mu.Unlock()
		acknowledge(s.ctx, m)
		return nil
	case n.Lost > 0 && n.Lost-o.back < given: // most who had it gave it back
		return s.anew(m, o)
	case n.Error != "":
		return s.mishap(m, o, &n, errors.New(n.Error), n.Lost > 0, true)
	}
	shard, err := s.fetch(o, &n)
	var wrong damage
	switch {
	case errors.As(err, &wrong):
		s.strike(n.Worker)
		return s.mishap(m, o, &n, fmt.Errorf("its result is damaged: %w", err), false, false)
	case err != nil:
		slog.Debug("fleet: fetch a result", "shard", o.Name, "err", err)
		s.mu.Lock()
		o.taking = false
		s.mu.Unlock()
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		if meta, e := m.Metadata(); e == nil && meta.NumDelivered > 5 {
			return s.mishap(m, o, &n, err, false, false)
		}
		return m.NakWithDelay(time.Second)
	}
	err = s.to.Put(o.at, shard)
	if shard.File != "" {
		os.Remove(shard.File) // where it was not moved
	}
	if err != nil {
		return err
	}
	s.did(o.Name, &n)
	s.drop(s.ctx, n.Object)
	acknowledge(s.ctx, m)
	s.remove(o)
	return s.fill()
}

// remove takes an order off the list.
func (s *stage) remove(o *order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, o.Key)
	s.pace.add(time.Now())
	if s.out--; len(s.open) == 0 {
		s.finish()
	}
}

// anew puts an order on the queue as if it had never been given out.
func (s *stage) anew(m jetstream.Msg, o *order) error {
	s.mu.Lock()
	old := s.run.shard(queue(o.Model), o.Key, fmt.Sprint(o.attempt))
	o.taking, o.back = false, 0
	o.attempt++
	attempt := o.attempt
	s.mu.Unlock()
	s.withdraw(s.ctx, old)
	if err := s.post(s.ctx, queue(o.Model), o.Key, attempt, o.Drawing); err != nil {
		return err
	}
	acknowledge(s.ctx, m)
	return nil
}

// mishap notes that a shard has failed. One that the worker has given back is on the queue still.
func (s *stage) mishap(m jetstream.Msg, o *order, n *notice, err error, hopeless, back bool) error {
	s.mu.Lock()
	o.taking, o.err = false, fmt.Errorf("%s: %w", n.Card.Called(), err)
	o.failed = append(o.failed, n.Worker)
	others := slices.Compact(slices.Sorted(slices.Values(o.failed)))
	// A worker that has a fault of its own does not condemn a shard that others could draw.
	condemned := hopeless || len(o.failed) >= s.o.Tries && (len(others) > 1 || s.alive() < 2) || len(o.failed) >= 3*s.o.Tries
	old := s.run.shard(queue(o.Model), o.Key, fmt.Sprint(o.attempt))
	if !condemned && !back {
		o.attempt++
	}
	attempt := o.attempt
	s.mu.Unlock()
	s.failure(&n.Card)
	what := "it is tried again"
	if condemned {
		what = "it is set aside, and the others go on"
	}
	s.o.Say(fmt.Sprintf("%s failed at worker %v: %s", o.Name, o.err, what))
	s.drop(s.ctx, n.Object)
	switch {
	case condemned:
		s.withdraw(s.ctx, old)
		s.mu.Lock()
		s.aside = append(s.aside, o)
		s.mu.Unlock()
		acknowledge(s.ctx, m)
		s.remove(o)
		return s.fill()
	case !back:
		if err := s.post(s.ctx, queue(o.Model), o.Key, attempt, o.Drawing); err != nil {
			return err
		}
	}
	acknowledge(s.ctx, m)
	return s.fill()
}

// fetch reads and checks a result.
func (s *stage) fetch(o *order, n *notice) (*rollout.Shard, error) {
	ctx, cancel := context.WithTimeout(s.ctx, sendTime(n.Bytes))
	defer cancel()
	in, err := s.results.Get(ctx, n.Object)
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		return nil, damaged("it is not there")
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if info, err := in.Info(); err == nil && info.Size > uint64(s.shares.result()+mostLine) {
		return nil, damaged("it has %s, and %s is the most", size(info.Size), size(uint64(s.shares.result())))
	}
	shard, err := unpack(in, o.Drawing, filepath.Join(s.dir, "states-"+o.Key))
	if errors.Is(in.Error(), jetstream.ErrDigestMismatch) {
		return nil, damaged("its sum is not that of its content")
	}
	if err == nil {
		err = in.Error()
	}
	return shard, err
}
