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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/llama/hub"
)

const big = 3 << 20

// A download that is cut goes on from where it was, within one call and in the next.
func TestResume(t *testing.T) {
	s := newServer(t, "m.gguf", text(big))
	s.cutAt(1000, 1)
	o, waits := s.options(t)
	path, err := hub.Repo(t.Context(), "u/m", "", o)
	if err != nil || read(t, path) != s.content["m.gguf"] {
		t.Fatalf("wrong content, %v", err)
	}
	same(t, "requests", s.requests(), "m.gguf", "m.gguf bytes=1000-")
	if len(*waits) != 1 || (*waits)[0] != time.Second {
		t.Errorf("waits %v", *waits)
	}

	o.CacheDir = t.TempDir()
	s.cutAt(1000, 1)
	stop, cancel := context.WithCancel(t.Context())
	o.Wait = func(context.Context, time.Duration) error { cancel(); return stop.Err() }
	if _, err := hub.Repo(stop, "u/m", "", o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	same(t, "kept", left(t, o.CacheDir), "models--u--m/blobs/"+s.oid("m.gguf")+".downloadInProgress")
	s.requests()
	if path, err = hub.Repo(t.Context(), "u/m", "", o); err != nil || read(t, path) != s.content["m.gguf"] {
		t.Errorf("wrong content, %v", err)
	}
	same(t, "requests", s.requests(), "m.gguf bytes=1000-")
}

// Bytes that are not the beginning of the file, from whomever, do not get into it.
func TestResumeForeign(t *testing.T) {
	for name, begun := range map[string]string{"other bytes": "abcdef", "too many": text(big) + "x", "as many": strings.Repeat("x", len(text(big))), "none": ""} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, "m.gguf", text(big))
			o, _ := s.options(t)
			partial := filepath.Join(o.CacheDir, "models--u--m", "blobs", s.oid("m.gguf")+".downloadInProgress")
			if err := os.MkdirAll(filepath.Dir(partial), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(partial, []byte(begun), 0o644); err != nil {
				t.Fatal(err)
			}
			path, err := hub.Repo(t.Context(), "u/m", "", o)
			if err != nil || read(t, path) != s.content["m.gguf"] {
				t.Errorf("wrong content, %v", err)
			}
		})
	}
}

// A server without ranges sends everything again.
func TestNoRanges(t *testing.T) {
	s := newServer(t, "m.gguf", text(big))
	s.cutAt(1000, 1)
	cut := s.before
	s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
		if !cut(w, r, path) {
			w.Header().Set("Content-Length", fmt.Sprint(len(s.content[path])))
			w.Write([]byte(s.content[path]))
		}
		return true
	}
	o, _ := s.options(t)
	path, err := hub.Repo(t.Context(), "u/m", "", o)
	if err != nil || read(t, path) != s.content["m.gguf"] {
		t.Errorf("wrong content, %v", err)
	}
}

// A server that never gets further than it was is given up, one that does is not.
func TestTries(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	s.cutAt(0, 100)
	o, waits := s.options(t)
	_, err := hub.Repo(t.Context(), "u/m", "", o)
	hinted(t, err, 0, "kept")
	if want := []time.Duration{1, 2, 4, 8}; len(*waits) != len(want) || (*waits)[3] != 8*time.Second {
		t.Errorf("waits %v", *waits)
	}

	// Nor does one that has no ranges and less than it says.
	s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
		w.Header().Set("Content-Length", "100")
		w.Write([]byte(text(90)))
		return true
	}
	*waits = nil
	_, err = hub.Repo(t.Context(), "u/m", "", o)
	hinted(t, err, 0, "kept")
	if len(*waits) > 5 {
		t.Errorf("waits %v", *waits)
	}

	o.CacheDir = t.TempDir()
	var served atomic.Int32
	s.before = func(w http.ResponseWriter, r *http.Request, path string) bool {
		served.Add(1)
		from := 0
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", fmt.Sprint(100-from))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-99/100", from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write([]byte(s.content[path][from : from+10]))
		w.(http.Flusher).Flush()
		if from < 90 {
			panic(http.ErrAbortHandler)
		}
		return true
	}
	if path, err := hub.Repo(t.Context(), "u/m", "", o); err != nil || read(t, path) != text(100) || served.Load() != 10 {
		t.Errorf("%d requests, %v", served.Load(), err)
	}
}

