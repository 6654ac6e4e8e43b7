package states

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// create writes a shard through a Writer: prompts before their trajectories.
func create(t testing.TB, path string, s Schema, o Options, prompts []Prompt, trajectories []Trajectory) *Writer {
	t.Helper()
	w, err := Create(path, s, o)
	if err != nil {
		t.Fatal(err)
	}
	extend(t, w, prompts, trajectories)
	return w
}

func extend(t testing.TB, w *Writer, prompts []Prompt, trajectories []Trajectory) {
	t.Helper()
	for _, tr := range trajectories {
		if s := w.schema; s.Prompts && !w.stored[tr.Prompt] {
			i := slices.IndexFunc(prompts, func(p Prompt) bool { return p.ID == tr.Prompt })
			if err := w.AppendPrompt(&prompts[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Append(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func closed(t testing.TB, w *Writer) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// Every way to reach a trajectory, a position or a prompt gives what was written,
// whatever the sizes of blocks and pages, and from many goroutines at once.
func TestRandomAccess(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		want := sample(rapid.IntRange(1, 60).Draw(rt, "n"), promptSchema, rapid.Uint64().Draw(rt, "seed"))
		prompts := promptsOf(want, promptSchema)
		o := Options{BlockBytes: rapid.IntRange(1, 4000).Draw(rt, "block"), pageBytes: rapid.IntRange(1, 2000).Draw(rt, "page")}
		path := filepath.Join(dir, "shard")
		os.Remove(path)
		closed(t, create(t, path, promptSchema, o, prompts, want))
		r, err := Open(path)
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		if !r.Finished() || r.Len() != len(want) {
			rt.Fatalf("finished %v, %d trajectories of %d", r.Finished(), r.Len(), len(want))
		}
		var blocks []Trajectory
		for b := range r.Blocks() {
			block, err := r.Block(b)
			if err != nil {
				rt.Fatal(err)
			}
			blocks = append(blocks, block...)
		}
		if !equal(blocks, want) {
			rt.Fatal("the blocks hold other trajectories")
		}
		var wg sync.WaitGroup
		for g := range uint64(2) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(g, 1))
				for range 50 {
					i := rng.IntN(len(want))
					w := want[i]
					m, err := r.At(i)
					if err != nil || m != (Meta{w.Prompt, w.Sample, len(w.Tokens)}) {
						t.Errorf("trajectory %d is %+v (%v)", i, m, err)
					}
					got, err := r.Trajectory(i)
					if err != nil || !reflect.DeepEqual(got, w) {
						t.Errorf("trajectory %d has other rows (%v)", i, err)
					}
					to := rng.IntN(len(w.Tokens) + 1)
					from := rng.IntN(to + 1)
					rows := make([]float32, (to-from)*6)
					if err := r.Rows(i, from, to, rows); err != nil || !slices.Equal(rows, w.Hidden[from*6:to*6]) {
						t.Errorf("trajectory %d has other rows from %d to %d (%v)", i, from, to, err)
					}
					p := prompts[rng.IntN(len(prompts))]
					if got, err := r.Prompt(p.ID); err != nil || !reflect.DeepEqual(got, p) {
						t.Errorf("prompt %s is another one (%v)", p.ID, err)
					}
				}
			})
		}
		wg.Wait()
		for _, err := range []error{
			second(r.At(len(want))), second(r.At(-1)), second(r.Block(r.Blocks())), second(r.Prompt("none")),
			r.Rows(0, 0, len(want[0].Tokens)+1, nil), r.Rows(0, -1, 0, nil), r.Rows(0, 0, 0, make([]float32, 1)),
		} {
			if err == nil || !strings.HasSuffix(err.Error(), ")") {
				rt.Fatalf("error %v, want one with a hint", err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

// A reader sees what was flushed, and after Refresh what was flushed since; in between the
// shard is no more than unfinished.
func TestReadWhileWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shard")
	want := sample(40, testSchema, 3)
	w, err := Create(path, testSchema, tiny)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	check := func(n int, finished bool) {
		t.Helper()
		if err := r.Refresh(); err != nil {
			t.Fatal(err)
		}
		var got []Trajectory
		var last error
		for tr, err := range r.All() {
			if err != nil {
				last = err
				continue
			}
			got = append(got, tr)
		}
		if !equal(got, want[:n]) || r.Finished() != finished {
			t.Fatalf("%d trajectories, finished %v; want %d, %v", len(got), r.Finished(), n, finished)
		}
		if finished && last != nil || !finished && !errors.Is(last, ErrUnfinished) {
			t.Fatalf("finished %v, error %v", finished, last)
		}
	}
	check(0, false)
	for n := 0; n < len(want); n += 8 {
		if err := w.Append(want[n : n+8]...); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		check(n+8, false)
	}
	closed(t, w)
	check(len(want), true)
}

func TestCreateAndOpenAppendRefuse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shard")
	w, err := Create(path, testSchema, tiny)
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("error %v, want one about %q with a hint", err, want)
		}
	}
	refuse("OpenAppend", second(Create(path, testSchema, tiny)))
	refuse("another process", second(OpenAppend(path, testSchema, tiny)))
	extend(t, w, nil, sample(10, testSchema, 1))
	if err := w.Suspend(); err != nil {
		t.Fatal(err)
	}
	other := testSchema
	other.Backbone = "other"
	refuse("other", second(OpenAppend(path, other, tiny)))
	other = testSchema
	other.Float = BF16
	refuse("own schema", second(OpenAppend(path, other, tiny)))
	if w, err = OpenAppend(path, testSchema, tiny); err != nil {
		t.Fatal(err)
	}
	closed(t, w)
	refuse("finished", second(OpenAppend(path, testSchema, tiny)))
	v2, err := os.ReadFile(filepath.Join("testdata", "v2.states"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, v2[:len(v2)-30], 0o644); err != nil {
		t.Fatal(err)
	}
	refuse("format version 2", second(OpenAppend(path, promptSchema, tiny)))
	if _, err := OpenAppend(path+"2", testSchema, tiny); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that there is no such file", err)
	}
}

// A Writer and Write make the same shard of the same content, suspended or not.
func TestWritersAgree(t *testing.T) {
	want := sample(40, testSchema, 4)
	one, err := os.ReadFile(shard(t, testSchema, nil, want))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shard")
	closed(t, create(t, path, testSchema, tiny, nil, want))
	if two, _ := os.ReadFile(path); !bytes.Equal(one, two) {
		t.Error("Create and Append gave other bytes than Write")
	}
}

func TestSet(t *testing.T) {
	want := sample(90, promptSchema, 5)
	prompts := promptsOf(want, promptSchema)
	var paths []string
	for i := 0; i < len(want); i += 30 { // prompts are cut in two there
		path := filepath.Join(t.TempDir(), "shard")
		closed(t, create(t, path, promptSchema, tiny, prompts, want[i:i+30]))
		paths = append(paths, path)
	}
	s, err := OpenSet(paths, testSchemaOf(promptSchema))
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != len(want) {
		t.Fatalf("%d trajectories of %d", s.Len(), len(want))
	}
	for i, w := range want {
		m, err := s.At(i)
		if err != nil || m != (Meta{w.Prompt, w.Sample, len(w.Tokens)}) {
			t.Fatalf("trajectory %d is %+v (%v)", i, m, err)
		}
		if got, err := s.Trajectory(i); err != nil || !reflect.DeepEqual(got, w) {
			t.Fatalf("trajectory %d has other rows (%v)", i, err)
		}
		rows := make([]float32, len(w.Hidden))
		if err := s.Rows(i, 0, len(w.Tokens), rows); err != nil || !slices.Equal(rows, w.Hidden) {
			t.Fatalf("trajectory %d has other rows (%v)", i, err)
		}
	}
	for _, p := range prompts {
		if got, err := s.Prompt(p.ID); err != nil || !reflect.DeepEqual(got, p) {
			t.Fatalf("prompt %s is another one (%v)", p.ID, err)
		}
	}
	for _, err := range []error{second(s.Prompt("none")), second(s.At(90)), second(s.Block(-1)), second(s.Trajectory(-1)), s.Rows(90, 0, 0, nil)} {
		if err == nil || !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("error %v, want one with a hint", err)
		}
	}

	epoch := func(seed uint64, buffer int) (out []Trajectory) {
		for tr, err := range s.Shuffle(rand.New(rand.NewPCG(seed, 0)), buffer) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, tr)
		}
		return out
	}
	for _, buffer := range []int{0, 1, 4, 1000} {
		got := epoch(1, buffer)
		if equal(got, want) || !equal(got, epoch(1, buffer)) || equal(got, epoch(2, buffer)) {
			t.Errorf("with a buffer of %d blocks the order does not depend on the seed alone", buffer)
		}
		slices.SortFunc(got, func(a, b Trajectory) int { return index(want, a) - index(want, b) })
		if !equal(got, want) {
			t.Errorf("with a buffer of %d blocks an epoch is not every trajectory once", buffer)
		}
	}

	other := promptSchema
	other.Width = 4
	if _, err := OpenSet(paths, other); err == nil {
		t.Error("shards of another schema make a set")
	}
	if err := os.Truncate(paths[1], 2000); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSet(paths, promptSchema); !errors.Is(err, ErrUnfinished) {
		t.Errorf("error %v of a set with an unfinished shard", err)
	}
}

// testSchemaOf asks for the rows of s only.
func testSchemaOf(s Schema) Schema {
	s.Prompts, s.PromptLayers = false, nil
	return s
}

func index(ts []Trajectory, t Trajectory) int {
	return slices.IndexFunc(ts, func(u Trajectory) bool { return u.Prompt == t.Prompt && u.Sample == t.Sample })
}

func TestRepairKeepsAll(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	repair := func(path string) {
		t.Helper()
		report, err := Repair(context.Background(), path, out)
		if err != nil || !report.Sound() || report.Trajectories != 24 {
			t.Fatalf("%+v, error %v", report, err)
		}
	}
	repair(shard(t, testSchema, nil, sample(24, testSchema, 2)))
	if got, err := Read(out, testSchema); err != nil || !equal(got, sample(24, testSchema, 2)) {
		t.Fatalf("other trajectories (%v)", err)
	}
	for name, s := range old {
		repair(filepath.Join("testdata", name))
		checkOld(t, out, s)
	}
	if _, err := Repair(context.Background(), out, out); err == nil {
		t.Error("a shard was repaired in place")
	}
}
