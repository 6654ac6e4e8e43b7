package reward

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A spec is told with other names of its files, wherever they stand in it, and one that starts a program or
// asks a server is not told at all.
func TestCarry(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"head.gguf", "m@n.gguf"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	move := func(name string) (string, error) {
		if name == "gone" {
			return "", errors.New("it is gone")
		}
		return "<" + name + ">", nil
	}
	for spec, want := range map[string]string{
		"sentiment":                             "sentiment",
		"0.5*length:60c - regex:'a + length:3'": "0.5*length:60c + -1*regex:'a + length:3'",
		"json":                                  "json",
		"json:fenced":                           "json:fenced",
		"json:s.json":                           "json:<s.json>",
		"json:fenced:s.json":                    "json:fenced:<s.json>",
		"head:head.gguf@m@n.gguf":               "head:<head.gguf>@<m@n.gguf>",
		"cls:m@n.gguf":                          "cls:<m@n.gguf>",
		"cls:good@c.gguf":                       "cls:good@<c.gguf>",
		"judge:j,k.gguf,reply=json,template=t":  "judge:<j,k.gguf>,reply=json,template=<t>",
		"lower:2(cls:c.gguf, 2*distinct)":       "lower:2(cls:<c.gguf>, 2*distinct)",
		"cmd:sh score.sh":                       "!cmd:sh score.sh is asked by the machine",
		"gold + http://host/path":               "!http:",
		"min(gold, cmd:sh x)":                   "!cmd:sh x",
		"judge:https://host/v1":                 "!judge:https:",
		"cls:gone":                              "!it is gone",
	} {
		got, err := Carry(spec, move)
		if text, bad := strings.CutPrefix(want, "!"); bad {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: got %q, %v", spec, got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", spec, got, err, want)
		}
		if _, err := parse(got); err != nil {
			t.Errorf("%s cannot be read: %v", got, err)
		}
	}
}
