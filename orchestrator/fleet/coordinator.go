package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Options say how a fleet is led.
type Options struct {
	Dir       string        // of the run
	Listen    string        // where a server of its own listens; "" for [DefaultListen]
	URL       string        // of a server that is there already, instead
	Heartbeat time.Duration // after which a silent worker's shard is given to another; 0 for 30 s
	Context   batch.Context // of a worker's engine, and
	Parallel  int           // sequences at once, by which it is known what a worker needs
	Own       Card          // of this machine, which draws and scores what no worker does
	Store     int64         // bytes that its own server may hold; 0 for three quarters of what is free on the disk
	Tries     int           // failures after which a shard is set aside; 0 for 3
	Say       func(string)  // told what people should know, if set
	Notify    func(Status)  // told every second how the workers are, if set
}

// Coordinator has shards drawn by workers. It is a [rollout.Drawer].
type Coordinator struct {
	o    Options
	dir  string // of what is under way
	run  names
	lock *flock.Flock

	server  *embedded // nil with a server elsewhere
	shares  shares    // of what a server keeps
	nc      *nats.Conn
	js      jetstream.JetStream
	notices jetstream.Consumer
	results jetstream.ObjectStore
	files   jetstream.ObjectStore
	broken  chan error
	fault   atomic.Pointer[error] // of the server, after which nothing is stored any more

	models []manifest        // of the run
	ids    map[string]string // their identities, by their fingerprints
	crew
	store
	desk
	rooms
	queues sync.Map // that have a consumer
	stop   context.CancelFunc
	ended  sync.WaitGroup
	fresh  bool        // nothing was under way before
	asked  atomic.Bool // it was asked to draw or to score
}

// Lead begins to lead a fleet that draws for a run with some models.
func Lead(ctx context.Context, o Options, models ...*llama.Model) (c *Coordinator, err error) {
	if o.Heartbeat == 0 {
		o.Heartbeat = heartbeat
	}
	if o.Tries == 0 {
		o.Tries = tries
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Listen == "" {
		o.Listen = DefaultListen
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := run.Usable(dir); err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	c = &Coordinator{o: o, dir: filepath.Join(dir, run.FleetDir), run: names(run.Key("fleet", host, dir)[:10]), broken: make(chan error, 1)}
	if o.Own.Host == "" {
		o.Own.Host = host
	}
	if err := folder(dir, 0o755); err != nil { // as a run without a fleet has it
		return nil, err
	}
	if err := c.crew.start(dir, o.Own.with(models)); err != nil {
		return nil, err
	}
	_, before := os.Stat(c.dir)
	c.fresh = run.Absent(before)
	if err := folder(c.dir, 0o700); err != nil {
		return nil, err
	}
	c.lock = flock.New(filepath.Join(c.dir, "lock"))
	if locked, err := c.lock.TryLock(); err != nil {
		return nil, unwritable(err)
	} else if !locked {
		return nil, fault.New("fleet", "out", nil, "wait for it, or give another {out}", "%s is in use by another ivo", o.Dir)
	}
	defer func(c *Coordinator) {
		if err != nil {
			c.close()
			c.leave()
		}
	}(c)
	if err := c.connect(ctx); err != nil {
		return nil, err
	}
	if err := c.streams(ctx); err != nil && c.server != nil {
		return nil, unwritable(fmt.Errorf("the files of its server in %s: %w", c.dir, err))
	} else if err != nil {
		return nil, &fault.Error{Op: "fleet", Field: "nats", Err: err, Hint: "see that the server has JetStream and room for it, and that you may use it"}
	}
	for _, m := range models {
		key, err := c.offer(m)
		if err == nil {
			err = c.consumer(ctx, queue(key))
		}
		if err != nil {
			return nil, err
		}
	}
	return c, c.listen(ctx)
}

// Open says whether other machines can join.
func (c *Coordinator) Open() bool { return c.server != nil && c.server.open }

// Address is where workers find the fleet.
func (c *Coordinator) Address() string {
	if c.server != nil {
		return c.server.address()
	}
	return c.nc.ConnectedUrlRedacted()
}

func (c *Coordinator) connect(ctx context.Context) (err error) {
	options := []nats.Option{
		nats.Name("ivo " + string(c.run)), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.RetryOnFailedConnect(false), nats.Timeout(5 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { slog.Debug("fleet", "err", err) }),
	}
	if c.o.URL != "" {
		if c.nc, err = dial(c.o.URL, options...); err != nil {
			return &fault.Error{Op: "fleet", Field: "nats", Err: fmt.Errorf("the server cannot be reached: %w", err), Hint: "see that it runs, and what address and rights {nats} gives"}
		}
	} else {
		s, err := secrets(c.dir)
		if disk := (*fs.PathError)(nil); errors.As(err, &disk) {
			return unwritable(err)
		}
		if err != nil {
			return err
		}
		if c.server, err = serve(c.dir, c.o.Listen, c.run, s); err != nil {
			return err
		}
		if err := s.keep(c.dir, c.server.listen); err != nil {
			return unwritable(err)
		}
		if c.nc, err = c.server.connect(options...); err != nil {
			return err
		}
	}
	c.js, err = jetstream.New(c.nc)
	return err
}

// streams makes those of the run, or finds them.
func (c *Coordinator) streams(ctx context.Context) error {
	replicas := 1
	if c.server == nil && c.nc.ConnectedClusterName() != "" && len(c.nc.Servers()) >= 3 {
		replicas = 3
	}
	store := int64(mostStore)
	if c.server != nil {
		store = cmp.Or(c.o.Store, ownStore(c.dir))
	}
	c.shares = sharesOf(store)
	most := func(share int64) int64 {
		if c.server == nil { // what a server of others reserves for a run is its operator's to say
			return -1
		}
		return share
	}
	if _, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: c.run.shards(), Subjects: []string{c.run.subject("shard", "*", "*", "*")}, Retention: jetstream.WorkQueuePolicy, MaxAge: kept, Replicas: replicas,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxBytes: most(c.shares.orders),
	}); err != nil {
		return err
	}
	notices, err := c.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: c.run.notices(), Subjects: []string{c.run.subject(drawnNotice, "*", "*"), c.run.subject(scoredNotice, "*", "*")}, Retention: jetstream.WorkQueuePolicy, MaxAge: kept, Replicas: replicas, MaxBytes: most(c.shares.notices), Discard: jetstream.DiscardNew,
	})
	if err != nil {
		return err
	}
	for kind, consumer := range map[string]*jetstream.Consumer{drawnNotice: &c.notices, scoredNotice: &c.scored} {
		if *consumer, err = notices.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: kind, FilterSubject: c.run.subject(kind, "*", "*"), AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Minute,
		}); err != nil {
			return err
		}
	}
	if err := c.consumer(ctx, scoresQueue); err != nil {
		return err
	}
	if c.results, err = c.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: c.run.results(), MaxBytes: most(c.shares.results), TTL: kept, Replicas: replicas}); err != nil {
		return err
	}
	c.files, err = c.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: c.run.files(), MaxBytes: most(c.shares.files), TTL: kept, Replicas: replicas})
	return err
}

