package head

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/safetensors"
	"github.com/ivo-decoding/ivo/llama/hub"
)

// headTensors are the tensors that Import reads, by how their names begin.
var headTensors = []string{"score.", "v_head.", "regression_layer.", "gating.", "reward_transform_matrix", "model.norm."}

// Download brings what Import needs of a repository of Hugging Face into the cache and returns the folder:
// of a large checkpoint the files alone in which the head lies.
func Download(ctx context.Context, repo string, o hub.Options) (folder string, err error) {
	index := ""
	folder, err = hub.Files(ctx, repo, func(names []string) ([]string, error) {
		var chosen, tensors []string
		for _, name := range names {
			switch {
			case slices.Contains([]string{"config.json", "tokenizer_config.json", "chat_template.jinja"}, name):
				chosen = append(chosen, name)
			case strings.HasSuffix(name, ".safetensors.index.json"):
				index = name
			case strings.HasSuffix(name, ".safetensors"):
				tensors = append(tensors, name)
			}
		}
		switch {
		case !slices.Contains(chosen, "config.json"):
			return nil, errors.New("it has no config.json")
		case index != "":
			return append(chosen, index), nil
		case len(tensors) != 1:
			return nil, errors.New("it has no safetensors file, or several without an index")
		}
		return append(chosen, tensors[0]), nil
	}, o)
	if err != nil || index == "" {
		return folder, err
	}
	c, err := safetensors.Open(filepath.Join(folder, index))
	if err != nil {
		return "", err
	}
	var files []string
	for _, name := range c.Names() {
		if slices.ContainsFunc(headTensors, func(begin string) bool { return strings.HasPrefix(name, begin) }) {
			files = append(files, filepath.Base(c.File(name)))
		}
	}
	slices.Sort(files)
	if files = slices.Compact(files); len(files) == 0 {
		return folder, nil // Import says that there is no head
	}
	return hub.Files(ctx, repo, func(names []string) ([]string, error) {
		for _, f := range files {
			if !slices.Contains(names, f) {
				return nil, errors.New(f + " is missing, which its index names")
			}
		}
		return files, nil
	}, o)
}
