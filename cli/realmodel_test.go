package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// The main job on a real model with a real reward, in small: conversations are answered and
// scored, a value function is learned and guides what follows, another reward is learned from the
// same states. The model is prompted alike throughout.
func TestRealModel(t *testing.T) {
	model := testmodel.SmolLM2(t)
	dir := t.TempDir()
	prompts, out := filepath.Join(dir, "messages.jsonl"), filepath.Join(dir, "run")
	var lines bytes.Buffer
	for i, topic := range []string{"a film", "a hotel", "a train journey", "a cake"} {
		fmt.Fprintf(&lines, `{"id": %d, "messages": [{"role": "user", "content": "Tell me about %s <|im_end|> in one sentence."}]}`+"\n", i, topic)
	}
	if err := os.WriteFile(prompts, lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	ivo := func(args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := Main(append([]string{"ivo"}, args...), &stdout, &stderr); code != 0 {
			t.Fatalf("%q: exit code %d: %s", args, code, stderr.String())
		}
		return stdout.String()
	}
	ivo("iterate", "-m", model, "--prompts", prompts, "--reward", "sentiment", "--out", out, "--rounds", "1", "--samples", "2", "-n", "8",
		"-c", "1024", "--parallel", "8", "--hidden", "8", "--epochs", "1", "--hold-out", "0", "-sys", "You answer kindly.")
	head := filepath.Join(out, "iter-01", "head.gguf")
	text := ivo("generate", "-m", model, "--prompts", prompts, "--method", "block-beam", "--beams", "2", "--block", "4", "-n", "8", "--value-head", head,
		"-s", "1", "-sys", "You answer kindly.")
	shard, err := states.Open(filepath.Join(out, "iter-01", "states", "0000.states"))
	if err != nil {
		t.Fatal(err)
	}
	defer shard.Close()
	dec := json.NewDecoder(bytes.NewReader([]byte(text)))
	for i := range 4 {
		var r batch.Record
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		learned, err := shard.Prompt(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if r.ID != fmt.Sprint(i) || len(r.Messages) != 1 || r.PromptLen != len(learned.Tokens) {
			t.Errorf("prompt %s, %d messages of %d tokens where %d were learned on", r.ID, len(r.Messages), r.PromptLen, len(learned.Tokens))
		}
		if r.Value == nil || math.IsNaN(float64(*r.Value)) || math.Abs(float64(*r.Value)) > 1.001 || r.Emitted > 0 && r.Decoded < r.Emitted-1 {
			t.Errorf("prompt %s: value %v, %d of %d tokens decoded", r.ID, r.Value, r.Decoded, r.Emitted)
		}
	}
	ivo("score", out, "--reward", "0.5*distinct + 0.5*length:8")
}
