package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
)

// led compares a run that one worker on this machine draws with the run that needs none, program by program.
func led(ctx context.Context, b *bench) error {
	paths, err := b.vocabularies()
	if err != nil || len(paths) == 0 {
		return err
	}
	if _, err := os.Stat(b.ivo); err != nil {
		fmt.Printf("led: there is no %s (make build): left out.\n", b.ivo)
		return nil
	}
	dir, err := os.MkdirTemp("", "ivo-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const prompts, spoken = 48, 48
	text, err := os.ReadFile("scripts/paper/prompts/openings-train.jsonl")
	if err != nil {
		return err
	}
	lines := bytes.SplitAfterN(text, []byte("\n"), prompts+1)
	file := filepath.Join(dir, "prompts.jsonl")
	if err := os.WriteFile(file, bytes.Join(lines[:prompts], nil), 0o600); err != nil {
		return err
	}
	runs := 0
	program := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, b.ivo, args...)
		cmd.Stderr = &strings.Builder{}
		return cmd
	}
	iterate := func(shard int, more ...string) *exec.Cmd {
		runs++
		return program(append([]string{"iterate", "-m", paths[0], "--prompts", file, "--reward", "sentiment", "--rounds", "1", "--hold-out", "0",
			"--head", "ridge", "-n", strconv.Itoa(spoken), "--shard", strconv.Itoa(shard), "--out", filepath.Join(dir, strconv.Itoa(runs))}, more...)...)
	}
	told := func(cmd *exec.Cmd, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, cmd.Stderr)
		}
		return nil
	}
	alone := func(shard int) func() error {
		return func() error {
			cmd := iterate(shard)
			return told(cmd, cmd.Run())
		}
	}
	byWorker := func(shard int) func() error {
		return func() error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			at := l.Addr().String()
			l.Close()
			run, worker := iterate(shard, "--fleet", "--listen", at), program("worker", "-m", paths[0], "--nats", "nats://"+at)
			if err := worker.Start(); err != nil {
				return err
			}
			if err := told(run, run.Run()); err != nil {
				return errors.Join(err, worker.Process.Kill(), worker.Wait())
			}
			return told(worker, worker.Wait())
		}
	}
	const small, large = 2, 16
	times, err := turns(ctx, max(b.pairs/3, 1), alone(small), byWorker(small), alone(large), byWorker(large))
	if err != nil {
		return err
	}
	name := ""
	if err := withModel(paths[0], func(m *llama.Model) error { name = m.Info().Desc; return nil }); err != nil {
		return err
	}
	fmt.Printf("%-28s %-26s %10s  %s\n", "model", "run", "seconds", "time of the lone run's [95 %]")
	for i, shard := range []int{small, large} {
		lone, fleet := times[2*i], times[2*i+1]
		lo, hi := interval(fleet, lone)
		fmt.Printf("%-28s %-26s %10.1f\n", name, fmt.Sprintf("alone, shards of %d", shard), median(lone))
		fmt.Printf("%-28s %-26s %10.1f  %.3f [%.3f, %.3f]\n", name, fmt.Sprintf("by a worker, shards of %d", shard), median(fleet), median(fleet)/median(lone), lo, hi)
	}
	fmt.Printf("A round of ivo iterate on %d prompts, four answers of up to %d tokens each, their scores and a ridge included; with a worker on the same machine, which starts with it; in turns, ratios of medians.\n", prompts, spoken)
	return nil
}
