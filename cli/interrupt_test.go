//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// stopAt runs ivo, which gets a signal as soon as a line of its stderr matches a pattern and does
// nothing more before the signal has been taken (see stopper). It returns ivo's exit code, -1 if the
// signal killed it, and what it printed.
func stopAt(t *testing.T, args []string, pattern string, sig syscall.Signal) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s", stopEnv, sig, pattern))
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	cmd.Run()
	if !regexp.MustCompile(pattern).Match(log.Bytes()) {
		t.Fatalf("ivo never came to %q: %s", pattern, log.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), log.String()
}

// files are the contents of a run's files by name. What a killed process left under a
// temporary name is no part of the run, nor is the lock.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			return err
		}
		data, err := os.ReadFile(path)
		if name, nameErr := filepath.Rel(dir, path); nameErr == nil {
			out[name] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sameRun compares two finished runs, byte for byte.
func sameRun(t *testing.T, got, want string) {
	t.Helper()
	g, w := files(t, got), files(t, want)
	// The report names its directory.
	delete(g, "report.html")
	delete(w, "report.html")
	if len(w) < 2*(4+4+2)+6 {
		t.Errorf("the undisturbed run has %d files only", len(w))
	}
	for name := range w {
		if g[name] != w[name] {
			t.Errorf("%s is not that of the undisturbed run", name)
		}
		delete(g, name)
	}
	for name := range maps.Keys(g) {
		t.Errorf("%s is no file of the undisturbed run", name)
	}
}

// exitOf runs ivo to its end and returns its exit code and stderr.
func exitOf(t *testing.T, args []string) (int, string) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = &stderr
	cmd.Run()
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// A run that is killed again and again goes on where it was, and ends with the files of
// the run that nothing disturbed.
func TestKilledRunContinues(t *testing.T) {
	f := lab(t)
	dir := filepath.Join(t.TempDir(), "run")
	for _, at := range []string{
		`"round 1: collect" done=4`,
		`"round 1: train"`,
		`"round 2: collect" done=4`,
		`"evaluate greedy"`,
	} {
		// What -v adds to the log, every shard and training step, is no part of the run.
		if code, _, log := stopAt(t, f.iterate(dir, "-v"), at, syscall.SIGKILL); code != -1 {
			t.Fatalf("at %s: exit code %d: %s", at, code, log)
		}
	}
	if code, log := exitOf(t, f.iterate(dir)); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	sameRun(t, dir, f.run)
}

func TestInterruptedRunContinues(t *testing.T) {
	f := lab(t)
	dir := filepath.Join(t.TempDir(), "run")
	for _, at := range []string{`"round 1: collect" done=4`, `"round 1: train"`, `"evaluate greedy"`} {
		code, _, log := stopAt(t, f.iterate(dir, "-v"), at, syscall.SIGINT)
		if code != 130 || !strings.Contains(log, "run the same command again") || strings.Contains(log, "goroutine ") {
			t.Errorf("at %s: exit code %d: %s", at, code, log)
		}
	}
	if code, log := exitOf(t, f.iterate(dir)); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	sameRun(t, dir, f.run)
}

// Where a shard cannot be written the run stops with a hint, nothing half-written
// counts, and the run goes on once there is room.
func TestNoRoomForShard(t *testing.T) {
	f := lab(t)
	for name, tc := range map[string]struct {
		shell string // sets up want of room in $dir and runs "$@"
		hint  string
	}{
		"file-size limit": {`ulimit -f 20 && exec "$@"`, "ulimit -f"},
		"full disk":       {`mount -t tmpfs -o size=160k none "$dir" && "$@"; code=$?; cp -r "$dir/run" "$copy"; exit $code`, "free some space"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, copied := t.TempDir(), t.TempDir()
			out := filepath.Join(dir, "run")
			cmd := exec.Command("sh", append([]string{"-c", tc.shell, "sh"}, f.iterate(out)...)...)
			cmd.Env = append(os.Environ(), "dir="+dir, "copy="+copied)
			if name == "full disk" {
				out = filepath.Join(copied, "run")
				if !privateMounts(cmd) {
					t.Skip("this system lets the test make no file system of its own")
				}
			}
			log, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(log), tc.hint) || strings.Contains(string(log), "goroutine ") {
				t.Fatalf("exit code %d: %s", code, log)
			}
			if left, _ := filepath.Glob(filepath.Join(out, "iter-*", "*", ".*")); left != nil {
				t.Errorf("left behind: %v", left)
			}
			if code, log := exitOf(t, f.iterate(out)); code != 0 {
				t.Fatalf("exit code %d: %s", code, log)
			}
			sameRun(t, out, f.run)
		})
	}
}

