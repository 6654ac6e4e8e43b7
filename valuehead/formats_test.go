package valuehead

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// docs/formats.md names every key of a head's file.
func TestFormatsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## A value head\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := map[string]bool{}
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		family := ""
		for _, m := range regexp.MustCompile("`([a-z0-9_.]+)`").FindAllStringSubmatch(cells[1], -1) {
			key := m[1]
			if strings.HasPrefix(key, ".") { // of the same family as the one before it
				key = family + key
			}
			family, _, _ = strings.Cut(key, ".")
			named[prefix+key] = true
		}
	}

	head, _ := mustTrain(t, synthetic(t, 40, 1), TrainOptions{Kind: Linear, Epochs: 1})
	head.shape.Values, head.shape.Match = 1, MatchTokens
	head.features.schema.Norms, head.features.schema.Top = "norms", 64
	head.probe = &Probe{Tokens: []int32{1, 2}, From: 1, States: make([]float32, head.features.schema.Width)}
	head.advantages = &Advantages{features: head.features, vocabulary: 1, table: make([]float32, 1)}
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := head.Save(path); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range f.KVs {
		if strings.HasPrefix(kv.Key, prefix) && !named[kv.Key] {
			t.Errorf("docs/formats.md does not name %s", kv.Key)
		}
	}
}
