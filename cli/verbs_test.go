//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// A verb is a command that may be stopped anywhere: run again it goes on, and ends with the files that it has when
// nothing stops it.
type verb struct {
	name string
	// begin lays down what there is before it, and returns the command that is run in the directory.
	begin func(t *testing.T, dir string) (args []string)
	out   string // the file or folder that it writes
	once  bool   // it is not run again once that is there
	grows bool   // a file that has its name before it is whole
	// beside, if set, starts what the command works for in the directory: it is over when that is.
	beside func(t *testing.T, dir string) (over <-chan struct{})
}

func verbs(t *testing.T) []verb {
	f := lab(t)
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program := func(t *testing.T, dir string) {
		write(t, filepath.Join(dir, "score.sh"), "while read -r line; do echo ${#line}; done\n")
	}
	return []verb{
		{name: "iterate", out: "run", begin: func(t *testing.T, dir string) []string {
			program(t, dir)
			return f.iterate("run", "-n", "12", "-v", "--reward", "cmd:sh score.sh")
		}},
		{name: "score", out: "run", begin: func(t *testing.T, dir string) []string {
			program(t, dir)
			if err := os.CopyFS(filepath.Join(dir, "run"), os.DirFS(f.run)); err != nil {
				t.Fatal(err)
			}
			return []string{"ivo", "score", "run", "-v", "--reward", "cmd:sh score.sh"}
		}},
		{name: "train", out: "head.gguf", once: true, begin: func(*testing.T, string) []string {
			return []string{"ivo", "train", f.run, "-v", "--head", "recall", "--out", "head.gguf", "--hidden", "8", "--epochs", "3", "--members", "2"}
		}},
		{name: "fine-tune", out: "value.gguf", once: true, begin: func(*testing.T, string) []string {
			return []string{"ivo", "train", f.run, "-v", "--fine-tune", "-m", f.model, "--out", "value.gguf", "--epochs", "2", "--atoms", "3", "-t", "1"}
		}},
		{name: "tune", out: "tuned.gguf", once: true, begin: func(*testing.T, string) []string {
			return []string{"ivo", "tune", "-v", "-m", f.model, "--run", f.run, "--out", "tuned.gguf", "--beta", "0.1,0.3", "--lr", "1e-3", "--keep", "2", "--hold-out", "2", "--epochs", "3", "-t", "1"}
		}},
		{name: "eval", out: "out", begin: func(t *testing.T, dir string) []string {
			lines, err := os.ReadFile(f.test)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "test.jsonl"), string(bytes.SplitAfterN(lines, []byte("\n"), 3)[2]))
			write(t, filepath.Join(dir, "recipe.yaml"), fmt.Sprintf(`
model: %s
prompts: {train: %s, validation: {file: %s, first: 2}, test: test.jsonl}
reward: gold
watch: [distinct]
max_tokens: 6
seeds: 2
ceiling: {rerolls: 2}
context: 1024
parallel: 8
values: {ivo: %s, vas: {run: %s, round: 1, target: td}}
methods:
  - {id: base, strategy: sample, samples: 2}
  - {id: best, strategy: sample, samples: 2, best_of: 2, by: reward}
  - {id: beam, value: [ivo, vas], strategy: {method: block-beam, beams: 2, block: [1, 2]}, choose: true}
`, f.model, f.prompts, f.test, f.head, f.run))
			return []string{"ivo", "eval", "recipe.yaml", "-v", "--out", "out"}
		}},
		{name: "generate", out: "answers.jsonl", grows: true, begin: func(*testing.T, string) []string {
			return []string{"ivo", "generate", "-v", "-m", f.model, "--prompts", f.prompts, "-n", "8", "-s", "3", "--shard", "2", "--samples", "2", "--out", "answers.jsonl"}
		}},
		{name: "judge", out: "verdicts.jsonl", grows: true, begin: func(t *testing.T, dir string) []string {
			for _, by := range []string{"a", "b"} {
				var lines strings.Builder
				for i := range 60 {
					fmt.Fprintf(&lines, `{"id":"%d","prompt":"i went out.","response":"got a%s"}`+"\n", i, strings.Repeat(" "+by, i%7+len(by)))
				}
				write(t, filepath.Join(dir, by+".jsonl"), lines.String())
			}
			return []string{"ivo", "judge", "a.jsonl", "b.jsonl", "-v", "--judge", "length:5", "--out", "verdicts.jsonl"}
		}},
		{name: "reward train", out: "reward.gguf", once: true, begin: func(t *testing.T, dir string) []string {
			var lines strings.Builder
			for i := range 30 {
				fmt.Fprintf(&lines, `{"prompt":"i went out %d times.\nTL;DR:","chosen":" got a red bell, got a %s bell","rejected":" got a drum, lost a drum"}`+"\n", i, []string{"red", "old", "tiny"}[i%3])
			}
			write(t, filepath.Join(dir, "pairs.jsonl"), lines.String())
			return []string{"ivo", "reward", "train", "-v", "--pairs", "pairs.jsonl", "-m", f.model, "--layers", "0,3", "--head", "linear", "--out", "reward.gguf", "-t", "1"}
		}},
		{name: "states repair", out: "sound.states", once: true, begin: func(t *testing.T, dir string) []string {
			all, err := filepath.Glob(filepath.Join(f.run, "iter-01", "states", "*.states"))
			if err != nil || len(all) == 0 {
				t.Fatal("the run has no states", err)
			}
			return []string{"ivo", "states", "repair", all[0], "-o", "sound.states"}
		}},
		{name: "fleet", out: "run", begin: func(t *testing.T, dir string) []string {
			address := freeAddress(t)
			worker := exec.Command("ivo", "worker", "--nats", "nats://"+address, "-m", f.model, "-t", "1", "--stay")
			worker.Env = append(os.Environ(), "IVO_CACHE="+t.TempDir())
			if err := worker.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				worker.Process.Kill()
				worker.Wait()
			})
			return f.iterate("run", "-n", "12", "-v", "--fleet", "--listen", address, "--heartbeat", "5s")
		}},
	}
}

