package cli

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

func TestMain(m *testing.M) {
	testscript.Main(cleaning{m}, programs)
}

// programs are what the test's executable is by other names.
var programs = map[string]func(){
	"ivo": func() {
		ended := faulty()
		code := Main(os.Args, os.Stdout, stopper(os.Stderr))
		ended()
		os.Exit(code)
	},
}

// cleaning removes what the tests share when they are over.
type cleaning struct{ m *testing.M }

func (c cleaning) Run() int {
	code := c.m.Run()
	if shared != "" {
		os.RemoveAll(shared)
	}
	return code
}

var shared string // folder of the fixture

// fixture is a finished run of ivo iterate that the tests look at: two rounds on a few
// of the lab's prompts, small enough to take seconds.
type fixture struct {
	model, prompts, test string
	run                  string // its directory
	head                 string
}

var labFixture = sync.OnceValues(func() (*fixture, error) {
	lab, err := filepath.Abs(filepath.Join("..", "testdata", "lab"))
	if err != nil {
		return nil, err
	}
	if shared, err = os.MkdirTemp("", "ivo-cli"); err != nil {
		return nil, err
	}
	f := &fixture{
		model: filepath.Join(lab, "summarize-s.gguf"), prompts: filepath.Join(shared, "train.jsonl"), test: filepath.Join(shared, "test.jsonl"),
		run: filepath.Join(shared, "run"), head: filepath.Join(shared, "run", "iter-02", "head.gguf"),
	}
	for name, n := range map[string]int{"train": 8, "test": 4} {
		text, err := os.ReadFile(filepath.Join(lab, "summarize-"+name+".jsonl"))
		if err != nil {
			return nil, err
		}
		lines := bytes.SplitAfterN(text, []byte("\n"), n+1)[:n]
		if err := os.WriteFile(filepath.Join(shared, name+".jsonl"), bytes.Join(lines, nil), 0o644); err != nil {
			return nil, err
		}
	}
	var stderr bytes.Buffer
	if code := Main(f.iterate(f.run), &stderr, &stderr); code != 0 {
		return nil, errors.New(stderr.String())
	}
	return f, nil
})

// iterate is the command line of the fixture's run, into another directory.
func (f *fixture) iterate(out string, more ...string) []string {
	return append([]string{
		"ivo", "iterate", "--head", "recall", "-m", f.model, "--prompts", f.prompts, "--eval-prompts", f.test, "--out", out,
		"--samples", "2", "--shard", "2", "-n", "24", "-c", "1024", "--parallel", "8",
		"--beams", "2", "--block", "3", "--hidden", "8", "--epochs", "1",
	}, more...)
}

func lab(t testing.TB) *fixture {
	t.Helper()
	f, err := labFixture()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// remake writes a changed copy of a GGUF model in F32.
func remake(from, to string, edit func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor)) error {
	f, err := gguf.Read(from)
	if err != nil {
		return err
	}
	var tensors []gguf.Tensor
	for _, t := range f.Tensors {
		data, err := f.ReadF32(t.Name)
		if err != nil {
			return err
		}
		tensors = append(tensors, gguf.Tensor{Name: t.Name, Shape: t.Shape, Data: data})
	}
	kvs, tensors := edit(f.KVs, tensors)
	return gguf.Write(to, kvs, tensors)
}

// asQwen2 turns a Llama model into one of another architecture: biases are added, and
// other pairs of columns rotate, so its text is nonsense.
func asQwen2(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
	var renamed []gguf.KV
	for _, kv := range kvs {
		if kv.Key == "general.architecture" {
			kv.Value = "qwen2"
		}
		if rest, ok := strings.CutPrefix(kv.Key, "llama."); ok {
			kv.Key = "qwen2." + rest
		}
		renamed = append(renamed, kv)
	}
	out := tensors
	for _, t := range tensors {
		for _, w := range []string{"attn_q", "attn_k", "attn_v"} {
			if name, ok := strings.CutSuffix(t.Name, w+".weight"); ok {
				out = append(out, gguf.Tensor{Name: name + w + ".bias", Shape: t.Shape[1:], Data: make([]float32, t.Shape[1])})
			}
		}
	}
	return renamed, out
}

