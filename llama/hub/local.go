package hub

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/cachedir"
)

// Other programs keep models too. They are read where they lie, and never written.
//
// Ollama (docs/modelfile, fs/manifest in its source): $OLLAMA_MODELS or ~/.ollama/models, as a
// service of Linux /usr/share/ollama/.ollama/models, and in it
//
//	manifests/HOST/NAMESPACE/MODEL/TAG    JSON that names the model's blobs
//	blobs/sha256-HEX                      a blob: the GGUF file, a template, a licence
//
// LM Studio: ~/.lmstudio/models or, of old, ~/.cache/lm-studio/models, and in it
//
//	PUBLISHER/REPO/FILE.gguf
const (
	ollamaPrefix = "ollama:"
	studioPrefix = "lmstudio:"
)

// Local is a model that lies on this machine.
type Local struct {
	From  string // whose it is: "ivo", "Hugging Face", "llama.cpp", "Ollama" or "LM Studio"
	Name  Source // how it is asked for
	Path  string // of its file, or the first of them
	Bytes int64  // of all its files
}

// Models are the models that lie in the folders of ivo, of llama.cpp and the Hugging Face libraries, of
// Ollama and of LM Studio, in this order, each folder's by name. A folder that is not there, or may not be
// read, has none.
func Models(o Options) ([]Local, error) {
	s, err := open(o)
	if err != nil {
		return nil, err
	}
	var all []Local
	add := func(from, dir string, name func(rel string) Source) {
		files := filesBelow(dir)
		for _, rel := range files {
			if isModel(rel) {
				all = append(all, Local{from, name(rel), filepath.Join(dir, filepath.FromSlash(rel)), bytesOf(dir, rel, files)})
			}
		}
	}
	plain := func(dir string) func(string) Source {
		return func(rel string) Source { return Source{Path: filepath.Join(dir, filepath.FromSlash(rel))} }
	}
	if own, err := cachedir.Path("models"); err == nil {
		add("ivo", own, plain(own))
	}
	repos, _ := os.ReadDir(s.hub)
	for _, e := range repos {
		user, repo, ok := strings.Cut(strings.TrimPrefix(e.Name(), "models--"), "--")
		id := user + "/" + repo
		if dir := s.snapshot(id); ok && dir != "" {
			add("Hugging Face", dir, func(rel string) Source { return Source{Repo: id, File: rel} })
		}
	}
	if s.flat != s.hub {
		add("llama.cpp", s.flat, plain(s.flat))
	}
	for _, dir := range ollamaDirs() {
		all = append(all, ollamaModels(dir)...)
	}
	for _, dir := range studioDirs() {
		add("LM Studio", dir, func(rel string) Source { return Source{Path: studioPrefix + rel} })
	}
	return all, nil
}

// bytesOf is the size of a model with all its files.
func bytesOf(dir, rel string, files []string) (n int64) {
	names := []string{rel}
	if s, ok := parseSplit(rel); ok {
		names = nil
		for i := range s.count {
			names = append(names, s.name(i+1))
		}
	}
	for _, name := range names {
		if st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err == nil && slices.Contains(files, name) {
			n += st.Size()
		}
	}
	return n
}

// local is the path of a model of another program that was asked for by name. ok is whether it was.
func local(name string) (p string, ok bool, err error) {
	if rest, ok := cutFold(name, ollamaPrefix); ok {
		p, err = ollama(rest, ollamaDirs())
		return p, true, err
	}
	if rest, ok := cutFold(name, studioPrefix); ok {
		p, err = studio(rest, studioDirs())
		return p, true, err
	}
	return "", false, nil
}

func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// folders are those that exist of the places where a program may keep its models.
func folders(places ...string) (dirs []string) {
	for _, p := range places {
		if st, err := os.Stat(p); err == nil && st.IsDir() && !slices.Contains(dirs, p) {
			dirs = append(dirs, p)
		}
	}
	return dirs
}

func ollamaDirs() []string {
	if v := os.Getenv("OLLAMA_MODELS"); v != "" {
		return folders(v)
	}
	home, _ := os.UserHomeDir()
	places := []string{filepath.Join(home, ".ollama", "models")}
	if runtime.GOOS == "linux" {
		places = append(places, "/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models", "/var/lib/ollama/models")
	}
	return folders(places...)
}

func studioDirs() []string {
	home, _ := os.UserHomeDir()
	places := []string{filepath.Join(home, ".lmstudio", "models"), filepath.Join(home, ".cache", "lm-studio", "models")}
	var settings struct {
		Folder string `json:"downloadsFolder"`
	}
	if text, err := os.ReadFile(filepath.Join(home, ".lmstudio", "settings.json")); err == nil && json.Unmarshal(text, &settings) == nil && settings.Folder != "" {
		places = append([]string{settings.Folder}, places...)
	}
	return folders(places...)
}

// tagged is an Ollama model's name, [HOST/][NAMESPACE/]MODEL[:TAG], as the path of its manifest.
func tagged(name string) (manifest string, ok bool) {
	tag := "latest"
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		name, tag = name[:i], name[i+1:]
	}
	parts := strings.Split(name, "/")
	switch len(parts) {
	case 1:
		parts = append([]string{"registry.ollama.ai", "library"}, parts...)
	case 2:
		parts = append([]string{"registry.ollama.ai"}, parts...)
	}
	parts = append(parts, tag)
	for _, p := range parts {
		if !ollamaWord.MatchString(p) {
			return "", false
		}
	}
	return path.Join(parts...), len(parts) == 4
}

