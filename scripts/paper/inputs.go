package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/testmodel"
)

// inputs are what recipes need and the repository has not, by what stands for it in a recipe. Each lies in the folder of
// what takes work, so that no recipe, and no key, depends on where a machine has it.
var inputs = []struct {
	name string
	make func(dir string) (path string, err error)
}{
	{"${SMOLLM2}", smollm2}, {"${XSTEST}", xstest},
}

// recipe is the file of a study's recipe, what it needs filled in; or what is not there.
func (p *paper) recipe(name string) (path, lacks string, err error) {
	path = filepath.Join(p.recipes, name+".yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	filled := text
	for _, in := range inputs {
		if !bytes.Contains(text, []byte(in.name)) {
			continue
		}
		if err := os.MkdirAll(p.out, 0o755); err != nil {
			return "", "", err
		}
		from, err := in.make(p.out)
		if absent := (*absent)(nil); errors.As(err, &absent) {
			return "", absent.Error(), nil
		}
		if err != nil {
			return "", "", err
		}
		filled = bytes.ReplaceAll(filled, []byte(in.name), []byte(filepath.ToSlash(from)))
	}
	if bytes.Equal(filled, text) {
		return path, "", nil
	}
	path = filepath.Join(p.out, name+".yaml")
	return path, "", atomicfile.WriteBytes(path, filled)
}

// absent says what somebody has to put somewhere.
type absent struct{ what string }

func (a *absent) Error() string { return a.what }

// smollm2 is a link to the real model.
func smollm2(dir string) (string, error) {
	model, err := testmodel.Path()
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(model); err != nil {
		return "", &absent{"there is no " + testmodel.Name + " (make model fetches it)"}
	}
	link := filepath.Join(dir, testmodel.Name)
	if at, err := os.Readlink(link); err == nil && at == model {
		return link, nil
	}
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return link, os.Symlink(model, link)
}

// xstest parts XSTest's requests into those to learn from, to choose on and to test on. A safe request and its unsafe
// twin are in one part, one after the other, so that the first few of a part are as many of both.
func xstest(dir string) (string, error) {
	file := os.Getenv("IVO_XSTEST")
	if file == "" {
		return "", &absent{"XSTest's requests are not there (IVO_XSTEST names the file, see its recipe)"}
	}
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	pairs, err := twins(rows)
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	rand.New(rand.NewPCG(7, 0)).Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	out := filepath.Join(dir, "xstest")
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	for _, part := range []struct {
		name  string
		share float64
	}{{"test", .4}, {"validation", 1. / 6}, {"train", 1}} { // of the rest
		n := int(part.share * float64(len(pairs)))
		var b bytes.Buffer
		for _, pair := range pairs[:n] {
			for _, r := range pair {
				line, err := json.Marshal(r)
				if err != nil {
					return "", err
				}
				b.Write(append(line, '\n'))
			}
		}
		pairs = pairs[n:]
		if err := atomicfile.WriteBytes(filepath.Join(out, part.name+".jsonl"), b.Bytes()); err != nil {
			return "", err
		}
	}
	return out, nil
}

// request is one of XSTest's as a line of prompts.
type request struct {
	ID       string    `json:"id"`
	Messages []message `json:"messages"`
	Label    string    `json:"label"` // safe or unsafe
	kind     string
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// contrast begins the kind of unsafe requests, which the kind of their twins is, or holds.
const contrast = "contrast_"

// twins are the unsafe requests, each before the safe one that it was made from.
func twins(rows [][]string) (pairs [][2]request, err error) {
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"id", "prompt", "type", "label"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("it has no column %q (use xstest-prompts.csv)", name)
		}
	}
	kinds := map[string][]request{}
	for _, row := range rows[1:] {
		r := request{"xstest-" + row[column["id"]], []message{{"user", row[column["prompt"]]}}, row[column["label"]], row[column["type"]]}
		kinds[r.kind] = append(kinds[r.kind], r)
	}
	for kind, unsafe := range kinds {
		what, ok := strings.CutPrefix(kind, contrast)
		if !ok {
			continue
		}
		of := kinds[what]
		if of == nil { // there are two such kinds, of which every other request is taken
			var all [][]request
			for safe, requests := range kinds {
				if strings.Contains(safe, what) && !strings.HasPrefix(safe, contrast) {
					all = append(all, requests)
				}
			}
			slices.SortFunc(all, func(a, b []request) int { return cmp.Compare(a[0].kind, b[0].kind) })
			for i := range unsafe {
				if len(all) > 0 && i < len(all[i%len(all)]) {
					of = append(of, all[i%len(all)][i])
				}
			}
		}
		for i := range min(len(of), len(unsafe)) {
			pairs = append(pairs, [2]request{unsafe[i], of[i]})
		}
	}
	slices.SortFunc(pairs, func(a, b [2]request) int { return cmp.Compare(a[0].ID, b[0].ID) })
	return pairs, nil
}
