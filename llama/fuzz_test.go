//go:build !llama_system

package llama_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// outcome is how far a file came.
type outcome int

const (
	refused outcome = iota
	loaded
	decoded
)

// exercise loads a file and uses whatever loads as a program would. Errors are fine;
// what is not fine ends the process, or is returned: an assertion of llama.cpp that was
// caught, but that a check in Go should have foreseen. The graph of an architecture may
// assert what it likes: that comes with NewContext and is not returned.
func exercise(path string, p llama.ModelParams, layers []int) (far outcome, bad error) {
	note := func(err error) {
		if err != nil && strings.Contains(err.Error(), "llama.cpp gave up") {
			bad = err
		}
	}
	m, err := llama.Load(path, p)
	if err != nil {
		note(err)
		return refused, bad
	}
	defer m.Close()
	var all []int32
	for id := range int32(m.Info().Vocab) {
		m.IsEOG(id)
		_, err := m.Piece(id, false)
		note(err)
		_, err = m.Piece(id, true)
		note(err)
		_, err = m.Token(id)
		note(err)
		all = append(all, id)
	}
	for _, special := range []bool{false, true} {
		_, err = m.Detokenize(all, special)
		note(err)
		for _, text := range []string{"", "abc ab a", "<s>a</s> <tool><|im_end|>", "zß水🙂\x00\n\t don't 123", "\xff\xfe\x80", strings.Repeat("ab ", 200)} {
			_, err = m.Tokenize(text, special, special)
			note(err)
			_, err = m.Tokenize(text, special, !special)
			note(err)
		}
	}
	_, err = m.RenderChat([]llama.Message{{Role: "user", Content: "hi"}, {Role: "assistant", Content: "ho"}}, llama.Chat{Open: true})
	note(err)
	_, err = m.Fingerprint()
	note(err)
	far = loaded
	ctx := 0 // the model's own, if it takes little memory, or more than there is
	if n := m.Info().ContextTrain; n > 4096 && n < 1<<26 {
		ctx = 4096
	}
	for _, cp := range []llama.ContextParams{
		{Ctx: 32, Batch: 8, UBatch: 2, Sequences: 2, Top: 3, Layers: layers},
		{Ctx: ctx, Sequences: 2, Embeddings: true, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32},
	} {
		cp.Threads = 1
		if decodeSome(m, cp) == nil {
			far = decoded
		}
	}
	return far, bad
}

// decodeSome decodes, forks, decodes again and looks at the rows. The error is of the
// first step that failed.
func decodeSome(m *llama.Model, p llama.ContextParams) error {
	c, err := m.NewContext(p)
	if err != nil {
		return err
	}
	defer c.Close()
	vocab := int32(m.Info().Vocab)
	for i := range int32(4) {
		if _, err := c.Add(i*7%max(vocab, 1), i, 0, i >= 2, 0.5); err != nil {
			return err
		}
	}
	if err := c.Decode(); err != nil {
		return err
	}
	for i := range c.Rows() {
		if _, err := c.Row(i); err != nil {
			return err
		}
	}
	if err := c.Fork(0, 1); err != nil {
		return err
	}
	for seq := range int32(2) {
		if _, err := c.Add(vocab-1-seq, 4, seq, true, 0); err != nil {
			return err
		}
	}
	if err := c.Decode(); err != nil {
		return err
	}
	saved, err := c.SaveSequence(1)
	if err != nil {
		return err
	}
	if err := c.RestoreSequence(0, saved); err != nil {
		return err
	}
	if err := c.Trim(1, 2); err != nil {
		return err
	}
	return c.Clear()
}

// exerciseBytes writes a file and exercises it.
func exerciseBytes(dir, base string, file []byte, seed uint64) (outcome, error) {
	path := filepath.Join(dir, "fuzz.gguf")
	if err := os.WriteFile(path, file, 0o644); err != nil {
		return refused, err
	}
	if base == adapterBase {
		return exerciseAdapter(dir, path)
	}
	p := llama.ModelParams{VocabOnly: seed%16 == 0, NoMmap: seed%3 == 0, CheckTensors: seed%5 == 0}
	var layers []int
	if seed%2 == 0 {
		layers = []int{0, fuzzLayers}
	}
	return exercise(path, p, layers)
}

