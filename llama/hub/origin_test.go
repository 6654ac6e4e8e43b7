package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ivo-decoding/ivo/llama/hub"
)

// put writes files, given as name, content, name, content..., into dir.
func put(t *testing.T, dir string, files ...string) {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The file of one address is not taken for that of another, which may end in the same
// name, have the same length and name the same ETag.
func TestOrigin(t *testing.T) {
	s := newServer(t, "a/m.gguf", "GGUF of a", "b/m.gguf", "GGUF of b", "a/n-00001-of-00002.gguf", "GGUF a1", "a/n-00002-of-00002.gguf", "GGUF a2",
		"b/n-00001-of-00002.gguf", "GGUF b1", "b/n-00002-of-00002.gguf", "GGUF b2")
	for name, header := range map[string]func(http.Header){
		"one ETag for all": func(h http.Header) { h.Set("ETag", `"abc"`) },
		"no ETag":          func(h http.Header) { h.Del("ETag") },
	} {
		t.Run(name, func(t *testing.T) {
			s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
				content, ok := s.content[path]
				if ok {
					header(w.Header())
					w.Header().Set("Content-Length", fmt.Sprint(len(content)))
					w.Write([]byte(content))
				}
				return ok
			}
			s.requests()
			o, _ := s.options(t)
			want := map[string]string{"a/m.gguf": "GGUF of a", "b/m.gguf": "GGUF of b", "a/n-00001-of-00002.gguf": "GGUF a1", "b/n-00001-of-00002.gguf": "GGUF b1"}
			for _, offline := range []bool{false, false, true} { // fetched, there, there
				o.Offline = offline
				for address, content := range want {
					path, err := hub.URL(t.Context(), s.files.URL+"/"+address, "", o)
					if err != nil || read(t, path) != content {
						t.Errorf("%s: %s, %v", address, path, err)
						continue
					}
					second := strings.Replace(path, "00001-of", "00002-of", 1)
					if second != path && read(t, second) != content[:6]+"2" {
						t.Errorf("%s: the second file holds %q", address, read(t, second))
					}
				}
			}
			if n := len(s.requests()); n != 6 {
				t.Errorf("%d files were fetched", n)
			}
			for _, address := range []string{"c/m.gguf", "a/m.gguf?version=2"} {
				if path, err := hub.URL(t.Context(), s.files.URL+"/"+address, "", o); !errors.Is(err, hub.ErrNotCached) {
					t.Errorf("offline, %s: %s, %v", address, path, err)
				}
			}
			o.Offline = false
			_, err := hub.URL(t.Context(), s.files.URL+"/c/m.gguf", "", o)
			hinted(t, err, 404, "name")
		})
	}
}

// Two addresses at once do not get into each other's way.
func TestOriginConcurrent(t *testing.T) {
	s := newServer(t, "a/m.gguf", text(big), "b/m.gguf", strings.ReplaceAll(text(big), "9", "8"))
	o, _ := s.options(t)
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			address := []string{"a/m.gguf", "b/m.gguf"}[i%2]
			path, err := hub.URL(context.Background(), s.files.URL+"/"+address, "", o)
			if err != nil {
				t.Errorf("%s: %v", address, err)
			} else if data, err := os.ReadFile(path); err != nil || string(data) != s.content[address] {
				t.Errorf("%s: wrong content, %v", address, err)
			}
		})
	}
	all.Wait()
}

// A file of which nothing says where it came from is used where its ETag says so, or
// nobody can be asked; else the address gets a file of its own.
func TestOriginUnknown(t *testing.T) {
	const path = "d/m.gguf"
	for name, tc := range map[string]struct {
		content string // what is there
		etag    string // of it; the server's for %s
		url     string // where it came from, the server's address for %s
		ask     string // address
		down    bool   // the server, or the network
		found   string // content of what is found; "" for none
		kept    bool   // under the name that was there
	}{
		"llama.cpp's":               {content: "GGUF here", etag: "%s", found: "GGUF here", kept: true},
		"llama.cpp's, old":          {content: "GGUF here", etag: `"old"`, found: "GGUF there"},
		"llama.cpp's, without ETag": {content: "GGUF here", found: "GGUF there"},
		"llama.cpp's, server down":  {content: "GGUF here", etag: "%s", down: true, found: "GGUF here", kept: true},
		"a web page":                {content: "<html>", etag: "%s", found: "GGUF there", kept: true},
		"a web page, server down":   {content: "<html>", etag: "%s", down: true},
		"signed anew":               {content: "GGUF here", etag: "%s", url: "%s?sign=1", ask: "?sign=2", found: "GGUF here", kept: true},
		"another version":           {content: "GGUF here", etag: `"old"`, url: "%s?v=1", ask: "?v=2", found: "GGUF there"},
		"a name in use, not there":  {url: "%s/other", found: "GGUF there"},
		"half of another":           {url: "", content: "", found: "GGUF there", kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, path, "GGUF there")
			o, _ := s.options(t)
			if tc.content != "" {
				put(t, o.CacheDir, "m.gguf", tc.content)
			}
			if tc.etag != "" {
				put(t, o.CacheDir, "m.gguf.etag", strings.ReplaceAll(tc.etag, "%s", `"`+s.oid(path)[:8]+`"`))
			}
			if address, query, ok := strings.Cut(tc.url, "?"); ok {
				// What it writes of the query is its own: let it write it.
				address = strings.ReplaceAll(address, "%s", s.files.URL+"/"+path)
				own := t.TempDir()
				oo := o
				oo.CacheDir = own
				if _, err := hub.URL(t.Context(), address+"?"+query, "", oo); err != nil {
					t.Fatal(err)
				}
				put(t, o.CacheDir, "m.gguf.url", read(t, filepath.Join(own, "m.gguf.url")))
			} else if tc.url != "" {
				put(t, o.CacheDir, "m.gguf.url", strings.ReplaceAll(tc.url, "%s", s.files.URL+"/"+path))
			}
			if name == "half of another" {
				put(t, o.CacheDir, "m.gguf.downloadInProgress", "GGUF h", "m.gguf.downloadInProgress.etag", `"`+s.oid(path)[:8]+`"`)
			}
			if tc.down {
				s.files.Close()
			}
			got, err := hub.URL(t.Context(), s.files.URL+"/"+path+tc.ask, "", o)
			switch {
			case tc.found == "":
				hinted(t, err, 0, "connection")
			case err != nil || read(t, got) != tc.found || (filepath.Base(got) == "m.gguf") != tc.kept:
				t.Errorf("%s, %v", got, err)
			}
			if tc.found != "" && !tc.down {
				s.requests()
				if again, err := hub.URL(t.Context(), s.files.URL+"/"+path+tc.ask, "", o); again != got || len(s.requests()) > 0 {
					t.Errorf("again: %s, %v", again, err)
				}
			}
		})
	}
}

