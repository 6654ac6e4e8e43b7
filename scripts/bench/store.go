package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// store compares shards of states with plain zstd files of the same rows.
func store(ctx context.Context, b *bench) error {
	fmt.Printf("%-28s %6s  %-36s %-36s %s\n", "states of", "MB", "write: MB/s, of zstd [95 %]", "read: MB/s, of zstd [95 %]", "size: store, zstd")
	dir, err := os.MkdirTemp("", "ivo-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	err = b.eachModel(func(m *llama.Model) error {
		s, all, err := collect(ctx, m, b.threads)
		if err != nil {
			return err
		}
		return storeTable(ctx, m.Info().Desc, filepath.Join(dir, "shard"), s, all, 2*b.pairs)
	})
	fmt.Println("MB/s of rows before compression, half precision, one thread, each written to a file and synced, in turns; the store turns float32 into half and back, and makes")
	fmt.Println("checksums and an index; zstd gets the rows' bytes ready made, at the store's level (fastest).")
	return err
}

// collect draws responses of a model with the states of the default layers: enough for
// four megabytes.
func collect(ctx context.Context, m *llama.Model, threads int) (states.Schema, []states.Trajectory, error) {
	o := loop.Defaults(m.Info().Layers)
	s, err := rollout.Schema(m, o.Layers, false)
	if err != nil {
		return s, nil, err
	}
	s.Prompts, s.PromptLayers, s.Float = false, nil, states.F16
	e, err := engine.New(m, engine.Params{Threads: threads, Layers: o.Layers})
	if err != nil {
		return s, nil, err
	}
	defer e.Close()
	var all []states.Trajectory
	p := batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: policy.Sampling{Temp: 1}, MaxTokens: 32,
		Key: func(id string, sample int) uint64 { return policy.Key(1, 1, id, sample) },
	}
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		return s, nil, err
	}
	for rows := 0; rows*s.Width < 2<<20; {
		record := prompt.Record{ID: fmt.Sprint(len(all)), Text: fmt.Sprintf("post %d: the red house is old, the garden is large. summary:", len(all))}
		tokens, err := encoder.Encode(record)
		if err != nil {
			return s, nil, err
		}
		shard, err := rollout.Collect(ctx, e, p, []batch.Task{{Encoded: prompt.Encoded{Record: record, Tokens: tokens}, Samples: 32}})
		if err != nil {
			return s, nil, err
		}
		for _, t := range shard.States {
			rows += len(t.Tokens)
		}
		all = append(all, shard.States...)
	}
	return s, all, nil
}

func storeTable(ctx context.Context, name, path string, s states.Schema, all []states.Trajectory, rounds int) error {
	plain := path + ".zst"
	var raw []byte
	for _, t := range all {
		raw = appendRows(raw, s, t)
	}
	back := make([]byte, 0, len(raw))
	times, err := turns(ctx, rounds,
		func() error {
			os.Remove(path)
			w, err := states.Create(path, s, states.Options{})
			if err != nil {
				return err
			}
			return errors.Join(w.Append(all...), w.Close())
		},
		func() error { return writePlain(plain, raw) },
		func() error {
			r, err := states.Open(path)
			if err != nil {
				return err
			}
			defer r.Close()
			for _, err := range r.All() {
				if err != nil {
					return err
				}
			}
			return nil
		},
		func() (err error) {
			back, err = readPlain(plain, back[:0])
			return err
		})
	if err != nil {
		return err
	}
	mb := float64(len(raw)) / 1e6
	column := func(store, zstd []float64) string {
		return fmt.Sprintf("%.0f, %.0f: %s", mb/median(store), mb/median(zstd), share(zstd, store))
	}
	var size [2]float64
	for i, f := range []string{path, plain} {
		info, err := os.Stat(f)
		if err != nil {
			return err
		}
		size[i] = float64(info.Size()) / float64(len(raw))
	}
	fmt.Printf("%-28s %6.1f  %-36s %-36s %.3f, %.3f\n", name, mb, column(times[0], times[1]), column(times[2], times[3]), size[0], size[1])
	return nil
}

// appendRows appends the rows of a trajectory as a plain file would hold them: token,
// scalars, candidates, and their log-probabilities and the hidden state in half precision.
func appendRows(raw []byte, s states.Schema, t states.Trajectory) []byte {
	for i, token := range t.Tokens {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(token))
		for _, v := range t.Scalars[i*len(s.Scalars):][:len(s.Scalars)] {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		for _, token := range t.Candidates[i*s.Candidates:][:s.Candidates] {
			raw = binary.LittleEndian.AppendUint32(raw, uint32(token))
		}
		raw = appendHalves(raw, t.CandidateLogProbs[i*s.Candidates:][:s.Candidates])
		raw = appendHalves(raw, t.Hidden[i*s.Width:][:s.Width])
	}
	return raw
}

func appendHalves(raw []byte, numbers []float32) []byte {
	for _, v := range numbers {
		// Moving the exponent's bias makes the upper bits those of the half, cut off.
		bits := math.Float32bits(v * 0x1p-112)
		raw = binary.LittleEndian.AppendUint16(raw, uint16(bits>>16&0x8000|bits>>13&0x7fff))
	}
	return raw
}

func writePlain(path string, raw []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	if _, err := z.Write(raw); err != nil {
		return err
	}
	return errors.Join(z.Close(), f.Sync())
}

func readPlain(path string, back []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return back, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return back, err
	}
	defer z.Close()
	back = back[:cap(back)]
	_, err = io.ReadFull(z, back)
	return back, err
}