// fleetWorker is a worker that is sent its model, of a run whose coordinator nothing disturbs.
func fleetWorker(t *testing.T) verb {
	f := lab(t)
	address := ""
	return verb{name: "worker", out: "run",
		begin: func(t *testing.T, dir string) []string {
			address = freeAddress(t)
			return []string{"env", "IVO_CACHE=" + filepath.Join(dir, "cache"), "ivo", "worker", "-v", "--nats", "nats://" + address, "-t", "1"}
		},
		beside: func(t *testing.T, dir string) <-chan struct{} {
			args := f.iterate("run", "-n", "12", "--fleet", "--listen", address, "--heartbeat", "1s")
			coordinator := exec.CommandContext(t.Context(), args[0], args[1:]...)
			var log bytes.Buffer
			coordinator.Dir, coordinator.Stdout, coordinator.Stderr = dir, &log, &log
			if err := coordinator.Start(); err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			go func() {
				defer close(over)
				if err := coordinator.Wait(); err != nil && t.Context().Err() == nil {
					t.Errorf("the coordinator: %v: %s", err, log.String())
				}
			}()
			return over
		},
	}
}

// attempt is a verb at work in a directory.
type attempt struct {
	verb
	dir  string
	args []string
	done <-chan struct{} // of what is beside it, if anything
}

func (v verb) attempt(t *testing.T) attempt {
	dir := t.TempDir()
	a := attempt{verb: v, dir: dir, args: v.begin(t, dir)}
	if v.beside != nil {
		a.done = v.beside(t, dir)
	}
	return a
}

// patience is how long a command may take before it is taken for one that hangs.
const patience = time.Minute

// command is the one that is run, under an environment with more in it.
func (a attempt) command(t *testing.T, env ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, a.args[0], a.args[1:]...)
	cmd.Dir, cmd.Env = a.dir, append(os.Environ(), env...)
	return cmd
}

