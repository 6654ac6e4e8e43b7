package fleet_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead"
)

func init() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	if os.Getenv("IVO_FLEET_LOG") != "" {
		slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}
}

const lab = "../../testdata/lab/summarize-"

// small is a run of the lab's, small enough to take seconds.
type small struct {
	o loop.Options
	w loop.Work
}

func newSmall(t testing.TB) *small {
	const prompts, test = 12, 4
	t.Helper()
	s := &small{}
	var err error
	if s.w.Model, err = llama.Load(lab+"s.gguf", llama.ModelParams{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.w.Model.Close() })
	if s.w.Encoder, err = prompt.NewEncoder(s.w.Model, prompt.Options{}); err != nil {
		t.Fatal(err)
	}
	if s.w.Reward, err = reward.Open("gold", reward.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.w.Reward.Close() })
	s.read(t, prompts, test)
	s.o = loop.Defaults(s.w.Model.Info().Layers)
	s.o.Samples, s.o.ShardPrompts, s.o.MaxTokens, s.o.Search.Beams, s.o.Parallel, s.o.Context.Cells = 2, 2, 16, 2, 8, 1024
	s.o.Context.Threads, s.o.Head.Kind, s.o.Head.Hidden, s.o.Head.Epochs = 1, string(valuehead.Recall), 8, 1
	s.o.EvalPrompts = "test"
	return s
}

// read takes so many prompts to learn from and to evaluate on.
func (s *small) read(t testing.TB, prompts, test int) {
	t.Helper()
	read := func(name string, n int) []prompt.Encoded {
		records, err := prompt.Read(lab+name+".jsonl", prompt.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := prompt.Fit(s.w.Encoder, records[:n], func(int) error { return nil }, true)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	s.w.Prompts = read("train", prompts)
	s.w.Test = read("test", test)
}

// alone is the run that one machine draws, made once.
var alone = struct {
	once  sync.Once
	files map[string]string
}{}

func (s *small) alone(t testing.TB) map[string]string {
	t.Helper()
	alone.once.Do(func() {
		dir := filepath.Join(t.TempDir(), "alone")
		if err := loop.Run(context.Background(), dir, s.o, s.w); err != nil {
			t.Fatal(err)
		}
		alone.files = files(t, dir)
	})
	return alone.files
}

// said collects what people are told.
type said struct {
	t    testing.TB
	who  string
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(&s.text, text)
	if os.Getenv("IVO_FLEET_LOG") != "" {
		fmt.Fprintln(os.Stderr, time.Now().Format("05.000"), s.who, text)
	}
}

func (s *said) has(part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), part)
}

// lead leads a fleet for a run.
func (s *small) lead(t testing.TB, dir string, o fleet.Options) (*fleet.Coordinator, *said) {
	t.Helper()
	told := &said{t: t, who: "coordinator:"}
	o.Dir, o.Say = dir, told.say
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	c, err := fleet.Lead(context.Background(), o, s.w.Model)
	if err != nil {
		t.Fatal(err)
	}
	return c, told
}

// worker is one in the background.
type worker struct {
	*said
	stop  context.CancelFunc
	ended chan error
}

func (s *small) worker(t testing.TB, url string, change func(*fleet.WorkerOptions)) *worker {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &worker{said: &said{t: t, who: "worker:"}, stop: cancel, ended: make(chan error, 1)}
	o := fleet.WorkerOptions{
		URL: url, Cache: t.TempDir(), Threads: 1, Say: w.say, Card: fleet.Card{Build: "a build", CPU: "a kind"},
		Load: func(path string) (*llama.Model, error) { return llama.Load(path, llama.ModelParams{}) },
	}
	if change != nil {
		change(&o)
	}
	go func() { w.ended <- fleet.Work(ctx, o) }()
	t.Cleanup(cancel)
	return w
}

// files are a run's, but for those that say how it came about.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == run.FleetDir:
			return filepath.SkipDir
		case e.IsDir() || name == run.FleetFile || name == ".lock":
			return nil
		}
		data, err := os.ReadFile(path)
		out[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// same finds in which files a run differs from the one that was made alone.
func (s *small) same(t testing.TB, dir string) {
	t.Helper()
	equal(t, files(t, dir), s.alone(t))
}

// equal finds in which files a run differs from one that was made alone.
func equal(t testing.TB, a, b map[string]string) {
	t.Helper()
	for name := range b {
		if a[name] != b[name] {
			t.Errorf("%s differs: %d bytes, alone %d", name, len(a[name]), len(b[name]))
		}
		delete(a, name)
	}
	for name := range a {
		t.Errorf("%s is there, and was not alone", name)
	}
}

// run draws the run in a directory by a fleet, or alone without one, to the end or until the context's.
func (s *small) run(ctx context.Context, dir string, c *fleet.Coordinator) error {
	w := s.w
	if c != nil {
		w.Drawer, w.Elsewhere = c, c.Elsewhere
	}
	return loop.Run(ctx, dir, s.o, w)
}

// finished ends a fleet, and its workers.
func finished(t testing.TB, c *fleet.Coordinator, workers ...*worker) {
	t.Helper()
	if err := c.Finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, w := range workers {
		if err := <-w.ended; err != nil {
			t.Error(err)
		}
	}
}

// A run that three workers draw, none of which has the model, is the run that one machine draws alone.
func TestSameRun(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, _ := s.lead(t, dir, fleet.Options{})
	var workers []*worker
	for range 3 {
		workers = append(workers, s.worker(t, c.Address(), nil))
	}
	if err := s.run(context.Background(), dir, c); err != nil {
		t.Fatal(err)
	}
	finished(t, c, workers...)
	s.same(t, dir)
	r, err := fleet.ReadRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	shards, scored := 0, 0
	for _, m := range r.Workers {
		shards += m.Shards
		scored += m.Scored
	}
	// Two rounds of six shards, and one shard of answers of each of six methods, and what the reward says of each.
	if shards != 18 || scored != 18 || len(r.Drawn) != 36 || r.Mixed {
		t.Errorf("%d shards, %d scored, %d files, mixed %v", shards, scored, len(r.Drawn), r.Mixed)
	}
	if _, err := os.Stat(filepath.Join(dir, run.FleetDir)); !os.IsNotExist(err) {
		t.Error("what was under way is left there")
	}
}