// saying turns a model into one that answers everything with the bytes of a text, no two of
// which are the same, and ends: embeddings are one-hot, and nothing is added to them.
func saying(text string) func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
	return func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		const firstByte, end = 3, 2 // tokens of the lab's vocabulary
		var chain []int
		for _, b := range []byte(text) {
			chain = append(chain, firstByte+int(b))
		}
		chain = append(chain, end)
		if n := len(chain); len(slices.Compact(slices.Sorted(slices.Values(chain)))) < n {
			panic("a byte twice")
		}
		var out []gguf.Tensor
		for _, t := range tensors {
			if t.Name == "output.weight" {
				continue
			}
			clear(t.Data)
			if strings.HasSuffix(t.Name, "norm.weight") {
				for i := range t.Data {
					t.Data[i] = 1
				}
			}
			if t.Name == "token_embd.weight" {
				width := int(t.Shape[0])
				next := make([]float32, len(t.Data))
				for i := 0; i < len(t.Data); i += width {
					t.Data[i] = 1 // any other token begins the text
				}
				for i, token := range chain {
					t.Data[token*width], t.Data[token*width+1+i] = 0, 1
					next[token*width+i] = 8
				}
				out = append(out, gguf.Tensor{Name: "output.weight", Shape: t.Shape, Data: next})
			}
			out = append(out, t)
		}
		return slices.DeleteFunc(kvs, func(kv gguf.KV) bool { return kv.Key == "tokenizer.ggml.eot_token_id" }), out // it is a line break
	}
}

func TestScripts(t *testing.T) {
	f := lab(t)
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"), RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MODEL", f.model)
			env.Setenv("THINKER", filepath.Join(filepath.Dir(f.model), "lab-think.gguf"))
			env.Setenv("PROMPTS", f.prompts)
			env.Setenv("TEST", f.test)
			env.Setenv("RUN", f.run)
			env.Setenv("HEAD", f.head)
			env.Setenv("LF", "\n")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fails": fails, "cut": cut, "flip": flip, "qwen2": qwen2, "halve": halve, "join": join, "template": template, "bpe": bpe, "says": says, "tutorial": tutorial, "checkpoint": checkpoint, "adapter": adapter},
	})
}

// fails CODE COMMAND... runs a command that must end with the exit code, and say why in
// a last line that ends in what to do.
func fails(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		ts.Fatalf("no exit code: %v", err)
	}
	stderr := strings.TrimSpace(ts.ReadFile("stderr"))
	if got := strconv.Itoa(exit.ExitCode()); got != args[0] {
		ts.Fatalf("exit code %s, want %s: %s", got, args[0], stderr)
	}
	last := stderr[strings.LastIndexByte(stderr, '\n')+1:]
	if !strings.HasPrefix(last, "ivo: ") || !strings.HasSuffix(last, ")") || strings.Contains(stderr, "goroutine ") {
		ts.Fatalf("not an error with a hint: %s", stderr)
	}
}

// cut BYTES FROM TO copies the first bytes of a file.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(ts.ReadFile(args[1])[:n]), 0o644))
}

// flip BYTE FROM TO copies a file with a bit of one byte changed.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	data := []byte(ts.ReadFile(args[1]))
	data[n] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), data, 0o644))
}

// template FILE FROM TO writes a model with the chat template in a file.
func template(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(remake(ts.MkAbs(args[1]), ts.MkAbs(args[2]), func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		return append(kvs, gguf.KV{Key: "tokenizer.chat_template", Value: ts.ReadFile(args[0])}), tensors
	}))
}

// says TEXT FROM TO writes a model that answers everything with a text, in which Go's escapes
// stand for bytes.
func says(ts *testscript.TestScript, _ bool, args []string) {
	text, err := strconv.Unquote(`"` + args[0] + `"`)
	ts.Check(err)
	ts.Check(remake(ts.MkAbs(args[1]), ts.MkAbs(args[2]), saying(text)))
}

// bpe PRE FROM TO writes a model whose texts are cut by the rule PRE before bytes are merged.
func bpe(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(remake(ts.MkAbs(args[1]), ts.MkAbs(args[2]), func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		i := slices.IndexFunc(kvs, func(kv gguf.KV) bool { return kv.Key == "tokenizer.ggml.model" })
		kvs[i].Value = "gpt2"
		return append(kvs, gguf.KV{Key: "tokenizer.ggml.pre", Value: args[0]}, gguf.KV{Key: "tokenizer.ggml.merges", Value: []string{"a b"}}), tensors
	}))
}

