package cli

import (
	"cmp"
	"context"
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
)

const modelCategory = "Model"

// loadFlags say which model is loaded, and how.
func loadFlags() []cli.Flag {
	return slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "GGUF model `FILE`, of a split model the first; or ollama:MODEL[:TAG], lmstudio:PUBLISHER/REPO (see ivo models)", Category: modelCategory, TakesFile: true},
	}, remoteFlags(), fileFlags())
}

// fileFlags say how the file of a model is loaded.
func fileFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "n-gpu-layers", Aliases: []string{"ngl", "gpu-layers"}, Usage: "layers to offload to the GPU, where there is one; -1 for all", Value: -1, Category: modelCategory},
		&cli.StringFlag{Name: "device", Aliases: []string{"dev"}, Usage: "offload to these `DEVICES`, by ivo doctor's names, with commas between; all without it", Category: modelCategory},
		&cli.StringFlag{Name: "rpc", Usage: "offload to llama.cpp's RPC `SERVERS` too, HOST:PORT with commas between; what is sent is neither encrypted nor checked: only in networks that you trust", Category: modelCategory},
		&cli.StringFlag{Name: "split-mode", Aliases: []string{"sm"}, Usage: "spread over several GPUs by `MODE`: layer, row or none", Value: "layer", Category: modelCategory},
		&cli.StringFlag{Name: "tensor-split", Aliases: []string{"ts"}, Usage: "`SHARES` of the model a GPU takes, such as 3,1; by free memory without it", Category: modelCategory},
		&cli.IntFlag{Name: "main-gpu", Aliases: []string{"mg"}, Usage: "`INDEX` of the GPU that --split-mode none uses", Category: modelCategory},
		&cli.BoolFlag{Name: "no-mmap", Usage: "read the whole model into memory instead of mapping the file", Category: modelCategory},
		&cli.BoolFlag{Name: "mlock", Usage: "keep the model from being swapped out", Category: modelCategory},
		&cli.StringFlag{Name: "override-tokenizer", Aliases: []string{"override"}, Usage: "cut texts by the rule `NAME`, such as default or qwen2, where a model's own is missing or not known: tokens may then be wrong", Category: modelCategory},
		&cli.BoolFlag{Name: "check-tensors", Usage: "refuse weights that are not finite; reads the whole file", Category: modelCategory},
	}
}

// remoteFlags say which model is downloaded, unless it is in llama.cpp's cache.
func remoteFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hf-repo", Aliases: []string{"hf", "hfr"}, Usage: "model of Hugging Face, `USER/REPO[:QUANT]`, downloaded once; without QUANT Q4_K_M, or what there is", Category: modelCategory},
		&cli.StringFlag{Name: "hf-file", Aliases: []string{"hff"}, Usage: "`FILE` of the repository, instead of a QUANT", Category: modelCategory},
		&cli.StringFlag{Name: "hf-token", Aliases: []string{"hft"}, Usage: "access `TOKEN` for private and gated models; without it $HF_TOKEN", Category: modelCategory},
		&cli.StringFlag{Name: "model-url", Aliases: []string{"mu"}, Usage: "model at `URL`, downloaded once, to -m FILE if that is given", Category: modelCategory},
		&cli.BoolFlag{Name: "offline", Usage: "use downloaded models only, and no network", Category: modelCategory},
	}
}

// readSource reads where a model comes from, or llama.cpp's environment variables where none of the
// flags is given.
func readSource(c *cli.Context) (hub.Source, error) {
	s := hub.Source{Path: c.String("model"), Repo: c.String("hf-repo"), File: c.String("hf-file"), URL: c.String("model-url")}
	if s == (hub.Source{}) {
		s = hub.Source{Path: os.Getenv("LLAMA_ARG_MODEL"), Repo: os.Getenv("LLAMA_ARG_HF_REPO"), File: os.Getenv("LLAMA_ARG_HF_FILE"), URL: os.Getenv("LLAMA_ARG_MODEL_URL")}
	}
	switch {
	case s.Repo != "" && (s.Path != "" || s.URL != ""):
		return s, usagef(c, "more than one model (give -m FILE, -hf USER/REPO or -mu URL; a file of the repository is named with -hff)")
	case s.File != "" && s.Repo == "":
		return s, usagef(c, "-hff without a repository (give it with -hf)")
	case s == (hub.Source{}):
		return s, usagef(c, "no model (give a GGUF file with -m, or a repository of Hugging Face with -hf)")
	}
	return s, nil
}