// runs runs the command, and returns its exit code, -1 if it was killed, and its log. It is shown at each line of that.
func (a attempt) runs(t *testing.T, shown func(cmd *exec.Cmd), env ...string) (code int, log string) {
	t.Helper()
	cmd := a.command(t, env...)
	pipe, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	defer close(ended)
	if a.done != nil { // one that begins when the other is over would wait for it
		go func() {
			select {
			case <-ended:
			case <-a.done:
				select {
				case <-ended:
				case <-time.After(5 * time.Second):
					cmd.Process.Kill()
				}
			}
		}()
	}
	var text strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if shown != nil {
			shown(cmd)
		}
	}
	cmd.Wait()
	if odd := negative.FindString(text.String()); odd != "" {
		t.Errorf("a time of %q: %s", odd, text.String())
	}
	return cmd.ProcessState.ExitCode(), text.String()
}

// negative are durations that nothing has: of a clock that was set back.
var negative = regexp.MustCompile(`(?m)(?:^|[\s=(])-\d[\d.]*(?:ns|µs|ms|s|m|h)(?:\d|\b)`)

// over says whether the command is not to be run again.
func (a attempt) over() bool {
	if a.done != nil {
		select {
		case <-a.done:
			return true
		default:
			return false
		}
	}
	_, err := os.Stat(filepath.Join(a.dir, a.out))
	return a.once && err == nil
}

// ends runs the command to its end, if it has not come there.
func (a attempt) ends(t *testing.T) {
	t.Helper()
	if a.over() {
		return
	}
	code, log := a.runs(t, nil)
	if a.done != nil {
		<-a.done
	} else if code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
}

// written are the files that there are of it by name, but for those that say how it came about.
func (a attempt) written(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(filepath.Join(a.dir, a.out), func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == run.FleetDir:
			return fs.SkipDir
		case e.IsDir() || strings.HasPrefix(e.Name(), ".") || e.Name() == run.FleetFile:
			return nil
		case (a.name == "fleet" || a.name == "worker") && e.Name() == run.ReportFile: // it names the workers
			return nil
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(a.dir, path)
		out[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// undisturbed is what a verb came to that was left alone.
type undisturbed struct {
	files        map[string]string
	steps, lines int // of writing, and of its log
	took         time.Duration
}

func (v verb) undisturbed(t *testing.T) undisturbed {
	t.Helper()
	a, u := v.attempt(t), undisturbed{}
	counted := filepath.Join(t.TempDir(), "steps")
	begun := time.Now()
	code, log := a.runs(t, nil, stepsEnv+"="+counted)
	u.took = time.Since(begun)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	if a.done != nil {
		<-a.done
	}
	u.lines = strings.Count(log, "\n")
	text, err := os.ReadFile(counted)
	if err == nil {
		u.steps, err = strconv.Atoi(string(text))
	}
	if u.files = a.written(t); err != nil || u.steps+u.lines == 0 || len(u.files) == 0 {
		t.Fatalf("%d files in %d steps and %d lines: %v", len(u.files), u.steps, u.lines, err)
	}
	return u
}

// same finds what one that is over has come to other than the undisturbed one.
func (u undisturbed) same(t *testing.T, a attempt) {
	t.Helper()
	got := a.written(t)
	for name, want := range u.files {
		if got[name] != want {
			t.Errorf("%s has %d bytes, undisturbed %d others", name, len(got[name]), len(want))
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s is there, and is not where nothing disturbs", name)
	}
}

// pointSeed is that of the points, another one if IVO_SEED says so.
func pointSeed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("IVO_SEED"), 10, 64); err == nil {
		return n
	}
	return 11
}

// points is the number of points at which each verb is disturbed: a few, or as many as IVO_POINTS says.
func points(few int) int {
	if n, err := strconv.Atoi(os.Getenv("IVO_POINTS")); err == nil {
		return n
	}
	return few
}
