package fleet_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// part runs a run by a fleet, or alone, until so many more files of responses are there, or to its end for 0.
func (s *small) part(t *testing.T, dir string, c *fleet.Coordinator, own batch.Own, more int) {
	t.Helper()
	made := func() int {
		responses, _, err := run.Made(dir)
		if err != nil {
			t.Error(err)
		}
		return len(responses)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	w, before := s.w, made()
	w.Own = own
	if c != nil {
		w.Drawer, w.Elsewhere = c, c.Elsewhere
	}
	w.Notify = func(loop.Event) {
		if more > 0 && made() >= before+more {
			stop()
		}
	}
	if err := loop.Run(ctx, dir, s.o, w); (err == nil) != (more == 0) {
		t.Fatal(err)
	}
}

// by are the machines that have had a part in a run, by their kinds.
func by(t *testing.T, dir string) (shards, scored map[string]int, mixed bool) {
	t.Helper()
	r, err := fleet.ReadRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	shards, scored = map[string]int{}, map[string]int{}
	for _, m := range r.Workers {
		kind := (&fleet.Card{Build: m.Build, CPU: m.CPU, Offload: m.Offload}).Kind()
		shards[kind] += m.Shards
		scored[kind] += m.Scored
	}
	if n, files := shards, len(r.Drawn); files == 0 {
		t.Errorf("%v, and no files", n)
	}
	return shards, scored, r.Mixed
}

// A run that was begun alone, went on with a fleet and then alone by another build says whose each file is, and that it is mixed
// as soon as it is.
func TestKindsOfOneRun(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	own := fleet.Card{Host: "desk", Build: "a build", CPU: "a kind"}
	s.part(t, dir, nil, batch.Own{}, 2)
	c, _ := s.lead(t, dir, fleet.Options{Own: own})
	w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	s.part(t, dir, c, c.Own(), 2)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	<-w.ended
	shards, _, mixed := by(t, dir)
	if mixed || len(shards) != 1 || shards["a build on a kind"] < 4 {
		t.Errorf("mixed %v: %v", mixed, shards)
	}
	first := shards["a build on a kind"]
	own.Build = "another build"
	told, end, err := fleet.Alone(dir, own, s.w.Model)
	if err != nil {
		t.Fatal(err)
	}
	s.part(t, dir, nil, told, 0)
	if err := end(true); err != nil {
		t.Fatal(err)
	}
	s.same(t, dir)
	shards, scored, mixed := by(t, dir)
	// Two rounds of six shards, and one shard of answers of each of six methods, each scored once.
	if !mixed || shards["a build on a kind"] < first || shards["another build on a kind"] == 0 || shards["a build on a kind"]+shards["another build on a kind"] != 18 || scored["another build on a kind"] == 0 {
		t.Errorf("mixed %v: %v, %v", mixed, shards, scored)
	}
	if _, end, err := fleet.Alone(t.TempDir(), own); err != nil || end(true) != nil {
		t.Error("a run of one machine's is written about")
	}
}

// Workers that differ in what they offload mix a run, and so does a machine of the run's own that scores, which is told while the run
// is under way too.
func TestKindsOfWorkers(t *testing.T) {
	s := newSmall(t)
	for name, tc := range map[string]struct {
		cards []fleet.Card
		here  bool // the run's machine scores
		own   fleet.Card
		mixed bool
	}{
		"equal":           {cards: []fleet.Card{{Build: "b", CPU: "k"}, {Build: "b", CPU: "k"}}, own: fleet.Card{Build: "other", CPU: "k"}},
		"build":           {cards: []fleet.Card{{Build: "b, for AVX2", CPU: "k"}, {Build: "b, for AVX2 AVX512", CPU: "k"}}, mixed: true},
		"own that scores": {cards: []fleet.Card{{Build: "b", CPU: "k"}}, here: true, own: fleet.Card{Build: "b", CPU: "other"}, mixed: true},
		"equal own":       {cards: []fleet.Card{{Build: "b", CPU: "k"}}, here: true, own: fleet.Card{Build: "b", CPU: "k"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "fleet")
			c, _ := s.lead(t, dir, fleet.Options{Own: tc.own})
			defer c.Close()
			work := s.w
			work.Drawer, work.Own = c, c.Own()
			if !tc.here {
				work.Elsewhere = c.Elsewhere
			}
			ended := make(chan error, 1)
			go func() { ended <- loop.Run(context.Background(), dir, s.o, work) }()
			for i, card := range tc.cards {
				before := c.Drawn()
				w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model, o.Card = s.w.Model, card })
				if i < len(tc.cards)-1 { // until it has drawn one: the next draws the others
					until(t, "a shard", func() bool { return c.Drawn() > before })
					w.stop()
					<-w.ended
				}
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			live, err := fleet.ReadStatus(context.Background(), c.Address(), fleet.Invite{})
			if err != nil || live.Mixed != tc.mixed {
				t.Errorf("%v: mixed while it is under way: %+v", err, live)
			}
			if own := live.Workers[len(live.Workers)-1]; (own.State == "own") != tc.here {
				t.Errorf("the last is %+v", own)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if shards, scored, mixed := by(t, dir); mixed != tc.mixed {
				t.Errorf("mixed %v: %v, %v", mixed, shards, scored)
			}
			s.same(t, dir)
		})
	}
}