// A path that the caller names keeps the file that was downloaded there from elsewhere.
func TestOriginChosen(t *testing.T) {
	s := newServer(t, "a/m.gguf", "GGUF of a", "b/m.gguf", "GGUF of b")
	o, _ := s.options(t)
	own := filepath.Join(t.TempDir(), "own.gguf")
	for range 2 {
		if _, err := hub.URL(t.Context(), s.files.URL+"/a/m.gguf", own, o); err != nil {
			t.Fatal(err)
		}
	}
	for _, offline := range []bool{false, true} {
		o.Offline = offline
		_, err := hub.URL(t.Context(), s.files.URL+"/b/m.gguf", own, o)
		hinted(t, err, 0, "another name")
		if read(t, own) != "GGUF of a" {
			t.Error("it was overwritten")
		}
	}
	o.Offline = false
	if err := os.Remove(own); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.URL(t.Context(), s.files.URL+"/b/m.gguf", own, o); err != nil || read(t, own) != "GGUF of b" {
		t.Errorf("after it was removed: %v", err)
	}
}

// Web pages and their like are said to be such, and not kept.
func TestNoModel(t *testing.T) {
	page := "<!DOCTYPE html><html>Sign in</html>"
	for name, tc := range map[string]struct{ path, content, kind, says string }{
		"web page":     {"m.gguf", page, "text/html", "web page"},
		"by content":   {"m.gguf", page, "application/octet-stream", "web page"},
		"view":         {"u/m/blob/main/m.gguf", page, "text/html", "/u/m/resolve/main/m.gguf"},
		"LFS pointer":  {"m.gguf", "version https://git-lfs.github.com/spec/v1\n", "text/plain", "LFS pointer"},
		"JSON":         {"m.gguf", `{"error":"no"}`, "application/json", "JSON"},
		"other":        {"m.gguf", "xxxxxxxxxx", "", "no GGUF file"},
		"nothing":      {"m.gguf", "", "", "no GGUF file"},
		"three bytes":  {"m.gguf", "GGU", "", "no GGUF file"},
		"in place":     {"there.gguf", page, "text/html", ""},
		"by redirect":  {"redirect", page, "text/html", "web page"},
		"in many bits": {"m.gguf", page + strings.Repeat(" ", 1<<20), "text/html", "web page"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, "there.gguf", text(100))
			o, waits := s.options(t)
			address := s.files.URL + "/" + tc.path
			var before []string
			if tc.says == "" {
				if _, err := hub.URL(t.Context(), address, "", o); err != nil {
					t.Fatal(err)
				}
				before = left(t, o.CacheDir)
			}
			s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
				if path == "redirect" {
					http.Redirect(w, r, "/login", http.StatusFound)
					return true
				}
				w.Header().Set("Content-Type", tc.kind)
				w.Write([]byte(tc.content))
				return true
			}
			path, err := hub.URL(t.Context(), address, "", o)
			if tc.says == "" { // the server may be broken for now
				if err != nil || read(t, path) != text(100) {
					t.Errorf("%s, %v", path, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			} else {
				hinted(t, err, 0, "")
			}
			same(t, "left", left(t, o.CacheDir), before...)
			if len(*waits) > 0 {
				t.Errorf("waits: %v", *waits)
			}
		})
	}
}

// A page in the place of the rest of a file costs nothing of what has come.
func TestPageInsteadOfRest(t *testing.T) {
	s := newServer(t, "m.gguf", text(big))
	s.cutAt(1000, 1)
	cut := s.before
	s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
		if !cut(w, r, path) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Write([]byte("<html>"))
		}
		return true
	}
	o, _ := s.options(t)
	_, err := hub.URL(t.Context(), s.files.URL+"/m.gguf", "", o)
	hinted(t, err, 0, "sign in")
	s.before = nil
	s.requests()
	if path, err := hub.URL(t.Context(), s.files.URL+"/m.gguf", "", o); err != nil || read(t, path) != text(big) {
		t.Error(err)
	}
	same(t, "requests", s.requests(), "m.gguf bytes=1000-")
}
