package states

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// memory is a shard that lies in memory.
func memory(data []byte) (*Reader, error) {
	return newReader("shard", bytes.NewReader(data), func() (int64, error) { return int64(len(data)), nil }, func() error { return nil })
}

// victim is a shard to damage, small enough to do so at every byte.
type victim struct {
	schema  Schema
	data    []byte
	want    []Trajectory
	rewards []float32 // of version 2, else nil
	prompts []Prompt
	blocks  []*block // as written
}

func newVictim(t testing.TB, s Schema, finished bool) *victim {
	t.Helper()
	v := &victim{schema: s, want: sample(24, s, 2)}
	if s.Prompts {
		v.prompts = promptsOf(v.want, s)
	}
	path := filepath.Join(t.TempDir(), "shard")
	w := create(t, path, s, tiny, v.prompts, v.want)
	end := w.Suspend
	if finished {
		end = w.Close
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	v.blocks = w.blocks
	if len(v.blocks) < 3 {
		t.Fatal("the test wants several blocks")
	}
	var err error
	if v.data, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return v
}

// oldVictim is a finished shard of version 2.
func oldVictim(t testing.TB) *victim {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "v2.states"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := memory(data)
	if err != nil {
		t.Fatal(err)
	}
	v := &victim{schema: promptSchema, data: data, blocks: r.table.Load().blocks}
	v.want, v.rewards = scored(24, v.schema, 2)
	v.prompts = promptsOf(v.want, v.schema)
	return v
}

// damaged holds the damaged shard to the promise: the damage is named, what is read is
// what was written, and Repair keeps just that. It returns the report and the numbers of
// the sound trajectories.
func (v *victim) damaged(t testing.TB, what string, data []byte) (*Report, []int) {
	t.Helper()
	r, err := memory(data)
	if err != nil {
		var fault *Error
		if !errors.As(err, &fault) || fault.Hint == "" {
			t.Fatalf("%s: error %v, want an *Error with a hint", what, err)
		}
		return nil, nil
	}
	var repaired bytes.Buffer
	o := tiny
	o.version = r.version
	w, err := begin("repaired", &repaired, r.schema, o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := inspect(context.Background(), r, w)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if report.Sound() {
		t.Fatalf("%s: no fault was found", what)
	}
	for _, f := range report.Faults {
		if f.Msg == "" || !strings.HasSuffix(f.Error(), ")") || f.From < 0 || f.From > f.To || f.To > int64(len(data)) {
			t.Fatalf("%s: the fault is not named: %v", what, f)
		}
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	again, err := memory(repaired.Bytes())
	if err != nil {
		t.Fatalf("%s: repaired: %v", what, err)
	}
	var sound []int
	for tr, err := range again.All() {
		if err != nil {
			t.Fatalf("%s: repaired: %v", what, err)
		}
		i := index(v.want, tr)
		if i < 0 || !equal([]Trajectory{tr}, v.want[i:i+1]) || len(sound) > 0 && i <= sound[len(sound)-1] {
			t.Fatalf("%s: wrong data was read", what)
		}
		if reward, err := again.Reward(len(sound)); v.rewards != nil && (err != nil || reward != v.rewards[i]) {
			t.Fatalf("%s: a wrong reward was read (%v)", what, err)
		}
		sound = append(sound, i)
		if v.schema.Prompts {
			p, err := again.Prompt(tr.Prompt)
			if k := slices.IndexFunc(v.prompts, func(p Prompt) bool { return p.ID == tr.Prompt }); err != nil || !slices.Equal(p.Hidden, v.prompts[k].Hidden) || !slices.Equal(p.Tokens, v.prompts[k].Tokens) {
				t.Fatalf("%s: wrong prompt was read (%v)", what, err)
			}
		}
	}
	if report.Trajectories != len(sound) {
		t.Fatalf("%s: %d sound trajectories were reported, %d repaired", what, report.Trajectories, len(sound))
	}
	// What is read without repair is right too, and the damage is not passed over. A
	// trajectory is fit to be read even when its prompt is not.
	faults := 0
	for tr, err := range r.All() {
		if err != nil {
			faults++
		} else if i := index(v.want, tr); i < 0 || !equal([]Trajectory{tr}, v.want[i:i+1]) {
			t.Fatalf("%s: All yields wrong data", what)
		}
	}
	promptsOnly := !slices.ContainsFunc(report.Faults, func(f *Error) bool {
		return !strings.HasPrefix(f.Msg, "prompts are damaged") && !strings.HasPrefix(f.Msg, "the prompts of")
	})
	if faults == 0 && !promptsOnly {
		t.Fatalf("%s: All yields no error", what)
	}
	return report, sound
}

// accounted checks that what is not sound is named as lost, by numbers or names.
func (v *victim) accounted(t testing.TB, what string, report *Report, sound []int) {
	t.Helper()
	named := slices.Clone(sound)
	for _, f := range report.Faults {
		for k := range f.Count {
			i := f.First + k
			if len(f.Lost) > 0 {
				i = slices.IndexFunc(v.want, func(t Trajectory) bool { return t.Prompt == f.Lost[k].Prompt && t.Sample == f.Lost[k].Sample })
			}
			named = append(named, i)
		}
	}
	slices.Sort(named)
	for i := range v.want {
		if _, ok := slices.BinarySearch(named, i); !ok {
			t.Fatalf("%s: trajectory %d is neither sound nor named as lost: %v", what, i, report.Faults)
		}
	}
}

// largest is the number of trajectories in the largest block.
func (v *victim) largest() (n int) {
	for _, b := range v.blocks {
		n = max(n, b.trajectories)
	}
	return n
}

func TestFlippedByte(t *testing.T) {
	victims := map[string]*victim{"version 2, finished true": oldVictim(t)}
	for name, s := range map[string]Schema{"states": testSchema, "prompts": promptSchema} {
		for _, finished := range []bool{true, false} {
			victims[fmt.Sprintf("%s, finished %v", name, finished)] = newVictim(t, s, finished)
		}
	}
	for name, v := range victims {
		t.Run(name, func(t *testing.T) {
			finished := strings.HasSuffix(name, "true")
			for i := range v.data {
				what := fmt.Sprint("byte ", i)
				bad := bytes.Clone(v.data)
				bad[i] ^= 1 << (i % 8)
				report, sound := v.damaged(t, what, bad)
				if report == nil {
					t.Fatalf("%s: nothing can be read", what)
				}
				if !slices.ContainsFunc(report.Faults, func(f *Error) bool { return f.From <= int64(i) && int64(i) < f.To }) {
					t.Fatalf("%s: the faults stand elsewhere: %v", what, report.Faults)
				}
				if last := v.blocks[len(v.blocks)-1]; finished || int64(i) < last.offset {
					v.accounted(t, what, report, sound)
				}
				if lost := len(v.want) - len(sound); !v.schema.Prompts && lost > v.largest() {
					t.Fatalf("%s: %d trajectories are lost, a block holds %d", what, lost, v.largest())
				}
			}
		})
	}
}

// A cut shard has the trajectories of the blocks before the cut, and no others.
func TestTruncated(t *testing.T) {
	for name, v := range map[string]*victim{"states": newVictim(t, testSchema, true), "prompts": newVictim(t, promptSchema, true), "version 2": oldVictim(t)} {
		t.Run(name, func(t *testing.T) {
			for n := range v.data {
				what := fmt.Sprint("cut at ", n)
				report, sound := v.damaged(t, what, v.data[:n])
				if report == nil {
					if n >= int(v.blocks[0].offset)/2 {
						t.Fatalf("%s: nothing can be read", what)
					}
					continue
				}
				if !errors.Is(report.Faults[0], ErrUnfinished) || report.Finished {
					t.Fatalf("%s: %v, want that it is unfinished", what, report.Faults)
				}
				want := 0
				for _, b := range v.blocks {
					if b.offset+b.length <= int64(n) {
						want = b.end()
					}
				}
				if len(sound) != want {
					t.Fatalf("%s: %d trajectories, want %d", what, len(sound), want)
				}
			}
			v.damaged(t, "a byte more", append(bytes.Clone(v.data), 0))
		})
	}
}

// Any number of bytes overwritten, and blocks that change places, within a shard or
// between shards of one schema, are found too.
func TestDamagedAnyhow(t *testing.T) {
	v := newVictim(t, testSchema, true)
	rapid.Check(t, func(rt *rapid.T) {
		bad := bytes.Clone(v.data)
		for range rapid.IntRange(1, 4).Draw(rt, "holes") {
			from := rapid.IntRange(0, len(bad)-1).Draw(rt, "from")
			n := rapid.IntRange(1, 600).Draw(rt, "length")
			for i := from; i < min(from+n, len(bad)); i++ {
				bad[i] = byte(rapid.Uint8().Draw(rt, "byte"))
			}
		}
		if !bytes.Equal(bad, v.data) {
			v.damaged(t, "overwritten", bad)
		}
	})

	a, b := v.blocks[0], v.blocks[1]
	exchanged := slices.Concat(v.data[:a.offset], v.data[b.offset:b.offset+b.length], v.data[a.offset:b.offset], v.data[b.offset+b.length:])
	v.damaged(t, "blocks exchanged", exchanged)

	// The first block of the other shard has the same number, key and length.
	other := slices.Clone(v.want)
	for i := range other {
		other[i].Sample += 4
	}
	path := filepath.Join(t.TempDir(), "shard")
	closed(t, create(t, path, testSchema, tiny, nil, other))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	foreign := slices.Concat(data[:b.offset], v.data[b.offset:])
	if report, _ := v.damaged(t, "a block of another shard", foreign); report.Faults[0].Block != 0 {
		t.Errorf("%v, want a fault of block 0", report.Faults)
	}
}

func TestErrorNamesBlock(t *testing.T) {
	v := newVictim(t, testSchema, true)
	b := v.blocks[1]
	bad := bytes.Clone(v.data)
	bad[b.offset+b.length-1] ^= 1
	path := filepath.Join(t.TempDir(), "shard")
	if err := os.WriteFile(path, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Read(path, testSchema)
	var fault *Error
	if !errors.As(err, &fault) || fault.Block != 1 || !strings.Contains(err.Error(), "block 1, bytes ") || len(fault.Lost) == 0 {
		t.Errorf("error %v, want one that names block 1, its bytes and the trajectories", err)
	}
}

// Repair of a shard with damage in the middle and no end keeps all else.
func TestRepair(t *testing.T) {
	v := newVictim(t, promptSchema, true)
	dir := t.TempDir()
	path, out := filepath.Join(dir, "shard"), filepath.Join(dir, "out")
	last := v.blocks[len(v.blocks)-1]
	bad := bytes.Clone(v.data[:last.offset+last.length-1])
	bad[v.blocks[1].offset] ^= 1
	if err := os.WriteFile(path, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	verified, err := Verify(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Repair(context.Background(), path, out)
	if err != nil {
		t.Fatal(err)
	}
	if report.Trajectories != verified.Trajectories || len(report.Faults) != len(verified.Faults) {
		t.Errorf("Repair reports %+v, Verify %+v", report, verified)
	}
	if f := report.Faults[0]; f.Block != 1 || f.First != v.blocks[1].first || f.Count != v.blocks[1].trajectories {
		t.Errorf("%+v, want the trajectories of block 1", f)
	}
	if f := report.Faults[len(report.Faults)-1]; !errors.Is(f, ErrUnfinished) || len(f.Lost) != last.trajectories {
		t.Errorf("%+v, want the trajectories of the last block", f)
	}
	if again, err := Verify(context.Background(), out); err != nil || !again.Sound() || again.Trajectories != report.Trajectories {
		t.Errorf("the repaired shard: %+v, error %v", again, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Repair(ctx, path, out+"2"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a repair that was stopped", err)
	}
}
