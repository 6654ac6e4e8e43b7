package fleet_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// The folder of a run is one as others are, and what is under way in it is its owner's alone.
func TestFolders(t *testing.T) {
	s := newSmall(t)
	root := t.TempDir()
	usual := filepath.Join(root, "usual")
	if err := os.Mkdir(usual, 0o755); err != nil {
		t.Fatal(err)
	}
	mode := func(path string) os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	c, _ := s.lead(t, filepath.Join(root, "p", "q"), fleet.Options{})
	defer c.Close()
	for name, want := range map[string]os.FileMode{"p": mode(usual), "p/q": mode(usual), "p/q/" + run.FleetDir: 0o700} {
		if got := mode(filepath.Join(root, name)); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
}

// A run that cannot lie where it is to, and one of which it cannot be read who drew it, is not begun, and nothing is changed.
func TestNotLed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	damaged := t.TempDir()
	for path, text := range map[string]string{file: "mine", filepath.Join(damaged, run.FleetFile): "workers: {"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{file: "(give another the output path)", filepath.Join(file, "in"): "(give another the output path)", damaged: run.FleetFile + ": yaml: "} {
		if c, err := fleet.Lead(context.Background(), fleet.Options{Dir: dir, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
			if err == nil {
				c.Close()
			}
		}
	}
	if _, _, err := fleet.Alone(damaged, fleet.Card{}); err == nil || !strings.Contains(err.Error(), "(mend it, or remove it") {
		t.Errorf("without a fleet: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(damaged, run.FleetFile)); err != nil || string(text) != "workers: {" {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(damaged, run.FleetDir)); !os.IsNotExist(err) {
		t.Errorf("what would be under way is there: %v", err)
	}
}

// What a worker would need later, and is not there, ends it before it waits for a run.
func TestWorkerLacks(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for want, o := range map[string]fleet.WorkerOptions{
		"(give the folder of models a folder that is there)": {Models: []string{t.TempDir(), none}},
		"is no folder":                        {Models: []string{lab + "s.gguf"}},
		"(check the path of the LoRA adapter": {With: llama.Adapters{LoRA: []llama.AdapterFile{{Path: none, Scale: 1}}}},
		"(check the path of the control":      {With: llama.Adapters{Control: []llama.AdapterFile{{Path: none, Scale: 1}}}},
		"context canceled":                    {With: llama.Adapters{Control: []llama.AdapterFile{{Path: vector(t, none+".gguf"), Scale: 1}}}},
	} {
		o.URL, o.Cache = "nats://"+freePort(t), t.TempDir()
		if err := fleet.Work(over, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

// Who waits for a server that nobody knows is told so.
func TestUnknownHost(t *testing.T) {
	s := newSmall(t)
	w := s.worker(t, "nats://not..known:4222", func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	until(t, "a word of it", func() bool { return w.has("waiting for a server at nats://not..known:4222") || len(w.ended) > 0 })
	if !w.has(":4222: ") || !w.has("no such host") {
		t.Errorf("told: %s", w.text.String())
	}
	w.stop()
	<-w.ended
}

// A worker that stays tells how fast it is for the run that it is at.
func TestRateOfNextRun(t *testing.T) {
	s := newSmall(t)
	url := plainServer(t)
	told := make(chan fleet.Working, 1)
	w := s.worker(t, url, func(o *fleet.WorkerOptions) {
		o.Model, o.Stay = s.w.Model, true
		o.Notify = func(now fleet.Working) {
			select {
			case <-told:
			default:
			}
			told <- now
		}
	})
	first, _ := s.lead(t, filepath.Join(t.TempDir(), "first"), fleet.Options{URL: url})
	drawn(t, s, first)
	finished(t, first)
	next, _ := s.lead(t, filepath.Join(t.TempDir(), "next"), fleet.Options{URL: url})
	defer next.Close()
	until(t, "the next run", func() bool { return w.has("drawing for run " + next.Status().Run) })
	<-told // may be from before
	if now := <-told; now.Tokens == 0 || now.Rate != 0 {
		t.Errorf("%+v", now)
	}
	w.stop()
	<-w.ended
}

// staged notes at which stage a run is, as people are told, when something is to be drawn.
type staged struct {
	rollout.Drawer
	last string
	at   map[string]string // by the first of what is drawn
}

func (s *staged) Draw(ctx context.Context, all []*rollout.Drawing, to rollout.Taker) error {
	if len(all) > 0 {
		s.at[all[0].Name] = s.last
	}
	return s.Drawer.Draw(ctx, all, to)
}

// What is drawn is called by its name before anything of it is there.
func TestStageIsTold(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, _ := s.lead(t, dir, fleet.Options{})
	w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	seen := &staged{Drawer: c, at: map[string]string{}}
	work := s.w
	work.Drawer, work.Notify = seen, func(e loop.Event) { seen.last = e.Stage }
	if err := loop.Run(context.Background(), dir, s.o, work); err != nil {
		t.Fatal(err)
	}
	finished(t, c, w)
	for name, stage := range seen.at {
		want := "evaluate "
		if strings.HasPrefix(name, "iter-") {
			want = "round " + name[len("iter-0"):len("iter-01")] + ": collect"
		}
		if !strings.HasPrefix(stage, want) {
			t.Errorf("at %s: %q, not %q", name, stage, want)
		}
	}
	if len(seen.at) != 8 {
		t.Errorf("%d stages were drawn", len(seen.at))
	}
}
