package fleet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// WorkerOptions say how a worker works.
type WorkerOptions struct {
	URL    string // of the server
	Invite Invite // to a server that listens to other machines
	// Model is what it decodes with; nil where it takes the run's: from a folder of Models, or it is sent.
	Model   *llama.Model
	Models  []string // folders of models
	Load    func(path string) (*llama.Model, error)
	With    llama.Adapters // of what is loaded
	Threads int            // of a context; 0 chooses
	Cache   string         // folder of files that it is sent
	Card    Card           // what it says of itself: version, build, CPU, memory
	Stay    bool           // it waits for the next run when one is over
	Say     func(string)
	Notify  func(Working) // told every second, if set
}

// Working tells how a worker is.
type Working struct {
	Shards int      // drawn
	Scored int      // files of responses
	Tokens int64    // decoded
	Rate   float64  // tokens a second, for the run
	Doing  []string // shards
	Sent   *Sending // nil where nothing is being sent
}

// Sending is a file on its way to a worker.
type Sending struct {
	Name     string
	Here, Of int64   // bytes
	Rate     float64 // bytes a second
}

// rate is a number of something a second.
func rate(n int64, since time.Time) float64 {
	return float64(n) / max(time.Since(since).Seconds(), 1e-9)
}

// errOver says that the run is finished, errGone that its coordinator has to be found again.
var (
	errOver = errors.New("the run is finished")
	errGone = errors.New("the run does not answer")
)

// worker is one at work.
type worker struct {
	o    WorkerOptions
	card Card
	nc   *nats.Conn
	js   jetstream.JetStream

	model *llama.Model
	own   bool // it was loaded here, and is closed here
	heads heads

	shards  atomic.Int64
	scored  atomic.Int64
	tokens  atomic.Int64
	back    atomic.Int64           // handed back
	unable  atomic.Pointer[string] // why it does not score
	sending atomic.Pointer[Sending]
	mu      sync.Mutex
	doing   map[string]int // shards in hand
	since   time.Time      // it draws for the run, and
	before  int64          // tokens that it had decoded by then
}

