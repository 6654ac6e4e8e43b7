package hub_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/llama/hub"
)

func TestURL(t *testing.T) {
	s := newServer(t, "d/m.gguf", text(100), "d/n-00001-of-00002.gguf", "GGUF one", "d/n-00002-of-00002.gguf", "GGUF two")
	o, _ := s.options(t)
	address := s.files.URL + "/d/m.gguf?download=true#x"
	want := filepath.Join(o.CacheDir, "m.gguf")
	for range 2 {
		if path, err := hub.URL(t.Context(), address, "", o); path != want || read(t, path) != text(100) {
			t.Errorf("%s, %v", path, err)
		}
	}
	same(t, "requests", s.requests(), "d/m.gguf")
	same(t, "in the cache", left(t, o.CacheDir), "m.gguf", "m.gguf.etag", "m.gguf.url")

	// Another version at the server.
	s.content["d/m.gguf"] = text(90)
	if path, err := hub.URL(t.Context(), address, "", o); err != nil || read(t, path) != text(90) {
		t.Errorf("another version: %v", err)
	}
	// To a path, as -m FILE -mu ADDRESS.
	to := filepath.Join(t.TempDir(), "sub", "own.gguf")
	if path, err := hub.URL(t.Context(), address, to, o); path != to || read(t, to) != text(90) {
		t.Errorf("%s, %v", path, err)
	}
	// A split model, into the folder of that path.
	path, err := hub.URL(t.Context(), s.files.URL+"/d/n-00001-of-00002.gguf", to, o)
	if want := filepath.Join(filepath.Dir(to), "n-00001-of-00002.gguf"); path != want || read(t, want) != "GGUF one" || read(t, strings.Replace(want, "00001", "00002", 1)) != "GGUF two" {
		t.Errorf("%s, %v", path, err)
	}

	s.files.Close()
	if _, err := hub.URL(t.Context(), address, to, o); err != nil {
		t.Errorf("without the server: %v", err)
	}
	o.Offline = true
	if path, err := hub.URL(t.Context(), address, "", o); path != want {
		t.Errorf("offline: %s, %v", path, err)
	}
	_, err = hub.URL(t.Context(), s.files.URL+"/other.gguf", "", o)
	if !errors.Is(err, hub.ErrNotCached) {
		t.Errorf("offline: %v", err)
	}
	hinted(t, err, 0, "{offline}")
}

// Without a checksum, the ETag says whether a download may go on.
func TestURLResume(t *testing.T) {
	for name, tc := range map[string]struct {
		change bool
		etag   string // kept of the first part; "" for none
		want   string
	}{
		"the same file":   {etag: "keep", want: "m.gguf bytes=1000-"},
		"another version": {etag: "keep", change: true, want: "m.gguf bytes=1000-"},
		"no ETag":         {want: "m.gguf"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, "m.gguf", text(big))
			want := s.content["m.gguf"]
			if tc.change {
				want = text(20000)
			}
			s.cutAt(1000, 1)
			cut := s.before
			s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
				if tc.etag == "" {
					w = noETag{w}
				}
				if cut(w, r, path) || !tc.change {
					return false
				}
				w.Header().Set("ETag", `"2"`)
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(want))
				return true
			}
			o, _ := s.options(t)
			path, err := hub.URL(t.Context(), s.files.URL+"/m.gguf", "", o)
			if err != nil || read(t, path) != want {
				t.Errorf("wrong content, %v", err)
			}
			same(t, "requests", s.requests(), "m.gguf", tc.want)
		})
	}
}

// noETag is a writer that leaves the ETag out.
type noETag struct{ http.ResponseWriter }

func (n noETag) WriteHeader(code int) {
	n.Header().Del("ETag")
	n.ResponseWriter.WriteHeader(code)
}

func (n noETag) Write(b []byte) (int, error) {
	n.Header().Del("ETag")
	return n.ResponseWriter.Write(b)
}

func (n noETag) Flush() { n.ResponseWriter.(http.Flusher).Flush() }

// A whole file that only lacks its name is not fetched again.
func TestURLWhole(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	o, _ := s.options(t)
	partial := filepath.Join(o.CacheDir, "m.gguf.downloadInProgress")
	for name, content := range map[string]string{partial: text(100), partial + ".etag": `"` + s.oid("m.gguf")[:8] + `"`, filepath.Join(o.CacheDir, "m.gguf.url"): s.files.URL + "/m.gguf"} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if path, err := hub.URL(t.Context(), s.files.URL+"/m.gguf", "", o); err != nil || read(t, path) != text(100) {
		t.Errorf("%v", err)
	}
	same(t, "requests", s.requests(), "m.gguf bytes=100-")
	same(t, "left", left(t, o.CacheDir), "m.gguf", "m.gguf.etag", "m.gguf.url")
}

// The checksum that the hub names when it redirects is held to, for addresses too.
func TestURLChecksum(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	s.before = func(w http.ResponseWriter, r *http.Request, _ string) bool {
		w.Write([]byte("GGUF" + strings.Repeat("x", 96)))
		return true
	}
	o, _ := s.options(t)
	_, err := hub.URL(t.Context(), s.hub.URL+"/u/m/resolve/"+commit+"/m.gguf", "", o)
	hinted(t, err, 0, "thrown away")
	same(t, "left", left(t, o.CacheDir))
}

func TestURLRefused(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	o, _ := s.options(t)
	mine := filepath.Join(t.TempDir(), "mine.gguf")
	if err := os.WriteFile(mine, []byte("GGUF, precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		address, to string
		status      int
		hint        string
	}{
		"no address":  {"m.gguf", "", 0, "https://"},
		"other kind":  {"ftp://x/m.gguf", "", 0, "https://"},
		"no name":     {s.files.URL + "/", "", 0, "GGUF file"},
		"not there":   {s.files.URL + "/n.gguf", "", 404, "name"},
		"own file":    {s.files.URL + "/m.gguf", mine, 0, "another name"},
		"to a folder": {s.files.URL + "/m.gguf", filepath.Dir(mine), 0, "folder"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hub.URL(t.Context(), tc.address, tc.to, o)
			hinted(t, err, tc.status, tc.hint)
		})
	}
	if read(t, mine) != "GGUF, precious" {
		t.Error("the file was overwritten")
	}
	_, err := hub.URL(t.Context(), s.files.URL+"/n.gguf?signature=secret", "", o)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