// downloads says how models are downloaded; done ends what is shown of it.
func downloads(c *cli.Context) (o hub.Options, done func()) {
	meter := terminal.NewMeter(c.App.ErrWriter)
	return hub.Options{Token: c.String("hf-token"), Offline: c.Bool("offline"), Progress: func(file string, done, total int64) {
		if kib := func(n int64) int { return int((n + 1023) / 1024) }; total > 0 {
			meter.Show("download "+file, kib(done), kib(total), "KiB", "")
		}
	}}, meter.Close
}

// find is the path of a model, which is downloaded first if need be.
func find(c *cli.Context, s hub.Source) (string, error) {
	o, done := downloads(c)
	defer done()
	return s.Find(c.Context, o)
}

var splitModes = map[string]llama.SplitMode{"layer": llama.SplitLayer, "row": llama.SplitRow, "none": llama.SplitNone}

// modelParams reads how the model is to be loaded.
func modelParams(c *cli.Context) (p llama.ModelParams, err error) {
	p = llama.ModelParams{
		GPULayers: c.Int("n-gpu-layers"), MainGPU: c.Int("main-gpu"),
		NoMmap: c.Bool("no-mmap"), Mlock: c.Bool("mlock"), CheckTensors: c.Bool("check-tensors"), Pretokenizer: c.String("override-tokenizer"),
	}
	if p.Split, err = choice(c, "split-mode", splitModes); err != nil {
		return p, err
	}
	if s := c.String("device"); s != "" {
		p.Devices = strings.Split(s, ",")
	}
	if p.TensorSplit, err = llama.ParseShares(c.String("tensor-split")); err != nil {
		return p, usagef(c, "--tensor-split %v", err)
	}
	return p, nil
}

// load loads the policy of loadFlags.
func load(c *cli.Context) (*llama.Model, error) {
	from, err := readSource(c)
	if err != nil {
		return nil, err
	}
	adapters, err := readAdapters(c)
	if err != nil {
		return nil, err
	}
	path, err := find(c, from)
	if err != nil {
		return nil, err
	}
	m, err := loadFile(c, path)
	if err == nil && m.Metadata().Value(train.AtomsKey) != nil {
		return nil, errors.Join(fmt.Errorf("load %s: a value model, which speaks no text (give it with --value-model, and the model that it values with -m)", path), m.Close())
	}
	if err != nil {
		return nil, err
	}
	if err := m.Adapt(adapters); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// warnOf warns of RPC servers that others may reach.
func warnOf(servers []string) {
	if far := llama.Remote(servers); len(far) > 0 {
		slog.Warn("RPC servers are insecure: what is sent to them is neither encrypted nor checked, and whoever reaches them may run what they like; never use them on an open network", "servers", far)
	}
}

// addServers takes on the RPC servers.
func addServers(c *cli.Context) error {
	text := c.String("rpc")
	if text == "" {
		return nil
	}
	servers := strings.Split(text, ",")
	warnOf(servers)
	llama.OnLost(func(err error) {
		fmt.Fprintln(c.App.ErrWriter, "\nivo:", err)
		os.Exit(exitFailure)
	})
	return llama.AddRPC(c.Context, servers)
}

// loadFile loads the model at path as loadFlags say.
func loadFile(c *cli.Context, path string) (*llama.Model, error) {
	params, err := modelParams(c)
	if err == nil {
		err = addServers(c)
	}
	if err != nil {
		return nil, err
	}
	ctx, meter := c.Context, terminal.NewPatientMeter(c.App.ErrWriter)
	defer meter.Close()
	params.Progress = func(done float32) bool {
		meter.Show("load", int(100*done), 100, "%", "")
		return ctx.Err() == nil
	}
	m, err := llama.Load(path, params)
	if ctx.Err() != nil {
		if m != nil {
			m.Close()
		}
		return nil, context.Cause(ctx)
	}
	return m, err
}

// identify reads the model's fingerprint, with a bar where that takes a while: the first time
// for a file, all of it is read.
func identify(c *cli.Context, m *llama.Model) error {
	progress, done := hashing(c)
	defer done()
	_, err := m.Identify(c.Context, progress)
	return err
}

// hashing is the bar of a file that is read for its fingerprint, until done is called.
func hashing(c *cli.Context) (progress func(read, all int64), done func()) {
	meter := terminal.NewPatientMeter(c.App.ErrWriter)
	return func(read, all int64) {
		meter.Show("read the weights, once", int(read>>20), int(all>>20), "MiB", "")
	}, meter.Close
}

// contextFlags say how a model is decoded with.
func contextFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Usage: fmt.Sprintf("most tokens of prompt and response; 0 for what the model was trained with, at most %d", defaultContext), Category: modelCategory},
	}, computeFlags()...)
}