// consumer makes that of a queue.
func (c *Coordinator) consumer(ctx context.Context, q string) error {
	if _, there := c.queues.Load(q); there {
		return nil
	}
	stream, err := c.js.Stream(ctx, c.run.shards())
	if err == nil {
		_, err = stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: q, FilterSubject: c.run.shard(q, "*", "*"), AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.o.Heartbeat, MaxDeliver: -1, MaxAckPending: 1 << 15, MaxWaiting: 1 << 14,
		})
	}
	if err == nil {
		c.queues.Store(q, true)
	}
	return err
}

// listen hears workers, until the end.
func (c *Coordinator) listen(ctx context.Context) error {
	ctx, c.stop = context.WithCancel(ctx)
	answer := func(subject string, handle func(data []byte) any) error {
		_, err := c.nc.Subscribe(subject, func(m *nats.Msg) {
			if v := handle(m.Data); v != nil && m.Reply != "" {
				m.Respond(encode(v))
			}
		})
		return err
	}
	err := errors.Join(
		answer(joinSubject, c.join),
		answer(c.run.subject("worker", "*"), c.beat),
		answer(c.run.subject("ask"), func(data []byte) any { return c.ask(ctx, data) }),
		answer(c.run.subject("room"), func(data []byte) any { return c.admit(ctx, data) }),
		answer(statusSubject, func([]byte) any { return c.Status() }),
		c.nc.Flush(),
	)
	if err != nil {
		return err
	}
	c.ended.Go(func() { every(ctx, time.Second, c.watch) })
	c.ended.Go(func() {
		every(ctx, idle/4, func() {
			if err := c.sweep(ctx); err != nil && ctx.Err() == nil {
				slog.Debug("fleet: look for pieces of results", "err", err)
			}
		})
	})
	return nil
}

// every does something again and again, until the context ends.
func every(ctx context.Context, d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			do()
		}
	}
}

// watch looks at the server and the workers, and tells how they are.
func (c *Coordinator) watch() {
	if err := c.serverFault(); err != nil {
		select {
		case c.broken <- err:
		default:
		}
	}
	c.crew.look(c.o.Heartbeat, c.o.Say)
	if c.o.Notify != nil {
		c.o.Notify(*c.Status())
	}
}

// errStore says that the server's store takes nothing any more.
var errStore = errors.New("its store fails")

