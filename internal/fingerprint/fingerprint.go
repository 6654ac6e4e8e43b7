// Package fingerprint identifies the weights of a GGUF model by reading all of them, once
// for each file: what was read is kept in ivo's cache. It knows nothing of what a model is.
package fingerprint

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sync/errgroup"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
)

const (
	// sampleBytes of every tensor's start and end enter the sample.
	sampleBytes = 4096
	// chunkBytes of a tensor are hashed at a time, and chunks at once.
	chunkBytes = 8 << 20
)

// Of is the fingerprint of a model's weights: a sample, which is a SHA-256 over the tensor
// directory (names, types, shapes) and the first and last 4 KiB of each tensor, and behind
// a dash an XXH64 over all that the tensors hold. No bit of them can change without it; it
// does not tell forgeries. A value head carries the fingerprint of the model that it was
// learned on: the states of another, or of another quantization of the same one, are not
// what it knows.
//
// A split model read with [gguf.ReadModel] has the fingerprint of the file it was split
// from: llama-gguf-split keeps the tensors' order, here and when it merges.
//
// progress, if set, is told how many bytes are read, of how many in all. It is called by
// several goroutines, one at a time.
func Of(ctx context.Context, f *gguf.File, progress func(done, total int64)) (string, error) {
	sample, sums, all := sha256.New(), xxhash.New(), int64(0)
	for _, part := range f.Parts() {
		for _, t := range part.Tensors {
			all += int64(t.Size)
		}
	}
	var done atomic.Int64
	var telling sync.Mutex
	tell := func(n int64) {
		telling.Lock()
		defer telling.Unlock()
		if n := done.Add(n); progress != nil {
			progress(n, all)
		}
	}
	for _, part := range f.Parts() {
		err := addSample(sample, part)
		if err == nil {
			err = addSums(ctx, sums, part, tell)
		}
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil:
			return "", &fault.Error{Op: "read the weights", Field: "model", Err: fmt.Errorf("%s: %w", part.Path, err), Hint: "check that the file is whole, and that nothing else writes it"}
		}
	}
	return fmt.Sprintf("%s-%016x", hex.EncodeToString(sample.Sum(nil)[:16]), sums.Sum64()), nil
}

// Split takes a fingerprint apart: into that of the weights, and what is said of adapters behind it, such as
// +lora-0123456789abcdef*0.5, empty where there are none.
func Split(f string) (weights, adapters string) {
	if i := strings.IndexByte(f, '+'); i >= 0 {
		return f[:i], f[i:]
	}
	return f, ""
}

// Same says whether two fingerprints are of the same weights and adapters. Those of older files are the
// sample alone: as far as it tells, they are compared.
func Same(a, b string) bool {
	a, x := Split(a)
	b, y := Split(b)
	if x != y {
		return false
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == b || a != "" && strings.HasPrefix(b, a+"-")
}

// addSample adds a file to the sample.
func addSample(h io.Writer, f *gguf.File) error {
	fd, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer fd.Close()
	for _, t := range f.Tensors {
		fmt.Fprintf(h, "%s %d %v\n", t.Name, t.Type, t.Shape)
		start := f.DataOffset + int64(t.Offset)
		n := min(int64(t.Size), sampleBytes)
		for _, off := range []int64{start, start + int64(t.Size) - n} {
			if _, err := io.Copy(h, io.NewSectionReader(fd, off, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addSums adds the sums of a file's tensors, which the cache may know.
func addSums(ctx context.Context, h io.Writer, f *gguf.File, tell func(n int64)) error {
	fd, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer fd.Close()
	k := newKept(fd)
	sums, known := k.read(len(f.Tensors))
	if !known {
		if sums, err = tensorSums(ctx, fd, f, tell); err != nil {
			return err
		}
		k.write(sums)
	}
	for _, sum := range sums {
		binary.Write(h, binary.LittleEndian, sum)
	}
	return nil
}

// tensorSums hashes each tensor of a file: the XXH64 of those of its chunks.
func tensorSums(ctx context.Context, fd *os.File, f *gguf.File, tell func(n int64)) ([]uint64, error) {
	chunks := make([][]byte, len(f.Tensors)) // sums of a tensor's chunks, one after the other
	all, running := errgroup.WithContext(ctx)
	all.SetLimit(runtime.GOMAXPROCS(0))
	buffers := sync.Pool{New: func() any { b := make([]byte, chunkBytes); return &b }}
	for i, t := range f.Tensors {
		n := (int64(t.Size) + chunkBytes - 1) / chunkBytes
		chunks[i] = make([]byte, 8*n)
		for j := range n {
			if running.Err() != nil {
				break
			}
			all.Go(func() error {
				if running.Err() != nil {
					return context.Cause(running)
				}
				buf := buffers.Get().(*[]byte)
				defer buffers.Put(buf)
				b := (*buf)[:min(chunkBytes, int64(t.Size)-j*chunkBytes)]
				if _, err := fd.ReadAt(b, f.DataOffset+int64(t.Offset)+j*chunkBytes); err != nil {
					return err
				}
				binary.LittleEndian.PutUint64(chunks[i][8*j:], xxhash.Sum64(b))
				tell(int64(len(b)))
				return nil
			})
		}
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // too late for any chunk to see it
		return nil, context.Cause(ctx)
	}
	sums := make([]uint64, len(chunks))
	for i, c := range chunks {
		sums[i] = xxhash.Sum64(c)
	}
	return sums, nil
}