// computeFlags are contextFlags without the context's size.
func computeFlags() []cli.Flag {
	return []cli.Flag{
		threadsFlag(),
		&cli.IntFlag{Name: "batch-size", Aliases: []string{"b"}, Usage: "most tokens of one decode; 0 for 2048", Category: modelCategory},
		&cli.IntFlag{Name: "ubatch-size", Aliases: []string{"ub"}, Usage: "tokens computed at once; 0 for 512", Category: modelCategory},
		&cli.StringFlag{Name: "flash-attn", Aliases: []string{"fa"}, Usage: "flash attention `MODE`: on, off or auto", Value: "auto", Category: modelCategory},
		&cli.StringFlag{Name: "cache-type-k", Aliases: []string{"ctk"}, Usage: "KV cache `TYPE` for K: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0 or iq4_nl", Value: "f16", Category: modelCategory},
		&cli.StringFlag{Name: "cache-type-v", Aliases: []string{"ctv"}, Usage: "KV cache `TYPE` for V, as for K", Value: "f16", Category: modelCategory},
	}
}

func threadsFlag() cli.Flag {
	return &cli.IntFlag{
		Name: "threads", Aliases: []string{"t"}, Category: modelCategory,
		Usage: fmt.Sprintf("threads to decode with; 0 for one with small models, %d with others", runtime.GOMAXPROCS(0)),
	}
}

// defaultContext bounds the context that is taken without -c: recent models are
// trained with more than the memory of most machines holds.
const defaultContext = 4096

// compute reads computeFlags.
func compute(c *cli.Context) (batch.Context, error) {
	x := batch.Context{Threads: max(0, c.Int("threads")), Batch: c.Int("batch-size"), UBatch: c.Int("ubatch-size")}
	if x.Batch < 0 || x.UBatch < 0 {
		return x, usagef(c, "a negative batch size (give -b and -ub a number of tokens)")
	}
	for name, to := range map[string]encoding.TextUnmarshaler{"flash-attn": &x.Flash, "cache-type-k": &x.CacheK, "cache-type-v": &x.CacheV} {
		if err := to.UnmarshalText([]byte(c.String(name))); err != nil {
			return x, usagef(c, "--%s: %v", name, err)
		}
	}
	return x, nil
}

// choice is the value of a flag that takes one of some names.
func choice[T any](c *cli.Context, flag string, names map[string]T) (T, error) {
	v, ok := names[strings.ToLower(c.String(flag))]
	if !ok {
		return v, usagef(c, "--%s %q is not one of %s", flag, c.String(flag), strings.Join(slices.Sorted(maps.Keys(names)), ", "))
	}
	return v, nil
}

// contextSize is the number of tokens that prompt and response may take together.
func contextSize(c *cli.Context, m *llama.Model) (int, error) {
	n := c.Int("ctx-size")
	if n < 0 {
		return 0, usagef(c, "-c %d: give a number of tokens", n)
	}
	return cmp.Or(n, min(defaultContext, cmp.Or(m.Info().ContextTrain, defaultContext))), nil
}
