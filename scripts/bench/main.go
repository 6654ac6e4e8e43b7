// Command bench measures speed as ratios, both sides in one run and in turns, so that a
// machine whose speed drifts does not matter: decoding against a bare C loop of
// llama_decode, sampling against llama.cpp's own sampler chain, training against OpenBLAS' matrix product, the store of states against
// plain zstd, a head against the step that it guides, a tilted policy against sampling, and guided decoding against the bare
// loop and against itself, and a run that a worker draws against the lone one. Run it with make bench.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
)

// bench is what the parts share.
type bench struct {
	lab, cache string
	pairs      int
	threads    int // of decoding; 0 for the engine's own choice
	cpu        bool
	models     string // to sample from

	ivo, llamaServer string // programs
	parallel         []int  // sequences at once
	against          string // another build of this program
}

// parts are the tables, in the order in which they are printed.
var parts = []struct {
	name string
	run  func(context.Context, *bench) error
}{
	{"binding", bindings}, {"sampling", sampling}, {"chain", chain}, {"sgemm", sgemm}, {"training", training}, {"store", store}, {"head", headCost},
	{"guided", guided}, {"one-pass", onePass}, {"proposal", proposal}, {"relative", relative}, {"batched", batched}, {"neighbours", neighbours}, {"served", served}, {"beside", beside}, {"fleet", fleet}, {"copies", copies},
}

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	var b bench
	flag.StringVar(&b.lab, "lab", "testdata/lab/summarize-s.gguf", "the lab model")
	flag.StringVar(&b.cache, "cache", ".cache/bench", "folder of the random-weight model")
	flag.IntVar(&b.pairs, "pairs", 15, "rounds of measuring")
	flag.IntVar(&b.threads, "t", 0, "threads of decoding; 0 for the model's default. On a busy machine 1 is right: threads wait for each other at every layer")
	flag.StringVar(&b.models, "models", "", "models of chain, a comma between them; those of large vocabularies in ivo's cache unless given")
	b.parallel = []int{1, 8, 32}
	flag.Func("parallel", "sequences of chain at once, a comma between them (default 1,8,32)", func(list string) (err error) {
		b.parallel = nil
		for _, field := range strings.Split(list, ",") {
			var n int
			if n, err = strconv.Atoi(field); err == nil && n < 1 {
				err = errors.New("not positive")
			}
			b.parallel = append(b.parallel, n)
		}
		return err
	})
	flag.StringVar(&b.against, "against", "", "another build of this `PROGRAM`, whose llama.cpp copies compares with this one's")
	flag.BoolVar(&b.cpu, "cpu", false, "time chain, guided, one-pass, relative, batched and served by the processors' time instead of the wall clock: with -t 1, what others do counts less")
	flag.StringVar(&b.ivo, "ivo", "bin/ivo", "the program whose serve is compared with llama-server, and whose runs alone with those by a worker")
	flag.StringVar(&b.llamaServer, "llama-server", "", "llama.cpp's server, built with the library that ivo is linked with; none leaves beside out")
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	only := flag.String("only", strings.Join(names, ","), "parts to run, a comma between them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, strings.Split(*only, ","), names); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (b *bench) run(ctx context.Context, only, names []string) error {
	for _, name := range only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no part %q (choose from %s)", name, strings.Join(names, ", "))
		}
	}
	if b.pairs < 1 {
		return errors.New("no rounds (give -pairs 1 or more)")
	}
	for _, p := range parts {
		if !slices.Contains(only, p.name) {
			continue
		}
		if err := p.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Println()
	}
	return nil
}

// eachModel loads the lab model and the random one in turn.
func (b *bench) eachModel(use func(*llama.Model) error) error {
	large, err := randomModel(b.cache)
	if err != nil {
		return err
	}
	for _, path := range []string{b.lab, large} {
		if err := withModel(path, use); err != nil {
			return err
		}
	}
	return nil
}

func withModel(path string, use func(*llama.Model) error) error {
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		return err
	}
	return errors.Join(use(m), m.Close())
}
