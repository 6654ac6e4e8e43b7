package cli

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refused says, as an error, what is wrong with how a command ended on a disk that would not take a file: its error
// names the file and says what to do.
func (a attempt) refused(code int, log string) error {
	line := log[strings.LastIndexByte(strings.TrimSpace(log), '\n')+1:]
	switch {
	case code != 1:
		return fmt.Errorf("exit code %d: %s", code, log)
	case strings.Contains(log, "goroutine "):
		return fmt.Errorf("a trace: %s", log)
	case !strings.Contains(line, a.out) || !strings.HasSuffix(strings.TrimSpace(line), ")"):
		return fmt.Errorf("it does not say which file, or what to do: %s", line)
	}
	return nil
}

// halves are files of an attempt that stopped half-way that are neither the undisturbed ones nor tell by their
// own what is in them.
func (u undisturbed) halves(t *testing.T, a attempt) (out []string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(a.dir, a.out)); err != nil {
		return nil
	}
	for name, got := range a.written(t) {
		if want := u.files[name]; got != want && !(a.grows && strings.HasPrefix(want, got)) && filepath.Base(name) != "ledger.json" {
			out = append(out, fmt.Sprintf("%s (%d bytes, not %d)", name, len(got), len(want)))
		}
	}
	return out
}

// Wherever in the writing of its files the disk is full, once or from then on, can only be read, or fails, every verb
// says so, leaves no half of a file under its name, and goes on to the files of one that was left alone.
func TestDiskFailsAnywhere(t *testing.T) {
	for i, v := range verbs(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			u := v.undisturbed(t)
			if u.steps == 0 {
				t.Skip("it writes no file whole")
			}
			var all []string
			for _, kind := range []string{"full", "full-once", "read-only", "broken"} {
				for n := range u.steps {
					all = append(all, fmt.Sprint(kind, " ", n+1))
				}
			}
			rng := rand.New(rand.NewPCG(13, uint64(i)))
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			refused := 0
			all = all[:min(len(all), points(1))]
			for _, fault := range all {
				a := v.attempt(t)
				code, log := a.runs(t, nil, faultEnv+"="+fault)
				if code != 0 { // some files only save work
					refused++
					if err := a.refused(code, log); err != nil {
						t.Errorf("%s: %v", fault, err)
					}
				}
				if halves := u.halves(t, a); halves != nil {
					t.Errorf("%s: %v", fault, halves)
				}
				a.ends(t)
				if u.same(t, a); t.Failed() {
					t.Fatal(fault)
				}
			}
			t.Logf("%d of %d faults, in %d steps of writing, ended the command", refused, len(all), u.steps)
		})
	}
}

// So it is on a real disk with too few blocks, or too few files, for what the verb writes, and on one that can only
// be read.
func TestSmallDisk(t *testing.T) {
	for i, v := range verbs(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			u := v.undisturbed(t)
			blocks, inodes := room(t, v.attempt(t).dir)
			more, files := 4, 4 // what unfinished files take
			for _, text := range u.files {
				more, files = more+len(text)/4096+1, files+1
			}
			switch v.name {
			case "fleet": // its server's
				more, files = more+500, files+60
			case "reward train": // the states beside its head
				more, files = more+60, files+4
			}
			var all []string
			for n := range more {
				all = append(all, fmt.Sprintf("size=%dk", 4*(blocks+n)))
			}
			for n := range files {
				all = append(all, fmt.Sprintf("nr_inodes=%d", inodes+n))
			}
			rng := rand.New(rand.NewPCG(17, uint64(i)))
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			refused := 0
			all = append([]string{"ro"}, all[:min(len(all), points(2)-1)]...)
			for _, small := range all {
				a := v.attempt(t)
				first, log, last, ok := a.onDisk(t, small)
				if !ok {
					t.Skip("this system lets the test make no file system of its own")
				}
				if code := first.code; code != 0 {
					refused++
					if err := a.refused(code, log); err != nil {
						t.Errorf("%s: %v", small, err)
					}
				}
				if halves := u.halves(t, first.attempt); halves != nil {
					t.Errorf("%s: %v", small, halves)
				}
				if last.code != 0 && !first.over() {
					t.Errorf("%s: with room again: exit code %d: %s", small, last.code, last.log)
				}
				if u.same(t, last.attempt); t.Failed() {
					t.Fatal(small)
				}
			}
			if refused == 0 {
				t.Error("all found room")
			}
			t.Logf("%d of %d disks were too small or could only be read", refused, len(all))
		})
	}
}

