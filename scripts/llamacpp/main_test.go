package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/pinned"
)

// tree is a release as small as one can be.
var tree = map[string]string{
	"CMakeLists.txt": "project(llama)", "LICENSE": "MIT", "include/llama.h": "// llama", "ggml/include/ggml.h": "// ggml",
	"src/llama.cpp": "int llama;", "models/templates/a.jinja": "{{ a }}",
}

// around is what other sources have beside it.
var around = map[string]string{"src/.clang-format": "", "tools/server/page.html": "<p>", ".github/x": ""}

// archived is the tree in a compressed archive, below root; the sdist's own files beside it.
func archived(t *testing.T, root string, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	all := map[string]string{"pack-1/setup.py": "raise", "pack-1/src/pack/__init__.py": "", "pack-1/LICENSE": "another"}
	for name, text := range files {
		all[root+"/"+name] = text
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(all[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, all[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := writeFile(filepath.Join(dir, name), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
}

// The programs that a build takes: a cmake that leaves libraries, or fails as told, and no Python.
const cmake = `#!/bin/sh
while [ $# -gt 0 ]; do case "$1" in -B|--build) dir=$2;; esac; shift; done
mkdir -p "$dir/src" "$dir/ggml/src"
[ -z "$CMAKE_FAILS" ] || { echo "$CMAKE_FAILS"; exit 1; }
echo one >"$dir/src/libllama.a"
for l in libggml.a libggml-base.a libggml-cpu.a; do echo "$l" >"$dir/ggml/src/$l"; done
`

func programs(t *testing.T, names ...string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(cmake), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sh", "mkdir"} {
		for _, from := range []string{"/bin", "/usr/bin"} {
			os.Symlink(filepath.Join(from, name), filepath.Join(dir, name)) // the first that is there
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("PKG_CONFIG", "")
}

// testBuilder builds the tree above, which is said to be release b1.
func testBuilder(t *testing.T) *builder {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tree"), tree)
	sum, err := sumTree(filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	host := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(host.Close)
	return &builder{
		pin: pinned.Release{Tag: "b1", Sdist: "1", SdistSum: "0", SourceSum: sum}, archive: host.URL, cache: filepath.Join(dir, "cache"),
		release: "b1", jobs: 1, log: io.Discard,
	}
}

// Whatever the release comes from, the same build is made of it, once.
func TestSources(t *testing.T) {
	programs(t, "cmake", "pkg-config")
	all := maps.Clone(tree)
	maps.Copy(all, around)
	for name, source := range map[string]func(t *testing.T, b *builder){
		"the network": func(t *testing.T, b *builder) {
			host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(archived(t, "llama.cpp-b1", all)) }))
			t.Cleanup(host.Close)
			b.archive = host.URL
		},
		"a source distribution": func(t *testing.T, b *builder) {
			b.from = filepath.Join(t.TempDir(), "x.tar.gz")
			write(t, filepath.Dir(b.from), map[string]string{"x.tar.gz": string(archived(t, "pack-1/llama.cpp", all))})
		},
		"a folder": func(t *testing.T, b *builder) { b.from = t.TempDir(); write(t, b.from, all) },
		"an unpacked source distribution": func(t *testing.T, b *builder) {
			b.from = t.TempDir()
			write(t, filepath.Join(b.from, "llama.cpp"), all)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := testBuilder(t)
			source(t, b)
			prefix, err := b.build(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"lib/libllama.a", "lib/libggml-cpu.a", "include/llama.h", "include/ggml.h", "share/LICENSE", "share/models/templates/a.jinja"} {
				if _, err := os.Stat(filepath.Join(prefix, file)); err != nil {
					t.Error(err)
				}
			}
			pc, err := os.ReadFile(filepath.Join(prefix, "lib/pkgconfig/llama.pc"))
			if want := "-lllama -lggml -lggml-cpu -lggml-base "; err != nil || !strings.Contains(string(pc), want) || !strings.Contains(string(pc), prefix) {
				t.Errorf("%v: %q is not in\n%s", err, want, pc)
			}
			// It needs neither the source nor cmake again.
			b.from = "/nowhere"
			t.Setenv("CMAKE_FAILS", "it was called")
			if again, err := b.build(context.Background()); again != prefix {
				t.Errorf("again: %q, %v, not %q", again, err, prefix)
			}
		})
	}
}

// What is wrong is said, with what to do about it; no build is left, and an older one is as it was.
func TestFailures(t *testing.T) {
	whole := archived(t, "llama.cpp-b1", tree)
	changed := maps.Clone(tree)
	changed["src/llama.cpp"] = "int evil;"
	for name, tc := range map[string]struct {
		programs []string
		fails    string // what cmake says
		archive  []byte
		set      func(*builder)
		want     []string
	}{
		"no cmake":           {programs: []string{"pkg-config"}, archive: whole, want: []string{"no cmake", "install", "without LLAMA="}},
		"no pkg-config":      {programs: []string{"cmake"}, archive: whole, want: []string{"no pkg-config", "install"}},
		"wrong checksum":     {archive: archived(t, "llama.cpp-b1", changed), want: []string{"SHA-256", "nothing was built"}},
		"truncated":          {archive: whole[:len(whole)*2/3], want: []string{"truncated", "fetch it again"}},
		"truncated in front": {archive: whole[:5], want: []string{"no .tar.gz", "fetch it again"}},
		"another archive":    {archive: archived(t, "other-1", tree), want: []string{"holds no llama.cpp"}},
		"no such source":     {set: func(b *builder) { b.from = "/nowhere.tar.gz" }, want: []string{"/nowhere.tar.gz", "LLAMA_SOURCE"}},
		"an empty folder":    {set: func(b *builder) { b.from = os.TempDir() + "/.." }, want: []string{"holds no llama.cpp"}},
		"no network":         {set: func(b *builder) { b.from = "" }, want: []string{"404", "python3", "LLAMA_SOURCE", "embedded copy"}},
		"another release":    {set: func(b *builder) { b.release = "b2" }, want: []string{`"b2"`, "LLAMA=b1"}},
		"two sources":        {set: func(b *builder) { b.release, b.from = os.TempDir(), os.TempDir() }, want: []string{"two sources", "LLAMA_SOURCE"}},
		"no disk":            {archive: whole, fails: "cc1plus: fatal error: No space left on device", want: []string{"no space left", "IVO_CACHE"}},
		"does not compile":   {archive: whole, fails: "a.cpp:1: error: no", want: []string{"cmake", "a.cpp:1: error: no"}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.programs == nil {
				tc.programs = []string{"cmake", "pkg-config"}
			}
			programs(t, tc.programs...)
			t.Setenv("CMAKE_FAILS", tc.fails)
			b := testBuilder(t)
			old := filepath.Join(b.cache, "b0.native.00000000", "lib", "libllama.a")
			write(t, b.cache, map[string]string{"b0.native.00000000/lib/libllama.a": "old"})
			if tc.archive != nil {
				b.from = filepath.Join(t.TempDir(), "x.tar.gz")
				write(t, filepath.Dir(b.from), map[string]string{"x.tar.gz": string(tc.archive)})
			}
			if tc.set != nil {
				tc.set(b)
			}
			prefix, err := b.build(context.Background())
			if err == nil {
				t.Fatalf("built %s", prefix)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			left, err := filepath.Glob(filepath.Join(b.cache, "[^.]*"))
			left = slices.DeleteFunc(left, func(p string) bool { return filepath.Base(p) == "build.log" })
			text, _ := os.ReadFile(old)
			if err != nil || string(text) != "old" || len(left) != 1 {
				t.Errorf("left %v, %v, the old build %q", left, err, text)
			}
		})
	}
}

// Builds that differ in what goes into them have different names: Go would not link again.
func TestNames(t *testing.T) {
	b := testBuilder(t)
	names := map[string]bool{}
	for i, set := range []func(){
		func() {}, func() { b.portable = true }, func() { b.portable, b.shared = false, true }, func() { b.cuda = true },
		func() { b.vulkan = true }, func() { b.rpc = true }, func() { b.release = b.cache },
	} {
		set()
		names[b.prefix(context.Background(), b.pin.SourceSum)] = true
		if len(names) != i+1 {
			t.Errorf("the builds of %d kinds have the names %v", i+1, slices.Collect(maps.Keys(names)))
		}
	}
	if b.prefix(context.Background(), "other") == b.prefix(context.Background(), "sum") {
		t.Error("another source gives the same name")
	}
}

// Go keeps what it has compiled with one build apart from what it compiles with another: the build is named in what Go
// goes by, which pkg-config's answer is not.
func TestBuildsAreKeptApart(t *testing.T) {
	t.Setenv("CGO_CPPFLAGS", "-DMINE")
	flags := func(prefix string) string {
		for _, v := range environment(prefix) {
			if flags, ok := strings.CutPrefix(v, "CGO_CPPFLAGS="); ok {
				return flags
			}
		}
		return ""
	}
	native, portable := flags("/cache/b1.native.12"), flags("/cache/b1.portable.34")
	if native == portable || !strings.HasPrefix(native, "-DMINE ") || !strings.Contains(native, "b1.native.12") {
		t.Errorf("%q and %q", native, portable)
	}
}
