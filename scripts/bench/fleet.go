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
)

// fleet compares a run that one worker on this machine draws with the run that needs none, program by program.
func fleet(ctx context.Context, b *bench) error {
	paths, err := b.vocabularies()
	if err != nil || len(paths) == 0 {
		return err
	}
	if _, err := os.Stat(b.ivo); err != nil {
		fmt.Printf("fleet: there is no %s (make build): left out.\n", b.ivo)
		return nil
	}
	dir, err := os.MkdirTemp("", "ivo-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	const prompts, spoken, shard = 48, 48, 2
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
	iterate := func(more ...string) *exec.Cmd {
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
	alone := func() error {
		cmd := iterate()
		return told(cmd, cmd.Run())
	}
	byWorker := func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		at := l.Addr().String()
		l.Close()
		run, worker := iterate("--fleet", "--listen", at), program("worker", "-m", paths[0], "--nats", "nats://"+at)
		if err := worker.Start(); err != nil {
			return err
		}
		if err := told(run, run.Run()); err != nil {
			return errors.Join(err, worker.Process.Kill(), worker.Wait())
		}
		return told(worker, worker.Wait())
	}
	times, err := turns(ctx, max(b.pairs/3, 1), alone, byWorker)
	if err != nil {
		return err
	}
	lo, hi := interval(times[1], times[0])
	fmt.Printf("%-40s %10s  %s\n", "run", "seconds", "time of the lone run's [95 %]")
	fmt.Printf("%-40s %10.1f\n%-40s %10.1f  %.3f [%.3f, %.3f]\n", "alone", median(times[0]), "by a worker on the same machine", median(times[1]), median(times[1])/median(times[0]), lo, hi)
	fmt.Printf("A round of ivo iterate with %s on %d prompts, four answers of up to %d tokens each, in shards of %d prompts, scores and a ridge included; the worker starts with the run; in turns, ratios of medians.\n", filepath.Base(paths[0]), prompts, spoken, shard)
	return nil
}