// A busy server is asked again when it says.
func TestRetryAfter(t *testing.T) {
	s := newServer(t, "m.gguf", text(100))
	var asked atomic.Int32
	s.before = func(w http.ResponseWriter, _ *http.Request, _ string) bool {
		n := asked.Add(1)
		if n > 2 {
			return false
		}
		w.Header().Set("Retry-After", []string{"7", "100000"}[n-1])
		w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[n-1])
		return true
	}
	o, waits := s.options(t)
	if _, err := hub.Repo(t.Context(), "u/m", "", o); err != nil {
		t.Error(err)
	}
	if len(*waits) != 2 || (*waits)[0] != 7*time.Second || (*waits)[1] != 2*time.Minute {
		t.Errorf("waits %v", *waits)
	}
}

// A file that is not what the hub lists is not kept.
func TestWrongFile(t *testing.T) {
	for name, sent := range map[string]string{"checksum": "GGUF" + strings.Repeat("x", 96), "too long": text(110), "too short": text(90)} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, "m.gguf", text(100))
			s.before = func(w http.ResponseWriter, r *http.Request, _ string) bool {
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(sent))
				return true
			}
			o, waits := s.options(t)
			_, err := hub.Repo(t.Context(), "u/m", "", o)
			hinted(t, err, 0, "thrown away")
			same(t, "in the cache", left(t, o.CacheDir))
			if len(*waits) > 0 {
				t.Error("it was tried again")
			}
		})
	}
}

// Cancelling keeps what has come, and says why.
func TestCancel(t *testing.T) {
	s := newServer(t, "m.gguf", text(big))
	o, _ := s.options(t)
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	o.Progress = func(_ string, done, _ int64) {
		if done > 0 {
			cancel(why)
		}
	}
	_, err := hub.Repo(ctx, "u/m", "", o)
	if !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	hinted(t, err, 0, "kept")
	partial := filepath.Join(o.CacheDir, "models--u--m", "blobs", s.oid("m.gguf")+".downloadInProgress")
	if kept := read(t, partial); len(kept) == 0 || !strings.HasPrefix(s.content["m.gguf"], kept) {
		t.Errorf("%d bytes kept", len(kept))
	}
}

// One of those that want a file at once downloads it.
func TestConcurrent(t *testing.T) {
	s := newServer(t, "m.gguf", text(big))
	o, _ := s.options(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			path, err := hub.Repo(context.Background(), "u/m", "", o)
			if err != nil {
				t.Error(err)
			} else if data, err := os.ReadFile(path); err != nil || string(data) != s.content["m.gguf"] {
				t.Errorf("wrong content, %v", err)
			}
		})
	}
	all.Wait()
	same(t, "requests", s.requests(), "m.gguf")
}

// Where the file cannot be given its name at the end, what was fetched is kept, and asked for no more.
func TestNameRefused(t *testing.T) {
	s := newServer(t, "m.gguf", text(big))
	o, waits := s.options(t)
	defer func() { atomicfile.Before = nil }()
	atomicfile.Before = func(step, path string) error {
		return &os.LinkError{Op: step, Old: path, New: path, Err: syscall.EROFS}
	}
	_, err := hub.Repo(t.Context(), "u/m", "", o)
	hinted(t, err, 0, "check the folder, or set LLAMA_CACHE to another")
	if !errors.Is(err, syscall.EROFS) || len(*waits) > 0 {
		t.Errorf("got %v after %d waits", err, len(*waits))
	}
	partial := filepath.Join(o.CacheDir, "models--u--m", "blobs", s.oid("m.gguf")+".downloadInProgress")
	if data, err := os.ReadFile(partial); err != nil || string(data) != s.content["m.gguf"] {
		t.Errorf("%d bytes are kept, %v", len(data), err)
	}
	atomicfile.Before = nil
	path, err := hub.Repo(t.Context(), "u/m", "", o)
	if data, _ := os.ReadFile(path); err != nil || string(data) != s.content["m.gguf"] {
		t.Errorf("%s: %v", path, err)
	}
}

func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	s := newServer(t, "m.gguf", text(big))
	o, waits := s.options(t)
	blobs := filepath.Join(o.CacheDir, "models--u--m", "blobs")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", filepath.Join(blobs, s.oid("m.gguf")+".downloadInProgress")); err != nil {
		t.Fatal(err)
	}
	_, err := hub.Repo(t.Context(), "u/m", "", o)
	hinted(t, err, 0, "disk is full")
	if !errors.Is(err, syscall.ENOSPC) || len(*waits) > 0 {
		t.Errorf("got %v after %d waits", err, len(*waits))
	}
}
