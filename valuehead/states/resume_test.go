package states

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A writer that was killed after any byte is continued: what a reader saw stays, and the
// shard becomes the one that an undisturbed writer makes, byte by byte.
func TestResumeAfterAnyByte(t *testing.T) {
	v := newVictim(t, promptSchema, true)
	path := filepath.Join(t.TempDir(), "shard")
	for n := range v.data {
		if err := os.WriteFile(path, v.data[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		seen := 0
		if r, err := Open(path); err == nil {
			seen = r.Len()
			r.Close()
		}
		w, err := OpenAppend(path, promptSchema, tiny)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		from := 0
		if len(w.blocks) > 0 {
			from = w.blocks[len(w.blocks)-1].end()
		}
		if from != seen {
			t.Fatalf("cut at %d: a reader saw %d trajectories, the writer goes on at %d", n, seen, from)
		}
		extend(t, w, v.prompts, v.want[from:])
		// Close without its sync to the disk, of which there are thousands here.
		if err := errors.Join(w.finish(), w.file.Close()); err != nil {
			t.Fatal(err)
		}
		if data, _ := os.ReadFile(path); !bytes.Equal(data, v.data) {
			t.Fatalf("cut at %d: the shard became another one", n)
		}
	}
}

// A crash of the machine may spoil the last blocks though the file kept its length. They
// are cut; damage before a sound block is not, and is refused.
func TestResumeAfterCrash(t *testing.T) {
	v := newVictim(t, testSchema, false)
	path := filepath.Join(t.TempDir(), "shard")
	for i, b := range v.blocks {
		bad := bytes.Clone(v.data)
		bad[b.offset+b.length-1] ^= 1
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		w, err := OpenAppend(path, testSchema, tiny)
		if i < len(v.blocks)-1 {
			var fault *Error
			if !errors.As(err, &fault) || fault.Block != i {
				t.Fatalf("error %v, want one that names block %d", err, i)
			}
			if data, _ := os.ReadFile(path); !bytes.Equal(data, bad) {
				t.Fatal("a refused shard was changed")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		extend(t, w, nil, v.want[b.first:])
		closed(t, w)
		if got, err := Read(path, testSchema); err != nil || !equal(got, v.want) {
			t.Fatalf("other trajectories (%v)", err)
		}
	}
	for _, other := range []string{"", "IVO", "IVOSTATE\x04", "text that is no shard"} {
		if err := os.WriteFile(path, []byte(other), 0o644); err != nil {
			t.Fatal(err)
		}
		w, err := OpenAppend(path, testSchema, tiny)
		if begun := !strings.HasPrefix(other, "text"); begun != (err == nil) {
			t.Errorf("error %v of a file that holds %q", err, other)
		}
		if err == nil {
			closed(t, w)
		}
	}
}

// TestKilled writes in a process of its own, kills it, and goes on.
func TestKilled(t *testing.T) {
	want := sample(4000, promptSchema, 9)
	prompts := promptsOf(want, promptSchema)
	if path := os.Getenv("IVO_STATES_CHILD"); path != "" {
		w, err := Create(path, promptSchema, tiny)
		if err != nil {
			t.Fatal(err)
		}
		for i, tr := range want {
			extend(t, w, prompts, []Trajectory{tr})
			fmt.Println("appended", i)
		}
		select {} // until it is killed
	}
	path := filepath.Join(t.TempDir(), "whole")
	closed(t, create(t, path, promptSchema, tiny, prompts, want))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, lines := range []int{1, 100, 700} {
		path := filepath.Join(t.TempDir(), "shard")
		child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		child.Env = append(os.Environ(), "IVO_STATES_CHILD="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		for range lines {
			if !in.Scan() {
				t.Fatal("the child ended by itself")
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait()

		report, err := Verify(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Faults) != 1 || !errors.Is(report.Faults[0], ErrUnfinished) {
			t.Fatalf("faults %v, want that the shard is unfinished", report.Faults)
		}
		w, err := OpenAppend(path, promptSchema, tiny)
		if err != nil {
			t.Fatal(err)
		}
		n := report.Trajectories
		t.Logf("%d trajectories were safe when the writer was killed after %d", n, lines)
		extend(t, w, prompts, want[n:])
		closed(t, w)
		if data, _ := os.ReadFile(path); !bytes.Equal(data, whole) {
			t.Fatal("the shard became another one")
		}
	}
}