// A worker on a small disk of its own that has no room for the model says so and ends. One that has no room for what it draws gives
// that back, which is no failure of any shard, and ends too; with another the run is that of a machine alone.
func TestWorkerOnSmallDisk(t *testing.T) {
	f := lab(t)
	alone := attempt{verb{name: "fleet", out: "run"}, t.TempDir(), f.iterate("run", "-n", "12"), nil}
	alone.ends(t)
	want, address := undisturbed{files: alone.written(t)}, freeAddress(t)
	a := attempt{alone.verb, t.TempDir(), f.iterate("run", "-n", "12", "-v", "--fleet", "--listen", address), nil}
	type end struct {
		code int
		log  string
	}
	ended := make(chan end, 1)
	go func() {
		code, log := a.runs(t, nil)
		ended <- end{code, log}
	}()
	for _, tc := range []struct {
		room string
		own  []string
		said []string
	}{
		{"400k", nil, []string{"no space left on device (see that there is room on the disk, and start the worker again, which goes on from there)"}},
		{"8k", []string{"-m", f.model}, []string{"is given back: a fault of this machine, and not of the shard: ", "5 shards in a row have failed here", "(mend the cause and start the worker again; the run goes on with others)"}},
	} {
		cmd := exec.CommandContext(t.Context(), "sh")
		if !privateMounts(cmd) {
			t.Skip("this system lets the test make no file system of its own")
		}
		cmd.Args = append([]string{"sh", "-c", `mount -t tmpfs -o "size=$room" none "$IVO_CACHE" && exec "$@"`, "sh", "timeout", "50", "ivo", "worker", "--nats", "nats://" + address, "-t", "1"}, tc.own...)
		cmd.Env = append(os.Environ(), "IVO_CACHE="+t.TempDir(), "room="+tc.room)
		text, _ := cmd.CombinedOutput()
		for _, part := range tc.said {
			if !strings.Contains(string(text), part) {
				t.Errorf("room for %s: %q is not said: %s", tc.room, part, text)
			}
		}
		if code := cmd.ProcessState.ExitCode(); code != 1 {
			t.Errorf("room for %s: exit code %d", tc.room, code)
		}
	}
	hire(t, address, t.TempDir(), "-m", f.model)
	e := <-ended
	if e.code != 0 || strings.Contains(e.log, "set aside") || strings.Contains(e.log, " failed at ") {
		t.Fatalf("exit code %d: %s", e.code, e.log)
	}
	want.same(t, a)
}

// ended is an attempt in a copy of its directory.
type ended struct {
	attempt
	code int
	log  string
}

// onDisk runs the command in its directory on a file system of its own, which is made small, and again when there is
// room.
func (a attempt) onDisk(t *testing.T, small string) (first ended, log string, last ended, ok bool) {
	t.Helper()
	cmd := a.command(t)
	if !privateMounts(cmd) {
		return first, "", last, false
	}
	out := t.TempDir()
	const script = `cp -r "$dir" "$out/base" && mount -t tmpfs -o size=64m,nr_inodes=10000 none "$dir" && cp -r "$out/base/." "$dir" && mount -o "remount,$small" "$dir" && cd "$dir" || exit 9
"$@" 2>"$out/first.log"; echo $? >"$out/first.code"
cp -r "$dir" "$out/first" && mount -o remount,rw,size=64m,nr_inodes=10000 "$dir" || exit 9
"$@" 2>"$out/last.log"; echo $? >"$out/last.code"
cp -r "$dir" "$out/last"`
	args := append([]string{"sh", "-c", script, "sh"}, a.args...)
	cmd.WaitDelay = time.Second
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args, cmd.Dir = sh, args, "/"
	cmd.Env = append(cmd.Env, "dir="+a.dir, "out="+out, "small="+small)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", small, err, text)
	}
	end := func(name string) ended {
		e := ended{attempt: a}
		e.dir = filepath.Join(out, name)
		log, err := os.ReadFile(filepath.Join(out, name+".log"))
		code, err2 := os.ReadFile(filepath.Join(out, name+".code"))
		if _, err3 := fmt.Sscan(string(code), &e.code); err != nil || err2 != nil || err3 != nil {
			t.Fatal(err, err2, err3)
		}
		e.log = string(log)
		return e
	}
	first, last = end("first"), end("last")
	return first, first.log, last, true
}

// room is what a folder takes of a disk: blocks of 4 KiB and inodes, its own among them.
func room(t *testing.T, dir string) (blocks, inodes int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		inodes++
		if err == nil && !e.IsDir() {
			blocks += int(info.Size()+4095) / 4096
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return blocks + 1, inodes + 1
}