// adapter KIND SEED MODEL TO writes a LoRA adapter or a control vector for a model; with a width, for another one.
func adapter(ts *testscript.TestScript, _ bool, args []string) {
	f, err := gguf.Read(ts.MkAbs(args[2]))
	ts.Check(err)
	seed, err := strconv.Atoi(args[1])
	ts.Check(err)
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	draw := func(n uint64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(0.3 * rng.NormFloat64())
		}
		return x
	}
	kvs := []gguf.KV{{Key: "general.architecture", Value: f.Str("general.architecture")}, {Key: "general.type", Value: "adapter"}, {Key: "adapter.type", Value: "lora"}, {Key: "adapter.lora.alpha", Value: float32(1)}}
	var tensors []gguf.Tensor
	for _, t := range f.Tensors {
		if len(args) > 4 {
			width, err := strconv.ParseUint(args[4], 10, 64)
			ts.Check(err)
			for i := range t.Shape {
				t.Shape[i] = width
			}
		}
		switch {
		case args[0] == "lora" && strings.HasSuffix(t.Name, "attn_q.weight"):
			tensors = append(tensors, gguf.Tensor{Name: t.Name + ".lora_a", Shape: []uint64{t.Shape[0], 1}, Data: draw(t.Shape[0])}, gguf.Tensor{Name: t.Name + ".lora_b", Shape: []uint64{1, t.Shape[1]}, Data: draw(t.Shape[1])})
		case args[0] == "control" && strings.HasSuffix(t.Name, "attn_norm.weight") && t.Name != "blk.0.attn_norm.weight":
			layer, _, _ := strings.Cut(strings.TrimPrefix(t.Name, "blk."), ".")
			tensors = append(tensors, gguf.Tensor{Name: "direction." + layer, Shape: t.Shape, Data: draw(t.Shape[0])})
		}
	}
	if args[0] == "control" {
		kvs = []gguf.KV{{Key: "general.architecture", Value: "controlvector"}}
	}
	ts.Check(gguf.Write(ts.MkAbs(args[3]), kvs, tensors))
}

// join TO FROM... writes several files as one.
func join(ts *testscript.TestScript, _ bool, args []string) {
	var all string
	for _, from := range args[1:] {
		all += ts.ReadFile(from)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(all), 0o644))
}

// tutorial FILE writes the commands of docs/tutorial.md, but for those that build and fetch, as a
// script for sh whose model is $MODEL.
func tutorial(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(filepath.Join(filepath.Dir(ts.Getenv("MODEL")), "..", "..", "docs", "tutorial.md"))
	ts.Check(err)
	script := "M=$MODEL\n"
	for _, block := range strings.Split(string(text), "```sh\n")[1:] {
		commands, _, _ := strings.Cut(block, "```")
		for line := range strings.Lines(commands) {
			if !strings.HasPrefix(line, "make ") && !strings.HasPrefix(line, "M=") {
				script += line
			}
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(script), 0o644))
}

// qwen2 FROM TO writes a Llama model as one of another architecture.
func qwen2(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(remake(ts.MkAbs(args[0]), ts.MkAbs(args[1]), asQwen2))
}

// halve FROM TO writes a model as two files, as llama-gguf-split does.
func halve(ts *testscript.TestScript, _ bool, args []string) {
	for i := range 2 {
		ts.Check(remake(ts.MkAbs(args[0]), ts.MkAbs(fmt.Sprintf("%s-%05d-of-00002.gguf", args[1], i+1)), func(kvs []gguf.KV, tensors []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			half, all := len(tensors)/2, len(tensors)
			tensors = [][]gguf.Tensor{tensors[:half], tensors[half:]}[i]
			if i > 0 {
				kvs = nil
			}
			return append(kvs, gguf.KV{Key: "split.no", Value: uint16(i)}, gguf.KV{Key: "split.count", Value: uint16(2)}, gguf.KV{Key: "split.tensors.count", Value: int32(all)}), tensors
		}))
	}
}
