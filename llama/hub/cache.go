package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// hubDir is the folder of the Hugging Face layout.
func hubDir(dir string) (string, error) {
	for _, v := range []string{dir, os.Getenv("LLAMA_CACHE"), os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE")} {
		if v != "" {
			return v, nil
		}
	}
	if v := os.Getenv("HF_HOME"); v != "" {
		return filepath.Join(v, "hub"), nil
	}
	if v := os.Getenv("XDG_CACHE_HOME"); v != "" {
		return filepath.Join(v, "huggingface", "hub"), nil
	}
	home, err := home()
	return filepath.Join(home, ".cache", "huggingface", "hub"), err
}

// flatDir is the folder of the flat layout.
func flatDir(dir string) (string, error) {
	if v := first(dir, os.Getenv("LLAMA_CACHE")); v != "" {
		return v, nil
	}
	switch runtime.GOOS {
	case "windows":
		if v := os.Getenv("LOCALAPPDATA"); v != "" {
			return filepath.Join(v, "llama.cpp"), nil
		}
	case "darwin":
		home, err := home()
		return filepath.Join(home, "Library", "Caches", "llama.cpp"), err
	}
	if v := os.Getenv("XDG_CACHE_HOME"); v != "" {
		return filepath.Join(v, "llama.cpp"), nil
	}
	home, err := home()
	return filepath.Join(home, ".cache", "llama.cpp"), err
}

func home() (string, error) {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", &Error{Op: "find", What: "cache", Err: err, Hint: "set LLAMA_CACHE to the folder for models"}
	}
	return dir, nil
}

// repoDir is the folder of a repository in the Hugging Face layout.
func (s *session) repoDir(id string) string {
	return filepath.Join(s.hub, "models--"+strings.ReplaceAll(id, "/", "--"))
}

var (
	commitHash = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)
	objectID   = regexp.MustCompile(`^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$`)
)

// isFile says whether a regular file, or a link to one, of that size (any if 0) is at path.
func isFile(path string, size int64) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && (size <= 0 || st.Size() == size)
}

// cached is the path of a file that was chosen from a repository's snapshot, or "".
func (s *session) cached(id string, choose chooser) string {
	dir := s.snapshot(id)
	if dir == "" {
		return ""
	}
	parts, err := choose(filesBelow(dir))
	if err != nil {
		return ""
	}
	return filepath.Join(dir, filepath.FromSlash(parts[0]))
}

// notCached is the error of a repository's file that is not there.
func (s *session) notCached(id, name string) error {
	if name != "" {
		id += ":" + name
	}
	return &Error{Op: "find", What: id, Err: fmt.Errorf("%w (%s)", ErrNotCached, s.hub), Hint: "run it once without {offline}; LLAMA_CACHE, HF_HUB_CACHE or HF_HOME say where the cache is"}
}

// snapshot is the folder of the commit that refs/main names, or another ref where
// there is no main; "" without one.
func (s *session) snapshot(id string) string {
	repo := s.repoDir(id)
	refs := filepath.Join(repo, "refs")
	names := []string{"main"}
	entries, _ := os.ReadDir(refs)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(refs, name))
		commit := strings.TrimSpace(string(text))
		if err != nil || !commitHash.MatchString(commit) {
			continue
		}
		dir := filepath.Join(repo, "snapshots", commit)
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return dir
		}
	}
	return ""
}

// filesBelow are the slash-separated paths of the files in dir; links that lead
// nowhere are none.
func filesBelow(dir string) []string {
	var out []string
	filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && isFile(p, 0) {
			if rel, err := filepath.Rel(dir, p); err == nil {
				out = append(out, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	return out
}

// flatPath is where older versions of llama.cpp keep a file of a repository.
func (s *session) flatPath(id, path string) string {
	return filepath.Join(s.flat, strings.ReplaceAll(id+"/"+path, "/", "_"))
}

// manifest is what older versions of llama.cpp store of the hub's answer to a tag.
type manifest struct {
	GGUF struct {
		Path string `json:"rfilename"`
		LFS  struct {
			SHA256 string `json:"sha256"`
		} `json:"lfs"`
	} `json:"ggufFile"`
}

func (s *session) manifest(id, tag string) (m manifest) {
	user, repo, _ := strings.Cut(id, "/")
	text, err := os.ReadFile(filepath.Join(s.flat, "manifest="+user+"="+repo+"="+tag+".json"))
	if err != nil || json.Unmarshal(text, &m) != nil {
		return manifest{}
	}
	return m
}

// flatCached is the path of a model in the flat layout, or "".
func (s *session) flatCached(id, tag, file string) string {
	if file == "" {
		file = s.manifest(id, first(tag, "latest")).GGUF.Path
	}
	prefix := filepath.Base(s.flatPath(id, ""))
	var names []string
	entries, _ := os.ReadDir(s.flat)
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), prefix); ok {
			names = append(names, name)
		}
	}
	parts, err := choose(id, names, tag, strings.ReplaceAll(file, "/", "_"))
	if err != nil {
		return ""
	}
	return filepath.Join(s.flat, prefix+parts[0])
}

// flatFetched is the path of a model whose files, as the hub lists them now, all lie in
// the flat layout, or "". As when llama.cpp moves them, a length vouches for a file, and
// a checksum where the manifest has one: hashing gigabytes at each start would not do.
func (s *session) flatFetched(id string, files []object) string {
	sums := make(map[string]string)
	user, repo, _ := strings.Cut(id, "/")
	prefix := "manifest=" + user + "=" + repo + "="
	entries, _ := os.ReadDir(s.flat)
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if tag, json := strings.CutSuffix(name, ".json"); ok && json {
			m := s.manifest(id, tag)
			sums[m.GGUF.Path] = m.GGUF.LFS.SHA256
		}
	}
	for _, f := range files {
		sum := sums[f.path]
		if f.size <= 0 || !isFile(s.flatPath(id, f.path), f.size) || (sum != "" && sum != f.oid) {
			return ""
		}
	}
	return s.flatPath(id, files[0].path)
}

// link makes the snapshot's name of a blob, by a relative link, or where links are not
// to be had by moving the blob there, as llama.cpp does.
func link(blob, name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(name), blob)
	if err != nil {
		return err
	}
	err = os.Symlink(target, name)
	if errors.Is(err, fs.ErrExist) {
		if there, _ := os.Readlink(name); filepath.ToSlash(there) == filepath.ToSlash(target) {
			return nil
		}
		// Another file stands there, of the wrong length or none.
		if err := os.Remove(name); err != nil {
			return err
		}
		err = os.Symlink(target, name)
	}
	if err != nil {
		return atomicfile.Rename(blob, name)
	}
	return nil
}

// find is the listed object of that path.
func find(files []object, path string) object {
	return files[slices.IndexFunc(files, func(f object) bool { return f.path == path })]
}