var (
	ollamaWord   = regexp.MustCompile(`^\w[\w.:-]*$`)
	ollamaDigest = regexp.MustCompile(`^sha256[:-]([0-9a-f]{64})$`)
)

// ollama is the path of the GGUF file of a model of Ollama's.
func ollama(name string, dirs []string) (string, error) {
	what := ollamaPrefix + name
	manifest, ok := tagged(name)
	if !ok {
		return "", &Error{Op: "find", What: fmt.Sprintf("%q", what), Err: errors.New("not a name of Ollama's"), Hint: "write ollama:MODEL or ollama:MODEL:TAG, such as ollama:llama3.2:1b"}
	}
	if len(dirs) == 0 {
		return "", &Error{Op: "find", What: what, Err: errors.New("Ollama has no models here"), Hint: "OLLAMA_MODELS names their folder where it is not ~/.ollama/models"}
	}
	for _, dir := range dirs {
		l, err := readOllama(dir, manifest)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return l.Path, err
		}
	}
	var names []string
	for _, dir := range dirs {
		for _, l := range ollamaModels(dir) {
			names = append(names, strings.TrimPrefix(l.Name.Path, ollamaPrefix))
		}
	}
	return "", &Error{Op: "find", What: what, Err: fmt.Errorf("%w (%s)", errNoModel, strings.Join(dirs, ", ")), Hint: cmp.Or(prefixed("Ollama has ", listed(names)), "Ollama has none") + "; ollama pull " + name + " fetches it"}
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// readOllama reads a manifest. The error is fs.ErrNotExist where there is none.
func readOllama(dir, manifest string) (l Local, err error) {
	parts := strings.Split(manifest, "/")
	name := ollamaPrefix + strings.TrimPrefix(strings.TrimPrefix(path.Join(parts[:3]...), "registry.ollama.ai/"), "library/") + ":" + parts[3]
	text, err := os.ReadFile(filepath.Join(dir, "manifests", filepath.FromSlash(manifest)))
	if errors.Is(err, fs.ErrNotExist) {
		return l, err
	}
	bad := func(err error, hint string) error { return &Error{Op: "find", What: name, Err: err, Hint: hint} }
	if err != nil {
		return l, bad(err, "Ollama keeps it where you may not read: ask for access, or copy the model")
	}
	var m struct {
		Layers []struct {
			MediaType, Digest string
			Size              int64
		}
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return l, bad(fmt.Errorf("its manifest is damaged: %w", err), "pull it with Ollama again")
	}
	for _, layer := range m.Layers {
		if layer.MediaType != "application/vnd.ollama.image.model" {
			continue
		}
		digest := ollamaDigest.FindStringSubmatch(layer.Digest)
		if digest == nil {
			return l, bad(fmt.Errorf("its manifest names no file: %.100q", layer.Digest), "pull it with Ollama again")
		}
		p := filepath.Join(dir, "blobs", "sha256-"+digest[1])
		if !isFile(p, layer.Size) {
			return l, bad(fmt.Errorf("its file is missing, cut off or not to be read: %s", p), "pull it with Ollama again, or ask for access")
		}
		return Local{"Ollama", Source{Path: name}, p, layer.Size}, nil
	}
	return l, bad(errors.New("it has no weights on this machine"), "take one that Ollama runs here, not in a cloud")
}

// ollamaModels are the models of one of Ollama's folders.
func ollamaModels(dir string) (all []Local) {
	for _, manifest := range filesBelow(filepath.Join(dir, "manifests")) {
		if strings.Count(manifest, "/") != 3 {
			continue
		}
		if l, err := readOllama(dir, manifest); err == nil {
			all = append(all, l)
		}
	}
	return all
}

// studio is the path of a model of LM Studio's: PUBLISHER/REPO, with a file or a :QUANT.
func studio(name string, dirs []string) (string, error) {
	what := studioPrefix + name
	if len(dirs) == 0 {
		return "", &Error{Op: "find", What: what, Err: errors.New("LM Studio has no models here"), Hint: "its folder is ~/.lmstudio/models, or the one that it is set to"}
	}
	id, tag, _ := strings.Cut(name, ":")
	var all []string
	for _, dir := range dirs {
		files := filesBelow(dir)
		if slices.Contains(files, name) {
			return filepath.Join(dir, filepath.FromSlash(name)), nil
		}
		var own []string
		for _, p := range files {
			if folder, rest, _ := cutFolder(p); strings.EqualFold(folder, id) {
				own = append(own, rest)
			} else if isModel(p) && !slices.Contains(all, folder) {
				all = append(all, folder)
			}
		}
		if len(own) > 0 {
			parts, err := choose(what, own, tag, "")
			if err != nil {
				return "", err
			}
			i := slices.IndexFunc(files, func(p string) bool {
				folder, rest, _ := cutFolder(p)
				return rest == parts[0] && strings.EqualFold(folder, id)
			})
			return filepath.Join(dir, filepath.FromSlash(files[i])), nil
		}
	}
	return "", &Error{Op: "find", What: what, Err: fmt.Errorf("%w (%s)", errNoModel, strings.Join(dirs, ", ")), Hint: cmp.Or(prefixed("LM Studio has ", listed(all)), "LM Studio has none")}
}

// cutFolder cuts a path behind PUBLISHER/REPO.
func cutFolder(p string) (folder, rest string, ok bool) {
	publisher, rest, ok := strings.Cut(p, "/")
	repo, rest, ok2 := strings.Cut(rest, "/")
	return publisher + "/" + repo, rest, ok && ok2
}
