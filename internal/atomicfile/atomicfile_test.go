package atomicfile_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A failed write leaves the old file as it was and nothing beside it.
func TestWholeOrAsBefore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := atomicfile.WriteBytes(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	writes := map[string]func() error{
		"Write": func() error {
			return atomicfile.Write(path, func(w io.Writer) error {
				io.WriteString(w, "half of the ne")
				return boom
			})
		},
		"Replace": func() error {
			return atomicfile.Replace(path, func(tmp string) error {
				if err := os.WriteFile(tmp, []byte("half"), 0o600); err != nil {
					return err
				}
				return boom
			})
		},
	}
	for name, write := range writes {
		if err := write(); !errors.Is(err, boom) {
			t.Errorf("%s: got %v", name, err)
		}
		if got := content(t, path); got != "old" {
			t.Errorf("%s: the file holds %q", name, got)
		}
	}
	if err := atomicfile.Replace(path, func(tmp string) error { return os.WriteFile(tmp, []byte("new"), 0o600) }); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "new" {
		t.Errorf("after Replace the file holds %q", got)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// Clean removes what a killed write left, and nothing else.
func TestClean(t *testing.T) {
	sub := t.TempDir()
	if err := os.Mkdir(filepath.Join(sub, ".x.tmp1"), 0o755); err != nil {
		t.Fatal(err)
	}
	var keep []string
	for _, name := range []string{"data.tmp1", ".lock", "x", ".settings.tmpl", ".x.tmp-keep", ".x.tmp", ".tmp1"} {
		keep = append(keep, filepath.Join(sub, name))
	}
	// What a kill leaves is the temporary file of a write under way.
	var left string
	err := atomicfile.Replace(filepath.Join(sub, "shard"), func(tmp string) error {
		left = tmp
		return os.WriteFile(tmp+"0", nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range keep {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := atomicfile.Clean(sub); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left + "0"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
	if err := atomicfile.Clean(filepath.Join(sub, "no such folder")); err != nil {
		t.Error(err)
	}
	for _, path := range append(keep, filepath.Join(sub, "shard")) {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// What is private is read by its owner alone, whatever was there before.
func TestPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no such rights here")
	}
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.WritePrivate(path, []byte("s")); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 || content(t, path) != "s" {
		t.Errorf("%v, %v", st.Mode(), err)
	}
}

// Lines are appended to what is there, or the file is as it was where the disk takes none.
func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(path, []byte("one\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	full := errors.New("full")
	defer func() { atomicfile.Before = nil }()
	atomicfile.Before = func(string, string) error { return full }
	if err := atomicfile.Append(f, []byte("none\n")); !errors.Is(err, full) {
		t.Error(err)
	}
	atomicfile.Before = nil
	if err := atomicfile.Append(f, []byte("two\n")); err != nil {
		t.Error(err)
	}
	if got := content(t, path); got != "one\ntwo\n" {
		t.Errorf("the file holds %q", got)
	}
}