// endless writes a copy of a model that never ends its text. An answer of more than 20,000 tokens is
// longer than a pipe holds: until the test has read some of it, it cannot come to its end.
func endless(t *testing.T, model string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "endless.gguf")
	err := remake(model, path, func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		var out []gguf.KV
		for _, kv := range kvs {
			switch kv.Key {
			case "tokenizer.ggml.eos_token_id":
				kv.Value = uint32(0) // one that the model never says
			case "tokenizer.ggml.eot_token_id":
				continue
			}
			out = append(out, kv)
		}
		return out, tensors
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// What was streamed before an interrupt stays and ends with a line break.
func TestInterruptedGenerate(t *testing.T) {
	f := lab(t)
	cmd := exec.Command("ivo", "generate", "-m", endless(t, f.model), "-p", "i found", "-c", "24000", "--temp", "0")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	if _, err := out.ReadByte(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	text.ReadFrom(out)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.HasSuffix(text.String(), "\n") {
		t.Errorf("exit code %d, %q: %s", code, text.String(), stderr.String())
	}
}

// Answers to many prompts that were stopped again and again are, byte by byte, those of a
// run that nothing disturbed.
func TestStoppedAnswersContinue(t *testing.T) {
	f := lab(t)
	dir := t.TempDir()
	train, err := os.ReadFile(filepath.Join(filepath.Dir(f.model), "summarize-train.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	prompts := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(prompts, bytes.Join(bytes.SplitAfterN(train, []byte("\n"), 31)[:30], nil), 0o644); err != nil {
		t.Fatal(err)
	}
	args := func(name string, more ...string) []string {
		return append([]string{
			"ivo", "generate", "-m", f.model, "--prompts", prompts, "-n", "40", "-s", "3", "--shard", "2",
			"--value-head", f.head, "--method", "block-beam", "--beams", "2", "--out", filepath.Join(dir, name),
		}, more...)
	}
	if code, log := exitOf(t, args("whole")); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	for _, stop := range []struct {
		at  string // number of responses there are
		sig syscall.Signal
	}{{"0", syscall.SIGKILL}, {"[1-4]", syscall.SIGINT}, {"[5-8]", syscall.SIGKILL}, {"(9|1[0-3])", syscall.SIGTERM}, {"1[4-9]", syscall.SIGKILL}} {
		code, _, log := stopAt(t, args("stopped", "-v"), "msg=answer done="+stop.at+" ", stop.sig)
		switch {
		case stop.sig == syscall.SIGKILL && code == -1:
		case stop.sig != syscall.SIGKILL && code == exitSignal+int(stop.sig) && strings.Contains(log, "of 30 responses written (run the same command again to continue)") && !strings.Contains(log, "goroutine "):
		default:
			t.Fatalf("%v after %s responses: exit code %d: %s", stop.sig, stop.at, code, log)
		}
	}
	if code, log := exitOf(t, args("stopped")); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	got := files(t, dir)
	if n := strings.Count(got["whole"], "\n"); n != 30 || got["stopped"] != got["whole"] || got["stopped.options"] != got["whole.options"] {
		t.Errorf("%d answers; stopped:\n%s\nundisturbed:\n%s", n, got["stopped"], got["whole"])
	}
}

// The first Ctrl-C stops an answer of a chat, which goes on; where there is none it ends the
// chat.
func TestInterruptedChat(t *testing.T) {
	f := lab(t)
	model := endless(t, f.model)
	for _, method := range []string{"sample", "tokenwise"} {
		cmd := exec.Command("ivo", "chat", "-m", model, "-c", "24000", "-n", "23000", "--method", method, "--value-head", f.head, "--candidates", "4",
			"--chat-template", "{% for m in messages %}{{ m.content }}\n{% endfor %}")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		text := bufio.NewReader(out)
		say := func(message string) {
			if _, err := io.WriteString(in, message+"\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := text.ReadByte(); err != nil {
				t.Fatalf("%s: no answer to %q: %s", method, message, stderr.String())
			}
		}
		interrupt := func() {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
		for _, message := range []string{"i found a red lamp.", "i sold a tiny hat."} {
			say(message)
			interrupt()
			say("/help") // the answer's text comes first
			for line := ""; !strings.Contains(line, "needs a second one"); {
				if line, err = text.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
			}
		}
		interrupt()
		io.Copy(io.Discard, text)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 || strings.Count(stderr.String(), "(stopped)\n") != 2 {
			t.Errorf("%s: exit code %d: %s", method, code, stderr.String())
		}
	}
}

// An interrupted training leaves no file, nor a part of one.
func TestInterruptedTraining(t *testing.T) {
	f := lab(t)
	dir := t.TempDir()
	args := []string{"ivo", "train", f.run, "--head", "recall", "--out", filepath.Join(dir, "head.gguf"), "--html", filepath.Join(dir, "head.html"), "--epochs", "100", "-v"}
	code, stdout, log := stopAt(t, args, "msg=train done=2 ", syscall.SIGINT)
	if code != 130 || stdout != "" || !strings.Contains(log, "nothing was written") || strings.Contains(log, "goroutine ") {
		t.Errorf("exit code %d, %q: %s", code, stdout, log)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A fine-tuning that is stopped goes on where it was, and ends with the file of one that nothing
// disturbed.
func TestStoppedFineTuningContinues(t *testing.T) {
	f := lab(t)
	dir := t.TempDir()
	args := func(name string, more ...string) []string {
		return append([]string{"ivo", "train", f.run, "--fine-tune", "-m", f.model, "--out", filepath.Join(dir, name), "--epochs", "4", "--atoms", "3"}, more...)
	}
	if code, log := exitOf(t, args("whole")); code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	for _, at := range []string{"msg=fine-tune done=1 ", "msg=fine-tune done=3 "} {
		code, stdout, log := stopAt(t, args("stopped", "-v"), at, syscall.SIGINT)
		if code != 130 || stdout != "" || !strings.Contains(log, "run the same command again to continue") || strings.Contains(log, "goroutine ") {
			t.Errorf("at %s: exit code %d, %q: %s", at, code, stdout, log)
		}
	}
	if code, log := exitOf(t, args("stopped", "-v")); code != 0 || strings.Contains(log, "done=1 ") {
		t.Fatalf("exit code %d: %s", code, log)
	}
	if got := files(t, dir); got["stopped"] != got["whole"] || len(got) != 2 {
		t.Errorf("%d files, of %d and %d bytes", len(got), len(got["stopped"]), len(got["whole"]))
	}
}

// A download that is interrupted goes on when the same command runs again.
func TestInterruptedDownload(t *testing.T) {
	f := lab(t)
	half := make(chan struct{})
	serveModel(t, f.model, func() { close(half) })
	args := []string{"generate", "-hf", "user/repo", "-p", "i found", "-n", "4"}
	cmd := exec.Command("ivo", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-half
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(stderr.String(), "run the same command again") {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	runIvo(t, args...) // the server has no second half for one who starts anew
}