// serverFault is what has befallen the embedded server, if anything.
func (c *Coordinator) serverFault() error {
	if c.server == nil {
		return nil
	}
	select {
	case text := <-c.server.failed:
		err := fmt.Errorf("%w: %s", errStore, text)
		c.fault.CompareAndSwap(nil, &err)
	default:
	}
	if err := c.fault.Load(); err != nil {
		return *err
	}
	if !c.server.JetStreamEnabled() {
		return jetstream.ErrJetStreamNotEnabled
	}
	return nil
}

// join takes a worker, or says why not.
func (c *Coordinator) join(data []byte) any {
	var card Card
	if !said(data, &card) {
		return nil
	}
	w := welcome{Run: string(c.run), Heartbeat: c.o.Heartbeat, Most: c.shares.result()}
	if w.Model = c.assign(card.Model); w.Model.Key == "" { // it has another
		w.Model = c.models[0]
	}
	switch why := c.crew.banned(card.Worker); {
	case card.Protocol != protocol:
		w.Refused = fmt.Sprintf("the worker speaks version %d of the fleet's protocol, the run's ivo %d (use the same ivo on both)", card.Protocol, protocol)
	case card.Model != "" && card.Model != w.Model.Key:
		w.Refused = fmt.Sprintf("%s is another model than the run's %s, whatever it is called: its weights or its tokenizer differ (take the run's file, or none to be sent it)", card.Named, w.Model.Name)
	case card.Memory > 0 && w.Model.Needs > card.Memory:
		w.Refused = fmt.Sprintf("%s needs about %s of memory, and %s are free (free some, or use a machine that has it)", w.Model.Name, size(w.Model.Needs), size(card.Memory))
	case why != "":
		w.Refused = why
	case c.crew.full(card.Worker):
		w.Refused = fmt.Sprintf("the run has %d workers, and takes no more (wait until some leave)", mostWorkers)
	default:
		if c.crew.saw(&card) {
			return &w
		}
		c.o.Say(fmt.Sprintf("worker %s joins: %d cores, %s", card.Called(), card.Cores, card.Kind()))
		return &w
	}
	c.o.Say(fmt.Sprintf("worker %s is refused: %s", card.Called(), w.Refused))
	return &w
}

// assign is the model that a worker is to draw with: its own, if it is one of the run's, or, of one that is sent
// one, that whose shards have the fewest workers.
func (c *Coordinator) assign(own string) (out manifest) {
	for _, m := range c.models {
		if m.Key == own {
			return m
		}
	}
	if own != "" {
		return manifest{}
	}
	waiting := map[string]int{}
	c.crew.mu.Lock()
	s := c.crew.stage
	c.crew.mu.Unlock()
	if s != nil {
		s.mu.Lock()
		for _, o := range s.open {
			waiting[o.Model]++
		}
		s.mu.Unlock()
	}
	c.crew.mu.Lock() // not before the stage's: the stage counts workers
	defer c.crew.mu.Unlock()
	least := -1
	for _, m := range c.models {
		if len(waiting) > 0 && waiting[m.Key] == 0 {
			continue
		}
		workers := 0
		for _, w := range c.members {
			if w.Card.Model == m.Key && !w.left && !w.lost {
				workers++
			}
		}
		if least < 0 || workers < least {
			out, least = m, workers
		}
	}
	return out
}

// beat hears how a worker is.
func (c *Coordinator) beat(data []byte) any {
	var p pulse
	if said(data, &p) {
		left, unable := c.crew.pulse(&p)
		if unable {
			c.o.Say(fmt.Sprintf("worker %s draws and does not score: %s", p.Called(), p.Unable))
		}
		if left {
			c.o.Say(fmt.Sprintf("worker %s leaves", p.Called()))
		}
	}
	return nil
}

// Finish ends a fleet whose run is finished: workers are told, and nothing is left on the server.
func (c *Coordinator) Finish(ctx context.Context) error {
	c.nc.Publish(c.run.subject("over"), nil)
	c.nc.FlushTimeout(2 * time.Second)
	if c.server == nil {
		for _, name := range []string{c.run.shards(), c.run.notices(), "OBJ_" + c.run.results(), "OBJ_" + c.run.files()} {
			if err := c.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				slog.Debug("fleet: clean up", "err", err)
			}
		}
	}
	err := c.Close()
	return errors.Join(err, os.RemoveAll(c.dir))
}

// Close ends the fleet for now: a run that goes on finds what its workers have drawn meanwhile.
func (c *Coordinator) Close() error {
	if c.stop != nil {
		c.stop()
	}
	c.ended.Wait()
	c.desk.close()
	return errors.Join(c.crew.save(), c.close(), c.leave())
}

// leave leaves a run as it was of which nothing was drawn, since it was refused.
func (c *Coordinator) leave() error {
	if !c.fresh || c.asked.Load() {
		return nil
	}
	return os.RemoveAll(c.dir)
}

func (c *Coordinator) close() error {
	if c.nc != nil {
		c.nc.FlushTimeout(time.Second)
		c.nc.Close()
	}
	if c.server != nil {
		c.server.stop()
	}
	return c.lock.Close()
}
