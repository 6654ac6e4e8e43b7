package fingerprint

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// model writes tensors of these lengths.
func model(t *testing.T, lengths ...int) *gguf.File {
	t.Helper()
	var tensors []gguf.Tensor
	for i, n := range lengths {
		data := make([]float32, n)
		for j := range data {
			data[j] = float32(j%1000 + i)
		}
		tensors = append(tensors, gguf.Tensor{Name: string(rune('a' + i)), Shape: []uint64{uint64(n)}, Data: data})
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := gguf.Write(path, []gguf.KV{{Key: "general.architecture", Value: "test"}}, tensors); err != nil {
		t.Fatal(err)
	}
	return read(t, path)
}

func read(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func of(t *testing.T, f *gguf.File) string {
	t.Helper()
	got, err := Of(t.Context(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// flip changes a bit of a file.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	fd, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	var b [1]byte
	if _, err := fd.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 4
	if _, err := fd.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// Every bit of every tensor is noticed, at the borders of chunks too, and none outside.
func TestEveryBit(t *testing.T) {
	f := model(t, 10, chunkBytes/4+3, 2*chunkBytes/4, 5000)
	want := of(t, f)
	var at []int64
	for _, info := range f.Tensors {
		start := f.DataOffset + int64(info.Offset)
		for _, off := range []uint64{0, 7, 4096, info.Size / 2, chunkBytes - 1, chunkBytes, info.Size - 4097, info.Size - 1} {
			if off < info.Size {
				at = append(at, start+int64(off))
			}
		}
	}
	slices.Sort(at)
	for _, pos := range slices.Compact(at) {
		flip(t, f.Path, pos)
		if got := of(t, f); got == want || Same(got, want) {
			t.Errorf("a bit changed at %d was not noticed", pos)
		}
		flip(t, f.Path, pos)
	}
	flip(t, f.Path, int64(len("GGUF"))+4+16+8) // in the first key's name
	if got := of(t, f); got != want {
		t.Errorf("%s after a change outside the tensors, want %s", got, want)
	}
}

// Tensors that change places, or an end that moves from one to the next, are noticed.
func TestOrder(t *testing.T) {
	a, b := of(t, model(t, 20000, 30000)), of(t, model(t, 30000, 20000))
	if a == b {
		t.Error("the order of the tensors was not noticed")
	}
}

func TestSame(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"abc-1", "abc-1", true}, {"abc-1", "abc-2", false}, {"abc", "abc-2", true}, {"abc-2", "abc", true},
		{"abc", "abd-2", false}, {"ab", "abc-1", false}, {"", "abc-1", false}, {"abc", "abc", true}, {"", "-1", false},
	} {
		if got := Same(tc.a, tc.b); got != tc.want {
			t.Errorf("Same(%q, %q) = %v", tc.a, tc.b, got)
		}
	}
}

// keep makes every file's sums be kept, in a cache of the test's own.
func keep(t *testing.T) {
	oldFrom, oldSettled := keptFrom, settled
	keptFrom, settled = 0, 0
	t.Cleanup(func() { keptFrom, settled = oldFrom, oldSettled })
	t.Setenv("IVO_CACHE", t.TempDir())
}

// reads is how many bytes are read for the fingerprint, which has to be want.
func reads(t *testing.T, f *gguf.File, want string) (n int64) {
	t.Helper()
	got, err := Of(t.Context(), f, func(done, total int64) {
		if done > total || done <= n {
			t.Errorf("progress %d of %d after %d", done, total, n)
		}
		n = done
	})
	if err != nil || got != want {
		t.Errorf("%s, %v, want %s", got, err, want)
	}
	return n
}

// A file is read once, under all its names, until it changes.
func TestKept(t *testing.T) {
	f := model(t, 1000, 5000)
	want, all := of(t, f), int64(24000)
	keep(t)
	if n := reads(t, f, want); n != all {
		t.Errorf("%d bytes were read", n)
	}
	link := filepath.Join(t.TempDir(), "other.gguf")
	if err := os.Symlink(f.Path, link); err != nil {
		t.Skip(err)
	}
	for _, path := range []string{f.Path, link} {
		if n := reads(t, read(t, path), want); n > 0 {
			t.Errorf("%s: %d bytes were read again", path, n)
		}
	}

	// A change that leaves length and time of modification as they were.
	st, err := os.Stat(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-8000] ^= 1
	if err := os.Remove(f.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(f.Path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	if got := of(t, read(t, f.Path)); got == want {
		t.Error("another file under the same name was not noticed")
	}
}

// A cache that is damaged, of another version or cannot be written costs time alone.
func TestKeptDamage(t *testing.T) {
	f := model(t, 1000, 5000)
	want := of(t, f)
	keep(t)
	reads(t, f, want)
	dir := filepath.Join(os.Getenv("IVO_CACHE"), "fingerprints")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	path := filepath.Join(dir, entries[0].Name())
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := [][]byte{nil, []byte("x"), good[:len(good)-1], append(slices.Clone(good), 0), []byte(strings.Replace(string(good), "print 1", "print 2", 1))}
	for at := 0; at < len(good); at++ {
		bad := slices.Clone(good)
		bad[at] ^= 1
		damaged = append(damaged, bad)
	}
	for _, bad := range damaged {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if n := reads(t, f, want); n == 0 {
			t.Errorf("%d damaged bytes were believed", len(bad))
		}
	}
	if again, err := os.ReadFile(path); err != nil || string(again) != string(good) {
		t.Errorf("it was not mended: %v", err)
	}
	// A file where the folder should be: nobody may write there, root neither.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n := reads(t, f, want); n == 0 {
			t.Error("nothing was read")
		}
	}
}

// A file that has just changed is not kept: its times may not tell the next change.
func TestKeptSettled(t *testing.T) {
	f := model(t, 1000)
	keep(t)
	settled = 1 << 62
	want := of(t, f)
	if n := reads(t, f, want); n == 0 {
		t.Error("nothing was read")
	}
}

func TestCancel(t *testing.T) {
	f := model(t, 100, chunkBytes, chunkBytes)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	keep(t)
	_, err := Of(ctx, f, func(done, _ int64) { cancel(why) })
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if _, err := Of(ctx, f, nil); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(os.Getenv("IVO_CACHE"), "fingerprints")); len(entries) > 0 {
		t.Error("an unfinished sum was kept")
	}
}

func TestMissing(t *testing.T) {
	f := model(t, 100)
	if err := os.Truncate(f.Path, f.DataOffset+8); err != nil {
		t.Fatal(err)
	}
	if _, err := Of(t.Context(), f, nil); err == nil || !strings.Contains(err.Error(), f.Path) {
		t.Errorf("a file that was cut: %v", err)
	}
}
