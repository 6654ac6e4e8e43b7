//go:build unix

package cli

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A run whose reward is a program ends with the files of an undisturbed one, wherever it was
// killed: at the N-th event of its log, while files are written, the program is asked, a value
// function is trained or the next one decoded.
func TestKilledAtRandomPoints(t *testing.T) {
	f := lab(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "score.sh")
	if err := os.WriteFile(program, []byte("while read -r line; do echo ${#line}; done\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := func(name string) []string {
		return f.iterate(filepath.Join(dir, name), "-n", "12", "-v", "--reward", "cmd:sh "+program)
	}
	killings{6, 5, 11, dir, args, func(t *testing.T, name string) {
		sameRun(t, filepath.Join(dir, name), filepath.Join(dir, "whole"))
	}}.survived(t)
}

// killings are runs of a command that goes on where it was, each of which is killed some times.
type killings struct {
	runs, kills int
	seed        uint64
	dir         string                          // in which each run writes to a path of its name
	args        func(name string) []string      // of the command; the run "whole" is left alone
	same        func(t *testing.T, name string) // finds what a run has come to other than "whole"
}

// survived kills each run after random events of its log, until it is left alone and has to be the same.
func (k killings) survived(t *testing.T) {
	event := func(line string) bool { return strings.Contains(line, "done=") && strings.Contains(line, "unit=") }
	code, log := exitOf(t, k.args("whole"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	events := 0
	for line := range strings.Lines(log) {
		if event(line) {
			events++
		}
	}
	for i := range k.runs {
		name := fmt.Sprint("run", i)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(k.seed, uint64(i)))
			for killed := 0; killed < k.kills; {
				// What is finished is told of once more, but for training: a continued run has nearly as many events.
				n := 1 + rng.IntN(events)
				code, _, log, sent := stopWhen(t, k.args(name), func(line string) bool {
					if event(line) {
						n--
					}
					return n == 0
				}, syscall.SIGKILL)
				switch {
				case sent && code == -1:
					killed++
				case code != 0:
					t.Fatalf("killed %d times: exit code %d: %s", killed, code, log)
				default: // it was over before the signal came
					k.same(t, name)
					if err := os.RemoveAll(filepath.Join(k.dir, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if code, log := exitOf(t, k.args(name)); code != 0 {
				t.Fatalf("exit code %d: %s", code, log)
			}
			k.same(t, name)
		})
	}
}

// stopWhen runs ivo and sends it a signal after the first line of its stderr that is the one, whatever
// it does by then; sent says whether there was one.
func stopWhen(t *testing.T, args []string, is func(line string) bool, sig os.Signal) (code int, stdout, stderr string, sent bool) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout = &out
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if !sent && is(lines.Text()) {
			sent = true
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String(), log.String(), sent
}
