package hub

import (
	"context"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// fetch makes what is chosen from a listing whole in the cache, and returns its path, of a
// split model the first file's.
func (s *session) fetch(ctx context.Context, l *listing, choose chooser) (string, error) {
	paths := make([]string, len(l.files))
	for i, f := range l.files {
		paths[i] = f.path
	}
	names, err := choose(paths)
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
			if err := s.download(ctx, job{url: u, dest: blob, name: path.Base(f.path), size: f.size, oid: f.oid, any: !strings.HasSuffix(f.path, ".gguf")}); err != nil {
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
