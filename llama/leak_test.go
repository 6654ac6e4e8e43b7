package llama_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// leakMargin is what 200 cycles may add to the memory in use. What one cycle makes takes
// a megabyte, so a leak of a fiftieth of it shows. (The embedded llama.cpp loses 104 bytes
// a tensor and load, in weight_buft_supported.)
const leakMargin = 4 << 20

const leakEnv = "IVO_LEAK"

// Opening and closing leaves nothing behind: models with a context and a decode,
// contexts alone, and loads that fail half way. Each runs in a process of its own, whose
// memory no other test disturbs.
func TestLeaks(t *testing.T) {
	if residentMemory() == 0 || raceDetector {
		t.Skip("the memory in use is known on Linux only, and not with the race detector's own")
	}
	if name := os.Getenv(leakEnv); name != "" {
		measureLeak(t, name)
		return
	}
	if testing.Short() {
		t.Skip("800 cycles")
	}
	for name := range leakCycles {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestLeaks$", "-test.v")
			cmd.Env = append(os.Environ(), leakEnv+"="+name,
				// Left to itself glibc has an arena a thread, and keeps what is freed in the middle of one:
				// how much that is differs by megabytes from run to run. What is mapped by itself goes back.
				"MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=1024", "MALLOC_TRIM_THRESHOLD_=1024")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// leakCycles prepare a cycle.
var leakCycles = map[string]func(*testing.T) func(){
	"models": func(t *testing.T) func() {
		path := randomModel(t, "llama", 1, nil)
		mmap := false
		return func() {
			mmap = !mmap
			m, err := llama.Load(path, llama.ModelParams{NoMmap: mmap, CheckTensors: true})
			if err != nil {
				t.Fatal(err)
			}
			openContext(t, m)
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	},
	"adapters": func(t *testing.T) func() {
		path := randomModel(t, "llama", 1, nil)
		lora := newAdapter(1).write(t, nil)
		return func() {
			m, err := llama.Load(path, llama.ModelParams{})
			if err != nil {
				t.Fatal(err)
			}
			for range 20 { // one is small
				if _, err := m.LoadLoRA(lora); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	},
	"contexts": func(t *testing.T) func() {
		m := load(t, randomModel(t, "llama", 1, nil))
		return func() { openContext(t, m) }
	},
	"failing loads": func(t *testing.T) func() {
		dir := t.TempDir()
		var paths []string
		for name, edit := range map[string]func(*rawFile){
			"vocabulary": setting("tokenizer.ggml.model", "magic"),
			"key":        func(f *rawFile) { f.drop("llama.context_length") },
			"tensor":     func(f *rawFile) { f.tensors = f.tensors[:len(f.tensors)-1] },
			"shape":      tensorDims("blk.1.ffn_down.weight", 32, 32),
			"layers":     setting("llama.block_count", uint32(3)),
			"header":     func(f *rawFile) { f.cut = 100000 },
			"check":      setting("llama.expert_count", uint32(100)),
			"data": func(f *rawFile) {
				f.tensors[0].data = append([]byte{}, f.tensors[0].data...)
				copy(f.tensors[0].data, le(nan32))
			},
		} {
			f := rawBase("llama")
			edit(f)
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
		next := 0
		return func() {
			path := paths[next%len(paths)]
			next++
			if m, err := llama.Load(path, llama.ModelParams{CheckTensors: true}); err == nil {
				m.Close()
				t.Fatalf("%s was loaded", path)
			}
		}
	},
}

// openContext makes a context, decodes with it and closes it.
func openContext(t *testing.T, m *llama.Model) {
	c, err := m.NewContext(llama.ContextParams{Threads: 1, Sequences: 4, Top: 5, Layers: []int{0, testLayers}})
	if err != nil {
		t.Fatal(err)
	}
	feed(t, c, 0, 0, 1, 2, 3, 4)
	if err := c.Fork(0, 1); err != nil {
		t.Fatal(err)
	}
	feed(t, c, 1, 4, 5)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// measureLeak runs one kind of cycle, 50 to warm up and 200 to measure.
func measureLeak(t *testing.T, name string) {
	cycle := leakCycles[name](t)
	run := func(n int) int64 {
		for range n {
			cycle()
		}
		debug.FreeOSMemory()
		return residentMemory()
	}
	before := run(50)
	after := run(200)
	t.Logf("%s: %d KiB after 50 cycles, %d KiB after 250", name, before>>10, after>>10)
	if after > before+leakMargin {
		t.Errorf("%s: 200 cycles added %d KiB", name, (after-before)>>10)
	}
}
