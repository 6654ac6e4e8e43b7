package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// themselves is the -against by which a program tells its own speeds.
const themselves = "-"

// copies compares the llama.cpp that is linked with that of another build of this program: the two run in
// turns, and each times the bare C loop of llama_decode. A program can hold one llama.cpp alone.
func copies(ctx context.Context, b *bench) error {
	switch b.against {
	case "":
		fmt.Println("copies: left out (-against names another build of this program, as go run ./scripts/llamacpp go build -o FILE ./scripts/bench makes one)")
		return nil
	case themselves:
		return b.ownSpeeds(ctx)
	}
	own, err := os.Executable()
	if err != nil {
		return err
	}
	programs := [2]string{own, b.against}
	var builds [2]string
	var rows []string
	times := map[string][2][]float64{}
	for round := range b.pairs {
		for k := range programs {
			i := (round + k) % 2
			args := []string{"-only", "copies", "-against", themselves, "-pairs", "1", "-t", fmt.Sprint(b.threads), "-lab", b.lab, "-cache", b.cache, fmt.Sprintf("-cpu=%t", b.cpu)}
			if b.models != "" {
				args = append(args, "-models", b.models)
			}
			cmd := exec.CommandContext(ctx, programs[i], args...)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return fmt.Errorf("%s: %w", programs[i], err)
			}
			for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
				fields := strings.Split(in.Text(), "\t")
				if len(fields) == 1 && fields[0] != "" {
					builds[i] = fields[0]
				}
				if len(fields) != 2 {
					continue
				}
				var seconds float64
				if _, err := fmt.Sscan(fields[1], &seconds); err != nil {
					return err
				}
				of := times[fields[0]]
				if of[0] == nil && of[1] == nil {
					rows = append(rows, fields[0])
				}
				of[i] = append(of[i], seconds)
				times[fields[0]] = of
			}
		}
	}
	fmt.Printf("tokens/s of %s (A) and %s (B), the bare C loop, programs in turns\n%-48s %9s %9s  %s\n", builds[0], builds[1], "", "A", "B", "B of A [95 %]")
	for _, row := range rows {
		of := times[row]
		if len(of[0]) == 0 || len(of[1]) == 0 {
			return errors.New("the programs measured other rows: build both from one source")
		}
		low, high := interval(of[0], of[1])
		fmt.Printf("%-48s %9.1f %9.1f  %.2f [%.2f, %.2f]\n", row, 1/median(of[0]), 1/median(of[1]), median(of[0])/median(of[1]), low, high)
	}
	return nil
}

// ownSpeeds prints the linked llama.cpp and, a row a line, the seconds a token takes it.
func (b *bench) ownSpeeds(ctx context.Context) error {
	fmt.Println(llama.Build())
	paths, err := b.vocabularies()
	if err != nil {
		return err
	}
	for _, path := range append([]string{b.lab}, paths...) {
		err := withModel(path, func(m *llama.Model) error {
			name := filepath.Base(path)
			for _, n := range []int{1, 8, 32} {
				const prefix = 128
				steps := max(8, 64/n)
				c, err := m.NewContext(llama.ContextParams{Ctx: max(512, prefix+n*(steps+1)), Sequences: n, Threads: cmp.Or(b.threads, engine.Threads(m))})
				if err != nil {
					return err
				}
				defer c.Close()
				clock := b.clock()
				var prompts []float64
				for range 2 { // the first warms up
					begin := clock()
					if err := shared(c, n, slices.Repeat([]int32{1}, prefix)); err != nil {
						return err
					}
					prompts = append(prompts, (clock()-begin).Seconds()/prefix)
				}
				if n == 1 {
					fmt.Printf("%s, prompt of %d\t%g\n", name, prefix, prompts[1])
				}
				var times []float64
				for step := range steps {
					if err := ctx.Err(); err != nil {
						return err
					}
					begin := clock()
					if err := c.BareLoop(slices.Repeat([]int32{int32(10 + step)}, n), n, prefix+step); err != nil {
						return err
					}
					times = append(times, (clock()-begin).Seconds()/float64(n))
				}
				fmt.Printf("%s, %d sequences\t%g\n", name, n, median(times))
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
