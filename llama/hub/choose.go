package hub

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// repoID is what llama.cpp takes for a repository: words joined by single dots, dashes
// and one slash.
var repoID = regexp.MustCompile(`^\w+([.-]\w+)*/\w+([.-]\w+)*$`)

// parseRepo splits USER/REPO[:QUANT].
func parseRepo(s string) (id, tag string, err error) {
	id, tag, _ = strings.Cut(s, ":")
	if !repoID.MatchString(id) || len(id) > 256 {
		return "", "", &Error{Op: "find", What: fmt.Sprintf("%q", s), Err: errors.New("not a repository"), Hint: "write user/repo or user/repo:quant, such as ggml-org/gemma-3-1b-it-GGUF:Q8_0"}
	}
	return id, tag, nil
}

// split is the name of one file of a split model, PREFIX-00001-of-00003.gguf.
type split struct {
	prefix       string
	index, count int
}

var splitName = regexp.MustCompile(`^(.+)-(\d{5})-of-(\d{5})\.gguf$`)

func parseSplit(name string) (s split, ok bool) {
	m := splitName.FindStringSubmatch(name)
	if m == nil {
		return s, false
	}
	s.prefix = m[1]
	fmt.Sscanf(m[2], "%d", &s.index)
	fmt.Sscanf(m[3], "%d", &s.count)
	return s, s.count > 1
}

func (s split) name(index int) string {
	return fmt.Sprintf("%s-%05d-of-%05d.gguf", s.prefix, index, s.count)
}

// notModels are parts of the names of GGUF files that are no models by themselves.
var notModels = []string{"mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-", "head.gguf"}

// isModel says whether a path is that of a model, or of the first file of one.
func isModel(p string) bool {
	if !strings.HasSuffix(p, ".gguf") {
		return false
	}
	name := path.Base(p)
	if slices.ContainsFunc(notModels, func(s string) bool { return strings.Contains(name, s) }) {
		return false
	}
	s, ok := parseSplit(p)
	return !ok || s.index == 1
}

// choose picks the model among the paths of a repository's files: file if it is not
// empty, else by the quantization tag. It returns the paths of all its files.
func choose(id string, paths []string, tag, file string) ([]string, error) {
	var chosen string
	if file != "" {
		if i := slices.IndexFunc(paths, func(p string) bool { return strings.EqualFold(p, file) }); i >= 0 {
			chosen = paths[i]
		}
	} else {
		chosen = byTag(paths, tag)
	}
	if chosen == "" {
		return nil, nothing(id, paths, tag, file)
	}
	s, ok := parseSplit(chosen)
	if !ok {
		return []string{chosen}, nil
	}
	var parts []string
	for i := 1; i <= s.count; i++ {
		if !slices.Contains(paths, s.name(i)) {
			return nil, &Error{Op: "find", What: id, Err: fmt.Errorf("%w: %s, file %d of the model's %d", errIncomplete, s.name(i), i, s.count), Hint: "choose another quantization, or tell who uploaded it"}
		}
		parts = append(parts, s.name(i))
	}
	return parts, nil
}

// chooser picks files among the paths of a repository's.
type chooser func(paths []string) ([]string, error)

// chooseHead picks a value head: file if it is not empty, without .gguf or its folder too,
// else head.gguf, as ivo iterate names it, else the only GGUF file that has head in its
// name, or the only one.
func chooseHead(id string, paths []string, file string) ([]string, error) {
	var all []string
	for _, p := range paths {
		if strings.HasSuffix(strings.ToLower(p), ".gguf") {
			all = append(all, p)
		}
	}
	only := func(ok func(string) bool) string {
		var found []string
		for _, p := range all {
			if ok(p) {
				found = append(found, p)
			}
		}
		if len(found) != 1 {
			return ""
		}
		return found[0]
	}
	called := func(names ...string) func(string) bool {
		return func(p string) bool {
			return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(p, n) || strings.EqualFold(path.Base(p), n) })
		}
	}
	var chosen string
	if file != "" {
		if i := slices.IndexFunc(all, func(p string) bool { return strings.EqualFold(p, file) || strings.EqualFold(p, file+".gguf") }); i >= 0 {
			return all[i : i+1], nil
		}
		chosen = only(called(file, file+".gguf"))
	} else {
		chosen = first(only(called("head.gguf")), only(func(p string) bool { return strings.Contains(strings.ToLower(path.Base(p)), "head") }), only(func(string) bool { return true }))
	}
	if chosen != "" {
		return []string{chosen}, nil
	}
	e := &Error{Op: "find", What: id, Err: errNoHead, Hint: "it has no GGUF files: check the name"}
	if file != "" {
		e.Err = fmt.Errorf("%w: file %q", errNoHead, file)
	}
	if len(all) > 0 {
		e.Hint = "name one of its files after a colon: " + listed(all)
	}
	return nil, e
}

// listed names the first of many files.
func listed(names []string) string {
	const most = 30
	if len(names) > most {
		names = append(names[:most:most], "...")
	}
	return strings.Join(names, ", ")
}

var (
	errNoHead     = errors.New("no such value head, or several")
	errNoModel    = errors.New("no such GGUF model")
	errIncomplete = errors.New("a file is missing")
)

func byTag(paths []string, tag string) string {
	models := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return !isModel(p) })
	tags := []string{tag}
	if tag == "" {
		tags = []string{"Q4_K_M", "Q8_0"}
	}
	for _, t := range tags {
		quoted := "(?i)" + regexp.QuoteMeta(t) + "[.-]"
		for _, pattern := range []string{strings.Replace(quoted, "(?i)", "(?i)(^|[-./_])", 1), quoted} {
			match := regexp.MustCompile(pattern).MatchString
			if i := slices.IndexFunc(models, match); i >= 0 {
				return models[i]
			}
		}
	}
	if tag == "" && len(models) > 0 {
		return models[0]
	}
	return ""
}

var quantName = regexp.MustCompile(`[-.]([A-Za-z0-9_]+)(-\d{5}-of-\d{5})?\.gguf$`)

// nothing is the error of a repository that has no such file, and says what it has.
func nothing(id string, paths []string, tag, file string) error {
	e := &Error{Op: "find", What: id, Err: errNoModel}
	var has []string
	for _, p := range paths {
		if !isModel(p) {
			continue
		}
		name := p
		if m := quantName.FindStringSubmatch(p); m != nil && file == "" {
			name = strings.ToUpper(m[1])
		}
		if !slices.Contains(has, name) {
			has = append(has, name)
		}
	}
	switch {
	case len(has) == 0:
		e.Hint = "it has no GGUF models: look for a repository of the same model whose name ends in -GGUF"
	case file != "":
		e.Err = fmt.Errorf("%w: file %q", errNoModel, file)
		e.Hint = "it has " + listed(has)
	default:
		e.Err = fmt.Errorf("%w: quantization %q", errNoModel, tag)
		e.Hint = "it has " + listed(has)
	}
	return e
}
