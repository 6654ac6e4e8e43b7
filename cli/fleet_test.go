//go:build unix

package cli

import (
	"bytes"
	"html"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// workerProgram is an ivo worker in a process of its own.
type workerProgram struct {
	*exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer // what it says
}

func (w *workerProgram) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *workerProgram) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// hire starts a worker, with a cache of its own, until the test's end.
func hire(t *testing.T, address, cache string, more ...string) *workerProgram {
	t.Helper()
	w := &workerProgram{Cmd: exec.Command("ivo", append([]string{"worker", "--nats", "nats://" + address, "-t", "1"}, more...)...)}
	w.Env, w.Stderr = append(os.Environ(), "IVO_CACHE="+cache), w
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Process.Kill()
		w.Wait()
	})
	return w
}

// An evaluation whose answers and scores come from a worker is the one that a machine makes alone: every answer, every score, and
// what they come to.
func TestFleetEvaluation(t *testing.T) {
	all := verbs(t)
	v := all[slices.IndexFunc(all, func(v verb) bool { return v.name == "eval" })]
	u, a := v.undisturbed(t), v.attempt(t)
	address := freeAddress(t)
	hire(t, address, t.TempDir(), "-m", lab(t).model)
	a.args = append(a.args, "--fleet", "--listen", address)
	if code, log := a.runs(t, nil); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	r, err := fleet.ReadRecord(filepath.Join(a.dir, a.out))
	if err != nil {
		t.Fatal(err)
	}
	// The ceiling's continuations are drawn by the run's own machine, which is of the worker's kind.
	if len(r.Workers) != 2 || !strings.HasSuffix(r.Workers[0].Name, "(the run's own)") || r.Workers[0].Shards != 1 || r.Workers[1].Shards == 0 || r.Workers[1].Scored == 0 || r.Mixed {
		t.Fatalf("%+v", r)
	}
	page, err := os.ReadFile(filepath.Join(a.dir, a.out, run.ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Workers {
		if !bytes.Contains(page, []byte("<th>"+html.EscapeString(m.Name)+"</th>")) {
			t.Errorf("%s is not named in the report", m.Name)
		}
	}
	delete(u.files, "out/"+run.ReportFile) // it names nobody
	a.name = "fleet"
	for _, name := range []string{"out/eval.json", "out/samples.jsonl"} {
		if u.files[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	u.same(t, a)
	t.Logf("%d files; %d shards drawn and %d files scored by the worker", len(u.files), r.Workers[1].Shards, r.Workers[1].Scored)
}

// A worker that is interrupted hands back what it has in hand and leaves at once: with a heartbeat of an hour the run would
// wait as long for it otherwise. It is the run of a machine alone all the same.
func TestInterruptedWorker(t *testing.T) {
	f := lab(t)
	alone := attempt{verb{name: "fleet", out: "run"}, t.TempDir(), f.iterate("run", "-n", "12"), nil}
	alone.ends(t)
	want := undisturbed{files: alone.written(t)}
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			address := freeAddress(t)
			a := attempt{alone.verb, t.TempDir(), f.iterate("run", "-n", "12", "-v", "--fleet", "--listen", address, "--heartbeat", "1h"), nil}
			cache := t.TempDir()
			w := hire(t, address, cache, "-m", f.model)
			interrupted, shards, left := 0, 0, ""
			code, log := a.runs(t, func(cmd *exec.Cmd) {
				all, err := filepath.Glob(filepath.Join(a.dir, "run", "iter-*", "trajectories", "*"))
				if err != nil || len(all) == shards || interrupted == 3 || !strings.Contains(w.said(), "drawing for run") {
					return
				}
				// A shard has come: it is at the next, most likely.
				interrupted, shards = interrupted+1, len(all)
				w.Process.Signal(signal)
				w.Wait()
				if code := w.ProcessState.ExitCode(); code != 130 && code != 143 {
					t.Errorf("exit code %d: %s", code, w.said())
				}
				left += w.said()
				w = hire(t, address, cache, "-m", f.model)
			})
			if code != 0 || interrupted != 3 {
				t.Fatalf("interrupted %d times: exit code %d: %s", interrupted, code, log)
			}
			if strings.Count(log, " leaves)") != interrupted || !strings.Contains(left, "in hand are given back to the run") || strings.Contains(left, "goroutine ") {
				t.Errorf("it is not told who left: %s\n%s", log, left)
			}
			want.same(t, a)
		})
	}
}
