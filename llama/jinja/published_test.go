package jinja

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/internal/pinned"
)

// All templates that llama.cpp's pinned release carries are rendered as Jinja2 does, with every
// conversation of testdata, the assistant's turn opened and not; what one refuses the other does
// too. scripts/agree/templates.py made the references. Where Jinja2 cannot run a template on a
// conversation there is nothing to compare with. The templates are there when the release is linked
// (make LLAMA=TAG test), or IVO_TEMPLATES names their folder.
func TestPublishedTemplates(t *testing.T) {
	dir := os.Getenv("IVO_TEMPLATES")
	if prefix := os.Getenv("IVO_LLAMA_CPP"); dir == "" && strings.HasPrefix(filepath.Base(prefix), pinned.LlamaCpp.Tag+".") {
		dir = filepath.Join(prefix, "share", "models", "templates")
	}
	if dir == "" {
		t.Skip("the templates are not there: make LLAMA=" + pinned.LlamaCpp.Tag + " test brings them")
	}
	var conversations []struct {
		Name     string
		Messages []map[string]json.RawMessage
		Extra    map[string]json.RawMessage
	}
	data, err := os.ReadFile("testdata/conversations.json")
	if err == nil {
		err = json.Unmarshal(data, &conversations)
	}
	if err != nil {
		t.Fatal(err)
	}
	references, err := os.ReadFile("testdata/renderings.txt")
	if err != nil {
		t.Fatal(err)
	}
	short := func(text []byte) string {
		sum := sha256.Sum256(text)
		return hex.EncodeToString(sum[:8])
	}
	var templates, equal, refused, failed, without, differ int
	for line := range strings.Lines(string(references)) {
		fields := strings.Fields(line)
		name, sum, want := fields[0], fields[1], fields[2:]
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if short(text) != sum || len(want) != 2*len(conversations) {
			t.Fatalf("%s or the conversations have changed: make the references anew (scripts/agree/templates.py)", name)
		}
		templates++
		for i, c := range conversations {
			p := Params{BOS: "<s>", EOS: "</s>", Now: time.Date(2024, 7, 5, 15, 4, 9, 0, time.UTC), Extra: map[string]any{}}
			for _, m := range c.Messages {
				one := Message{Fields: map[string]json.RawMessage{}}
				for key, value := range m {
					switch {
					case key == "role":
						err = json.Unmarshal(value, &one.Role)
					case key == "content" && value[0] == '"': // other contents are fields
						err = json.Unmarshal(value, &one.Content)
					default:
						one.Fields[key] = value
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				p.Messages = append(p.Messages, one)
			}
			for key, value := range c.Extra {
				p.Extra[key] = value
			}
			for j, open := range []bool{false, true} {
				p.AddGenerationPrompt = open
				got, err := Render(string(text), p)
				var bad *Error
				switch w := want[2*i+j]; {
				case w == "!" && err == nil:
					without++
				case w == "!":
					failed++
				case w == "-" && errors.As(err, &bad) && bad.Raised:
					refused++
				case err == nil && short([]byte(got)) == w:
					equal++
				default:
					differ++
					t.Errorf("%s, %q, opened %t: %v; see scripts/agree/templates.py. Ours:\n%s", name, c.Name, open, err, got)
				}
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.jinja"))
	if err != nil || len(files) != templates {
		t.Errorf("%d templates, %d references, %v", len(files), templates, err)
	}
	t.Logf("%d templates, %d renderings: %d equal to Jinja2's, %d refused by both, %d that neither can run, %d different; %d that Jinja2 alone cannot run",
		templates, equal+refused+failed+without+differ, equal, refused, failed, differ, without)
}