// exerciseAdapter loads a LoRA adapter for the undamaged llama base and decodes with it.
func exerciseAdapter(dir, path string) (far outcome, bad error) {
	model := filepath.Join(dir, "base.gguf")
	if _, err := os.Stat(model); err != nil {
		if err := os.WriteFile(model, rawBase("llama").bytes(), 0o644); err != nil {
			return refused, err
		}
	}
	m, err := llama.Load(model, llama.ModelParams{})
	if err != nil {
		return refused, err
	}
	defer m.Close()
	lora, err := m.LoadLoRA(path)
	if err != nil {
		if strings.Contains(err.Error(), "llama.cpp gave up") {
			bad = err
		}
		return refused, bad
	}
	c, err := m.NewContext(llama.ContextParams{Threads: 1})
	if err != nil {
		return refused, err
	}
	defer c.Close()
	if err := c.SetLoRA(llama.LoRAScale{LoRA: lora, Scale: 0.5}); err != nil {
		return loaded, nil
	}
	for i := range int32(3) {
		if _, err := c.Add(i, i, 0, true, 0); err != nil {
			return loaded, err
		}
	}
	if err := c.Decode(); err != nil {
		return loaded, nil
	}
	return decoded, nil
}

// Every undamaged base loads and decodes: otherwise the mutations would test nothing.
func TestFuzzBases(t *testing.T) {
	for _, base := range fuzzBases {
		path := filepath.Join(t.TempDir(), base)
		if err := os.WriteFile(path, rawBase(base).bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		if f, err := gguf.Read(path); err != nil {
			t.Errorf("%s: %v", base, err)
		} else if kvs, _ := fuzzModel(base); len(f.KVs) != len(kvs) {
			t.Errorf("%s: %d entries", base, len(f.KVs))
		}
		if far, err := exercise(path, llama.ModelParams{}, nil); err != nil || far != decoded && base != "mamba" { // its memory cannot be trimmed
			t.Errorf("%s: outcome %d, %v", base, far, err)
		}
		m := load(t, path)
		if tokens, err := m.Tokenize("ab abc", true, true); base != "none" && (err != nil || len(tokens) == 0) {
			t.Errorf("%s: tokenized to %v, %v", base, tokens, err)
		}
	}
}

// The undamaged adapter changes what is decoded.
func TestFuzzAdapter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "adapter.gguf")
	if err := os.WriteFile(path, rawBase(adapterBase).bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if far, err := exerciseAdapter(t.TempDir(), path); far != decoded || err != nil {
		t.Errorf("outcome %d, %v", far, err)
	}
}

// FuzzLoad damages a base by a seed's mutations and then writes single bytes: each
// four bytes of patch are an offset and a value.
func FuzzLoad(f *testing.F) {
	for i := range mutatedBases {
		f.Add(uint8(i), uint64(0), []byte{})
		f.Add(uint8(i), uint64(i+1), []byte{8, 0, 0, 1})
	}
	f.Fuzz(func(t *testing.T, base uint8, seed uint64, patch []byte) {
		name := mutatedBases[int(base)%len(mutatedBases)]
		file := rawBase(name).bytes()
		what := "nothing"
		if seed != 0 {
			file, what = mutate(name, seed)
		}
		for len(patch) >= 4 && len(file) > 0 {
			at := int(patch[0]) | int(patch[1])<<8 | int(patch[2])<<16
			file[at%len(file)] = patch[3]
			patch = patch[4:]
		}
		if _, err := exerciseBytes(t.TempDir(), name, file, seed); err != nil {
			t.Errorf("%s: %s: %v", name, what, err)
		}
	})
}

