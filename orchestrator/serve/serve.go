// Package serve answers by HTTP: OpenAI's API and a few addresses of llama-server's, with guidance for
// every request, and a page where one sees the values. It reads requests, says how they are to be
// answered ([batch.Policy]), and writes what comes, as it comes. It knows nothing of how answers are
// searched for, and nothing of flags.
//
// A request chooses among what the server offers by name: no client names a file, a model or a reward's
// spec.
package serve

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/serve/shelf"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// Options say what is served and to whom.
type Options struct {
	Model   *llama.Model
	Name    string // what clients call the model; "" for its file's name
	Encoder *prompt.Encoder
	Context batch.Context
	Size    int // most tokens of a prompt and its answer
	// Policy is how requests are answered that say nothing else; its MaxTokens is the length of such an
	// answer, 0 for 512 or half of a smaller context. The value function and the reward come by Heads and Rewards.
	Policy batch.Policy
	// Heads and Rewards are what requests and presets choose from, by name; Head and Reward name those that are
	// taken where nothing is chosen, "" for none. All heads read the same layers.
	Heads        map[string]*value.Function
	Rewards      map[string]reward.Model
	Head, Reward string
	Presets      map[string]Preset // beside those that every server has, which they may replace
	Shelf        *shelf.Shelf      // runs and prompts that may be read; nil for none

	Keys       []string      // of which a client has to show one; none lets everybody in
	Origins    []string      // of web pages that may ask, such as https://chat.example.com
	Hosts      []string      // by which the server may be called, beside loopback's, where there are no keys
	MaxBody    int64         // bytes; 0 for 8 MiB
	BodyTime   time.Duration // that a body may take; 0 for 30 s
	WriteTime  time.Duration // that a client may take to read what is written at once; 0 for 30 s
	MaxConns   int           // connections at once; 0 for 512
	MaxQueue   int           // requests that are answered or wait; 0 for 64
	Log        *slog.Logger
	LogPrompts bool
	Version    string
}

// Server is a model that is served. Its Handler may be used at once.
type Server struct {
	o         Options
	name      string
	heads     map[string]*value.Function
	rewards   map[string]reward.Model
	presets   map[string]Preset
	dialect   dialect
	sequences int // most that a request may take
	decoder   decoder
	embedder  embedder
	bodies    *semaphore.Weighted // bytes of bodies that are being read
	pending   atomic.Int64        // requests in the queue
	draining  atomic.Bool
	counted   metrics
	begun     time.Time
	handler   http.Handler
}

// decoder answers tasks, several at once or one after the other. [local] decodes; tests have one that
// recites.
type decoder interface {
	// answer answers one task; emit gets text that nothing takes back, and never blocks.
	answer(ctx context.Context, p *batch.Policy, t batch.Task, emit func([]byte)) (decode.Response, error)
	Close() error
}

// New makes a server. Close it before the model.
func New(o Options) (*Server, error) {
	if o.Name == "" {
		o.Name = modelName(o.Model.Path())
	}
	defaults(&o.MaxBody, 8<<20)
	defaults(&o.BodyTime, 30*time.Second)
	defaults(&o.WriteTime, 30*time.Second)
	defaults(&o.MaxConns, 512)
	defaults(&o.MaxQueue, 64)
	defaults(&o.Policy.MaxTokens, min(512, o.Size/2))
	if o.Shelf == nil {
		o.Shelf = &shelf.Shelf{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, name: o.Name, heads: o.Heads, rewards: o.Rewards, bodies: semaphore.NewWeighted(max(64<<20, o.MaxBody)), begun: time.Now()}
	s.presets = offered(len(s.heads) > 0, o.Reward)
	maps.Copy(s.presets, o.Presets)
	var err error
	if s.dialect, err = dialectOf(o.Model, o.Encoder); err != nil {
		return nil, err
	}
	local, err := newLocal(o)
	if err != nil {
		return nil, err
	}
	s.sequences = local.sequences()
	s.decoder = local
	if err := s.checkPresets(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.handler = s.routes()
	return s, nil
}

func defaults[T comparable](x *T, value T) {
	var zero T
	if *x == zero {
		*x = value
	}
}

// checkPresets tries every preset, and the way of answering without one.
func (s *Server) checkPresets() error {
	w := s.way()
	if err := s.guide(&w); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(s.presets)) {
		w := s.way()
		w.preset(s.presets[name])
		err := s.guide(&w)
		var p *problem
		if errors.As(err, &p) {
			return fault.New("", "presets", nil, "mend the preset", "preset %s: %s", name, p.message)
		}
		if err != nil {
			return fault.New("", "presets", nil, "mend the preset, or give the server what it needs", "preset %s: %w", name, err)
		}
	}
	return nil
}

// way is the way of answering requests that say nothing. Where there is a head, a reward takes part in the
// search only where that is asked for.
func (s *Server) way() way {
	w := way{policy: s.o.Policy, head: s.o.Head}
	if w.head == "" {
		w.reward = s.o.Reward
	}
	return w
}

// modelName is what a model file is called: its name without the folder and the ending.
func modelName(path string) string {
	if i := strings.LastIndexAny(path, `/\`); i >= 0 {
		path = path[i+1:]
	}
	return strings.TrimSuffix(path, ".gguf")
}

// Handler answers requests.
func (s *Server) Handler() http.Handler { return s.handler }

// Close frees what the server holds; requests must have ended.
func (s *Server) Close() error { return errors.Join(s.decoder.Close(), s.embedder.Close()) }

// Serve answers on listeners until ctx ends. Then it takes no further connections and lets requests that are
// under way end within the time; what is left is cancelled.
func (s *Server) Serve(ctx context.Context, drain time.Duration, listeners ...net.Listener) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	room := make(chan struct{}, s.o.MaxConns)
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- h.Serve(&limited{Listener: l, room: room}) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.draining.Store(true)
	s.o.Log.Info("draining", "requests", s.pending.Load(), "seconds", drain.Seconds())
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer done()
	if h.Shutdown(grace) != nil {
		cancel()
		grace, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer done()
		if h.Shutdown(grace) != nil {
			h.Close()
		}
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// limited is a listener of so many connections at once: others wait in the kernel's queue.
type limited struct {
	net.Listener
	room chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.room <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &counted{Conn: c, leave: func() { <-l.room }}, nil
}

type counted struct {
	net.Conn
	once  sync.Once
	leave func()
}

func (c *counted) Close() error {
	defer c.once.Do(c.leave)
	return c.Conn.Close()
}
