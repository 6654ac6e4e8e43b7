package fleet

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
)

// A worker starts no program, asks no server and reads no file of its own because another says so.
func TestWorkerObeysNobody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "touched")
	j := &judge{hand: &hand{worker: &worker{o: WorkerOptions{Cache: t.TempDir(), Say: func(string) {}}}}}
	for _, spec := range []string{"cmd:touch " + file, "0.5*length:3 + cmd:touch " + file, "http://127.0.0.1:1/", "judge:http://127.0.0.1:1/v1", "json:/etc/hostname", "cls:../../model.gguf", "judge:/m.gguf,template=/etc/passwd"} {
		if _, err := j.reward(context.Background(), &batch.Asking{Reward: spec}); err == nil {
			t.Errorf("%s is opened", spec)
		} else {
			t.Log(err)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the program ran")
	}
}