// mutationsEnv holds, for a child process, the seeds it is to run, as from:to.
const mutationsEnv = "IVO_MUTATIONS"

// TestMutations loads damaged files in child processes: one that dies names the seed
// and what the damage was. IVO_MUTATIONS=from:to runs these seeds in this process, to
// reproduce one; IVO_MUTATIONS_COUNT and _START choose how many seeds and from where, and
// IVO_MUTATIONS_GROWN damages the models of TestArchitectures, a hundred times each.
func TestMutations(t *testing.T) {
	if seeds := os.Getenv(mutationsEnv); seeds != "" {
		runMutations(t, seeds)
		return
	}
	n := envInt("IVO_MUTATIONS_COUNT", 2000)
	if testing.Short() {
		n = min(n, 200)
	}
	from := envInt("IVO_MUTATIONS_START", 1)
	end := from + n
	failures := 0
	for from < end && failures < envInt("IVO_MUTATIONS_FAILURES", 20) {
		last, what, out := mutationsChild(t, from, end)
		if last == end {
			break
		}
		failures++
		t.Errorf("%s=%d:%d ended the process: %s\n%s", mutationsEnv, last, last+1, what, out)
		from = last + 1
	}
}

func envInt(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// mutationsChild runs seeds in a child until one ends it; last is that seed, or end.
func mutationsChild(t *testing.T, from, end int) (last int, what, out string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMutations$", "-test.v")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d:%d", mutationsEnv, from, end), "GOTRACEBACK=none")
	var stderr beginning
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A file that hangs the child for a minute is as bad as one that ends it.
	hang := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer hang.Stop()
	last = from
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		hang.Reset(time.Minute)
		line := lines.Text()
		if s, ok := strings.CutPrefix(line, "mutation "); ok {
			seed, rest, _ := strings.Cut(s, " ")
			last, _ = strconv.Atoi(seed)
			what = rest
		} else if s, ok := strings.CutPrefix(line, "finding "); ok {
			t.Errorf("%s", s)
		} else if s, ok := strings.CutPrefix(line, "all done "); ok {
			last = end
			t.Log(s)
		}
	}
	if err := cmd.Wait(); err != nil && last == end {
		t.Errorf("%v\n%s", err, stderr.b)
	}
	return last, what, string(stderr.b)
}

// beginning keeps the first bytes written to it: they name the assertion or signal.
type beginning struct{ b []byte }

func (t *beginning) Write(p []byte) (int, error) {
	t.b = append(t.b, p[:min(len(p), 400-len(t.b))]...)
	return len(p), nil
}

// runMutations is the child's side.
func runMutations(t *testing.T, seeds string) {
	a, b, _ := strings.Cut(seeds, ":")
	from, err1 := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	grown := os.Getenv("IVO_MUTATIONS_GROWN") != ""
	limitMemory(8 << 30)
	var count [decoded + 1]int
	dir := t.TempDir()
	for seed := from; seed < to; seed++ {
		base := mutatedBases[seed%len(mutatedBases)]
		if grown {
			base = "grown " + architectures[seed/100%len(architectures)]
		}
		file, what := mutate(base, uint64(seed))
		fmt.Printf("mutation %d %s: %s\n", seed, base, strings.ReplaceAll(what, "\n", `\n`))
		far, err := exerciseBytes(dir, base, file, uint64(seed))
		count[far]++
		if err != nil && !grown { // an architecture may assert on its own numbers, if that comes back as an error
			fmt.Printf("finding %d %s: %s: %v\n", seed, base, strings.ReplaceAll(what, "\n", `\n`), err)
		}
		if peak := peakMemory(); peak > 1<<30 {
			fmt.Printf("finding %d %s: %s: %d MiB of memory were in use\n", seed, base, strings.ReplaceAll(what, "\n", `\n`), peak>>20)
		}
	}
	fmt.Printf("all done %d files: %d refused, %d loaded, %d decoded too\n", to-from, count[refused], count[loaded], count[decoded])
}