// Who scores a run later, without its model, has the line that the machine has, and is of another kind where that is another machine.
func TestScoredLater(t *testing.T) {
	for host, mixed := range map[string]bool{"desk": false, "lap": true} {
		dir := t.TempDir()
		record := "workers:\n- {name: desk (the run's own), host: desk, build: b, cpu: k, offload: all layers on a GPU, shards: 2}\n"
		if err := os.WriteFile(filepath.Join(dir, run.FleetFile), []byte(record), 0o644); err != nil {
			t.Fatal(err)
		}
		told, end, err := fleet.Alone(dir, fleet.Card{Host: host, Build: "b", CPU: "k"})
		if err != nil {
			t.Fatal(err)
		}
		told.Scored("rewards/gold-1/iter-01/0000.jsonl")
		if err := end(true); err != nil {
			t.Fatal(err)
		}
		r, err := fleet.ReadRecord(dir)
		if err != nil || r.Mixed != mixed || (len(r.Workers) == 1) == mixed || r.Workers[len(r.Workers)-1].Scored != 1 || r.Drawn["rewards/gold-1/iter-01/0000.jsonl"] != host+" (the run's own)" {
			t.Errorf("%s: %+v, %v", host, r, err)
		}
	}
}

// What a worker's model is offloaded to is of its kind.
func TestOffloadIsOfTheKind(t *testing.T) {
	a := fleet.Card{Build: "b", CPU: "k"}
	b := a
	if b.Offload = "all layers on a GPU (CUDA0)"; a.Kind() == b.Kind() {
		t.Error(a.Kind())
	}
}

// What was finished shortly before the run's machine was killed, and not written down, is told as such, once: it is not the work of who
// goes on.
func TestForgotten(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, _ := s.lead(t, dir, fleet.Options{})
	w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	s.part(t, dir, c, c.Own(), 4)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	w.stop()
	<-w.ended
	path := filepath.Join(dir, run.FleetFile)
	r, err := fleet.ReadRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	for file := range r.Drawn {
		if strings.HasSuffix(file, ".jsonl.zst") {
			name = file
		}
	}
	delete(r.Drawn, name)
	text, err := yaml.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, end, err := fleet.Alone(dir, fleet.Card{Host: "desk", Build: "another"}, s.w.Model)
		if err != nil {
			t.Fatal(err)
		}
		if err := end(false); err != nil {
			t.Fatal(err)
		}
		if r, err = fleet.ReadRecord(dir); err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(r.Workers, func(m fleet.Member) bool { return m.Name == fleet.Forgotten })
		if at < 0 || r.Workers[at].Shards != 1 || r.Drawn[name] != fleet.Forgotten || r.Mixed {
			t.Errorf("%+v, %s by %q", r.Workers, name, r.Drawn[name])
		}
	}
}