// Work serves runs until the one that it finds is over, or the context ends: what it has in hand is given
// back then.
func Work(ctx context.Context, o WorkerOptions) error {
	if o.Say == nil {
		o.Say = func(string) {}
	}
	w := &worker{o: o, card: o.Card, doing: map[string]int{}}
	w.card.Protocol, w.card.Worker, w.card.Cores = protocol, rand.Text()[:12], runtime.GOMAXPROCS(0)
	w.card.Host, _ = os.Hostname()
	if o.Model != nil {
		if err := w.take(o.Model, filepath.Base(o.Model.Path()), false); err != nil {
			return err
		}
	}
	defer w.release()
	for _, dir := range o.Models {
		if err := isFolder(dir); err != nil {
			return err
		}
	}
	if err := o.With.Check(); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Cache, 0o700); err != nil {
		return &fault.Error{Op: "work", Err: err, Hint: "set IVO_CACHE to a folder that you may write to"}
	}
	options := append([]nats.Option{
		nats.Name("ivo worker"), nats.MaxReconnects(-1), nats.ReconnectWait(time.Second), nats.Timeout(5 * time.Second), nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(3),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { slog.Debug("fleet", "err", err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if ctx.Err() == nil && err != nil {
				slog.Debug("fleet: disconnected", "err", err)
				o.Say("the connection to the run is lost, and tried again")
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { o.Say("the run is reached again") }),
	}, o.Invite.options()...)
	if err := w.connect(ctx, options); err != nil {
		return err
	}
	defer w.nc.Close()
	var err error
	if w.js, err = jetstream.New(w.nc); err != nil {
		return err
	}
	for waiting, since := false, time.Now(); ; {
		w.back.Store(0) // what was given back before is with others now
		hello, err := w.join(ctx)
		if err == nil {
			waiting = false
			err = w.serve(ctx, hello)
		}
		switch {
		case ctx.Err() != nil:
			if n := w.back.Load(); n > 0 {
				o.Say(fmt.Sprintf("%d in hand are given back to the run", n))
			}
			return context.Cause(ctx)
		case errors.Is(err, errOver) && !o.Stay:
			o.Say("the run is finished")
			return nil
		case errors.Is(err, errOver), errors.Is(err, errGone):
			if !waiting {
				o.Say("waiting for a run")
				since = time.Now()
			}
			waiting = true
			pause(ctx, again(since))
		default:
			return err
		}
	}
}

// pause waits, but not for what has ended.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// take begins to decode with a model.
func (w *worker) take(m *llama.Model, name string, own bool) error {
	key, err := identity(m)
	if err != nil {
		return err
	}
	w.model, w.own = m, own
	w.card.Model, w.card.Named, w.card.Offload = key, name, m.Offload()
	return nil
}

// release closes what was opened here.
func (w *worker) release() {
	if w.own && w.model != nil {
		w.model.Close()
	}
	w.model = nil
}

// join asks a run to take it.
func (w *worker) join(ctx context.Context) (*welcome, error) {
	card := w.card
	if w.o.Model == nil {
		card.Model = "" // it takes what is wanted
	}
	if !w.nc.IsConnected() {
		if err := w.otherwise(); err != nil {
			return nil, err
		}
		if w.nc.IsClosed() { // which it is by a server that says no
			return nil, w.notLetIn()
		}
		return nil, errGone
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := w.nc.RequestWithContext(ctx, joinSubject, encode(card))
	if err != nil {
		return nil, errGone
	}
	var hello welcome
	if err := json.Unmarshal(m.Data, &hello); err != nil || hello.Run == "" {
		return nil, fault.New("work", "nats", nil, "give {nats} the server of an ivo iterate with a fleet", "what answers is no run")
	}
	if hello.Refused != "" {
		return nil, fault.New("work", "", nil, "", "the run does not take this worker: %s", hello.Refused)
	}
	if hello.Heartbeat <= 0 {
		hello.Heartbeat = heartbeat
	}
	if hello.Most <= 0 {
		hello.Most = mostShard
	}
	hello.Heartbeat = max(hello.Heartbeat, 4*time.Millisecond) // of which a quarter is waited for
	return &hello, nil
}

// serve draws the shards of a run until it is over.
func (w *worker) serve(ctx context.Context, hello *welcome) error {
	n := names(hello.Run)
	if w.model == nil || w.card.Model != hello.Model.Key {
		w.o.Say("taking " + hello.Model.Name)
		end := w.meanwhile(n)
		err := w.fetchModel(ctx, n, &hello.Model)
		end()
		if err != nil {
			w.beat(n, !errors.Is(err, errGone))
			return err
		}
		w.nc.Request(joinSubject, encode(w.card), 5*time.Second) // which it has now
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	over, err := w.nc.Subscribe(n.subject("over"), func(*nats.Msg) { cancel(errOver) })
	if err != nil {
		return err
	}
	defer over.Unsubscribe()
	consumer, err := w.js.Consumer(ctx, n.shards(), queue(w.card.Model))
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// The run has nothing to draw yet.
		w.beat(n, false)
		pause(ctx, 500*time.Millisecond)
		return errGone
	}
	toScore, err := w.js.Consumer(ctx, n.shards(), scoresQueue)
	if err != nil {
		return errGone
	}
	results, err := w.js.ObjectStore(ctx, n.results())
	if err != nil {
		return errGone
	}
	files, err := w.js.ObjectStore(ctx, n.files())
	if err != nil {
		return errGone
	}
	threads := w.o.Threads
	if threads == 0 {
		threads = engine.Threads(w.model)
	}
	w.card.Contexts = max(1, runtime.GOMAXPROCS(0)/threads)
	w.since, w.before = time.Now(), w.tokens.Load()
	w.unable.Store(nil)
	w.o.Say(fmt.Sprintf("drawing for run %s with %s", hello.Run, w.card.Named))
	var wg sync.WaitGroup
	at := func(consumer jetstream.Consumer, told string, count *atomic.Int64) *hand {
		return &hand{worker: w, run: n, told: told, count: count, consumer: consumer, results: results, files: files, heartbeat: hello.Heartbeat, most: hello.Most}
	}
	for range w.card.Contexts {
		wg.Go(func() {
			d := &drawer{hand: at(consumer, drawnNotice, &w.shards), threads: threads}
			defer d.close()
			if err := d.work(ctx, d.read); err != nil {
				cancel(err)
			}
		})
	}
	wg.Go(func() { // rewards are asked while others draw, as on one machine
		j := &judge{hand: at(toScore, scoredNotice, &w.scored)}
		defer j.close()
		if err := j.work(ctx, j.read); errors.Is(err, errGone) {
			cancel(err)
		} else if err != nil {
			why := err.Error()
			w.unable.Store(&why)
			w.o.Say("this worker draws and does not score: " + why)
		}
	})
	w.beating(ctx, n, cancel)
	wg.Wait()
	err = context.Cause(ctx)
	w.beat(n, !errors.Is(err, errGone))
	w.nc.FlushTimeout(2 * time.Second)
	return err
}

// idleBeats is the number of seconds without a shard after which a worker that is sent its model asks for another.
const idleBeats = 5

// beating tells of the worker until the context ends.
func (w *worker) beating(ctx context.Context, n names, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for idle := 0; ; idle++ {
		w.beat(n, false)
		if len(w.inHand()) > 0 {
			idle = 0
		}
		if idle >= idleBeats && w.o.Model == nil { // another model of the run may have shards that wait
			idle = 0
			bare := w.card
			bare.Model = ""
			var hello welcome
			if m, err := w.nc.Request(joinSubject, encode(bare), 5*time.Second); err == nil && json.Unmarshal(m.Data, &hello) == nil && hello.Refused == "" && hello.Model.Key != "" && hello.Model.Key != w.card.Model {
				cancel(errGone)
			}
		}
		w.notify()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// notify tells how the worker is.
func (w *worker) notify() {
	if w.o.Notify != nil {
		t := w.tokens.Load()
		w.o.Notify(Working{int(w.shards.Load()), int(w.scored.Load()), t, rate(t-w.before, w.since), w.inHand(), w.sending.Load()})
	}
}

// meanwhile tells every second that the worker is there, while it takes a model, which may last longer than a heartbeat, until
// the end is called.
func (w *worker) meanwhile(n names) (end func()) {
	here := w.pulse(false) // as it is now: what is taken changes its card
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.nc.Publish(n.subject("worker", w.card.Worker), here)
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}

func (w *worker) beat(n names, left bool) {
	w.nc.Publish(n.subject("worker", w.card.Worker), w.pulse(left))
}

// pulse is how the worker is, as the run is told it.
func (w *worker) pulse(left bool) []byte {
	p := pulse{Card: w.card, Doing: w.inHand(), Tokens: w.tokens.Load(), Left: left}
	if why := w.unable.Load(); why != nil {
		p.Unable = *why
	}
	return encode(p)
}

// hold notes that a shard is in hand, until the end is called.
func (w *worker) hold(name string) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.doing[name]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.doing[name]--; w.doing[name] == 0 {
			delete(w.doing, name)
		}
	}
}
