//go:build unix

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Every verb that is killed again and again, after random lines of its log, at random steps of the writing of its
// files and after random times, and finds its files of times hours ahead or back, ends with the files of one that was left alone.
func TestKilledAtRandomPoints(t *testing.T) {
	const inARow = 5
	for i, v := range append(verbs(t), fleetWorker(t)) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			u := v.undisturbed(t)
			rng := rand.New(rand.NewPCG(pointSeed(), uint64(i)))
			all := points(3)
			for killed := 0; killed < all; {
				a := v.attempt(t)
				for row := 0; row < inARow && killed < all && !a.over(); row++ {
					code, log := a.killed(t, u, rng)
					if code == 0 { // it was over before
						break
					}
					if code != -1 {
						t.Fatalf("killed %d times: exit code %d: %s", killed, code, log)
					}
					killed++
					a.aged(t, rng)
				}
				a.ends(t)
				if u.same(t, a); t.Failed() {
					t.Fatalf("killed %d times", killed)
				}
			}
			t.Logf("killed %d times, of %d lines of the log and %d steps of writing", all, u.lines, u.steps)
		})
	}
}

// aged has the clock jump: all files are as old, or as far in the future, as chance has it.
func (a attempt) aged(t *testing.T, rng *rand.Rand) {
	t.Helper()
	err := filepath.WalkDir(a.dir, func(path string, _ fs.DirEntry, err error) error {
		at := time.Now().Add(time.Duration(rng.Int64N(96)-48) * time.Hour)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(os.Chtimes(path, at, at), fs.ErrNotExist) {
			return nil // a fleet's server is still ending
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// killed runs the command until it is killed, or over: at a step of its writing of files, after a line of its log,
// whatever it does by then, or after a while. What is finished is told of once more, so that one that goes on has
// nearly as many lines.
func (a attempt) killed(t *testing.T, u undisturbed, rng *rand.Rand) (code int, log string) {
	t.Helper()
	switch kind := rng.IntN(3); {
	case kind == 0 && u.steps > 0:
		return a.runs(t, nil, fmt.Sprintf("%s=killed %d", faultEnv, 1+rng.IntN(u.steps)))
	case kind == 1:
		n := 1 + rng.IntN(max(1, u.lines))
		return a.runs(t, func(cmd *exec.Cmd) {
			if n--; n == 0 {
				cmd.Process.Kill()
			}
		})
	}
	after := time.Duration(rng.Int64N(int64(u.took)))
	var once sync.Once
	return a.runs(t, func(cmd *exec.Cmd) { // from its first line on
		once.Do(func() { time.AfterFunc(after, func() { cmd.Process.Kill() }) })
	})
}

// Where scripts/clocks.sh has said so, the clock is set forth and back by hours all the time, in the commands that these
// tests run too.
func TestClockJumps(t *testing.T) {
	if os.Getenv("IVO_CLOCK") == "" {
		t.Skip("the clock goes as ever: see scripts/clocks.sh")
	}
	var forth, back bool
	for last := time.Now(); !forth || !back; {
		now := time.Now()
		went, shown := now.Sub(last), now.Round(0).Sub(last.Round(0))
		forth, back = forth || shown > went+time.Minute, back || shown < -time.Minute
		if last = now; t.Context().Err() != nil {
			t.Fatal("it does not")
		}
	}
}

// A tuning that is interrupted and killed in turn says how it goes on, and writes the policy of an undisturbed one.
func TestInterruptedTuning(t *testing.T) {
	all := verbs(t)
	v := all[slices.IndexFunc(all, func(v verb) bool { return v.name == "tune" })]
	u, a := v.undisturbed(t), v.attempt(t)
	rng := rand.New(rand.NewPCG(5, 0))
	for i := 0; i < 5 && !a.over(); i++ {
		if i%2 == 1 {
			if code, log := a.killed(t, u, rng); code != -1 && code != 0 {
				t.Fatalf("exit code %d: %s", code, log)
			}
			continue
		}
		n := u.lines/4 + rng.IntN(u.lines/2) // llama.cpp's come first
		code, log := a.runs(t, func(cmd *exec.Cmd) {
			if n--; n == 0 {
				cmd.Process.Signal(syscall.SIGINT)
			}
		})
		if code != 0 && (code != 130 || !strings.Contains(log, "run the same command again")) {
			t.Errorf("interrupted: exit code %d: %s", code, log)
		}
	}
	a.ends(t)
	u.same(t, a)
}
