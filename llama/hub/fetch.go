package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// fetch makes the model that is chosen from a listing whole in the cache, and returns
// its path.
func (s *session) fetch(ctx context.Context, l *listing, tag, file string) (string, error) {
	paths := make([]string, len(l.files))
	for i, f := range l.files {
		paths[i] = f.path
	}
	names, err := choose(l.id, paths, tag, file)
	if err != nil {
		return "", err
	}
	repo := s.repoDir(l.id)
	snapshot := filepath.Join(repo, "snapshots", l.commit)
	var files, missing []object
	for _, name := range names {
		f := find(l.files, name)
		files = append(files, f)
		if !isFile(filepath.Join(snapshot, filepath.FromSlash(f.path)), f.size) {
			missing = append(missing, f)
		}
	}
	if len(missing) > 0 {
		if path := s.flatFetched(l.id, files); path != "" {
			return path, nil
		}
	}
	for _, f := range missing {
		name := filepath.Join(snapshot, filepath.FromSlash(f.path))
		blob := name
		if f.oid != "" {
			blob = filepath.Join(repo, "blobs", f.oid)
		}
		if !isFile(blob, f.size) {
			u := s.endpoint.JoinPath(l.id, "resolve", l.commit, (&url.URL{Path: f.path}).EscapedPath())
			if err := s.download(ctx, job{url: u, dest: blob, name: path.Base(f.path), size: f.size, oid: f.oid}); err != nil {
				return "", err
			}
		}
		if blob == name {
			continue
		}
		if err := link(blob, name); err != nil {
			return "", s.failed(ctx, "download", f.path, err)
		}
	}
	ref := filepath.Join(repo, "refs", filepath.FromSlash(l.branch))
	if old, err := os.ReadFile(ref); err != nil || strings.TrimSpace(string(old)) != l.commit {
		err := os.MkdirAll(filepath.Dir(ref), 0o755)
		if err == nil {
			err = atomicfile.WriteBytes(ref, []byte(l.commit))
		}
		if err != nil {
			return "", s.failed(ctx, "download", l.id, err)
		}
	}
	return filepath.Join(snapshot, filepath.FromSlash(names[0])), nil
}

var errFolder = errors.New("is a folder")

// refresh makes the file at an address be at dest: it is fetched when it is not there,
// or when the server has another version.
func (s *session) refresh(ctx context.Context, u *url.URL, dest string) error {
	j := job{url: u, dest: dest, name: path.Base(u.Path), versioned: true}
	st, err := os.Stat(dest)
	switch {
	case err == nil && st.IsDir():
		return &Error{Op: "download", What: dest, Err: errFolder, Hint: "name the file, not the folder it goes to"}
	case s.Offline && err != nil:
		return &Error{Op: "find", What: show(u), Err: fmt.Errorf("%w (%s)", ErrNotCached, dest), Hint: "run it once without --offline; LLAMA_CACHE says where the cache is"}
	case s.Offline:
		return nil
	case err == nil:
		fresh, err := s.fresh(ctx, u, dest, st.Size())
		if fresh || err != nil {
			return err
		}
		j.replaces = st
	}
	return s.download(ctx, j)
}

// fresh asks the server whether dest is the version that it has. As with llama.cpp, a
// server that does not answer, or has no ETag, has no other.
func (s *session) fresh(ctx context.Context, u *url.URL, dest string, size int64) (bool, error) {
	r, stop, err := s.do(ctx, http.MethodHead, u, nil)
	if err != nil {
		if ctx.Err() != nil {
			return false, s.failed(ctx, "download", show(u), err)
		}
		slog.Warn("the server cannot be asked for a newer version; the file that is there is used", "file", dest, "error", err)
		return true, nil
	}
	defer stop()
	r.Body.Close()
	etag := r.Header.Get("ETag")
	if r.StatusCode/100 != 2 || etag == "" {
		return true, nil
	}
	have := readLine(dest + ".etag")
	if have == etag || (have == "" && r.ContentLength == size) {
		return true, nil
	}
	if have == "" && filepath.Dir(dest) != filepath.Clean(s.flat) {
		return false, &Error{Op: "download", What: dest, Err: errors.New("another file is there, which was not downloaded"), Hint: "give another name, or remove it"}
	}
	return false, nil
}

func readLine(path string) string {
	text, _ := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}
