//go:build unix

package cli

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A tuning that is killed and interrupted again and again writes the policy of an undisturbed one.
func TestKilledTuning(t *testing.T) {
	f := lab(t)
	dir := t.TempDir()
	args := func(name string) []string {
		return []string{"ivo", "tune", "-m", f.model, "--run", f.run, "--out", filepath.Join(dir, name), "--beta", "0.1,0.3", "--lr", "1e-3", "--keep", "2", "--hold-out", "2", "--epochs", "3", "-t", "1", "-v"}
	}
	event := func(line string) bool { return strings.Contains(line, "done=") && strings.Contains(line, "unit=") }
	code, log := exitOf(t, args("whole.gguf"))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, log)
	}
	events := 0
	for line := range strings.Lines(log) {
		if event(line) {
			events++
		}
	}
	rng := rand.New(rand.NewPCG(5, 0))
	for i, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL, syscall.SIGINT, syscall.SIGKILL, syscall.SIGINT} {
		n := 1 + rng.IntN(events/2)
		code, _, log, sent := stopWhen(t, args("killed.gguf"), func(line string) bool {
			if event(line) {
				n--
			}
			return n == 0
		}, sig)
		switch {
		case sent && sig == syscall.SIGINT && (code != 130 || !strings.Contains(log, "run the same command again")):
			t.Errorf("interrupted: exit code %d: %s", code, log)
		case !sent && code != 0:
			t.Fatalf("stopped %d times: exit code %d: %s", i, code, log)
		}
		if code == 0 {
			break // little was left to do
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "killed.gguf")); err != nil {
		if code, log := exitOf(t, args("killed.gguf")); code != 0 {
			t.Fatalf("exit code %d: %s", code, log)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "killed.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(filepath.Join(dir, "whole.gguf")); err != nil || string(got) != string(want) {
		t.Errorf("another policy than the undisturbed one's: %v", err)
	}
}
