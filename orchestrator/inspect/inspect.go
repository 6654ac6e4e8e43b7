// Package inspect finds out what a path holds: a model, a value function, a reward head, a run directory or a
// shard of states; and what the machine offers. It reads headers and small files, and loads and changes nothing.
package inspect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Finding is what was found out: its fields as JSON, or written for people.
type Finding interface{ Write(w io.Writer) error }

// Options say how a model would be used.
type Options struct {
	// Context is the one whose memory is estimated. Where it has no size, that is the trained one, or
	// MostCtx where this is less.
	Context llama.ContextParams
	MostCtx int
	// Progress, if set, is told how much of a model is read for its fingerprint, see [fingerprint.Of].
	Progress func(done, total int64)
}

// Path finds out what lies at a path.
func Path(ctx context.Context, path string, o Options) (Finding, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w (check the path)", err)
	}
	if st.IsDir() {
		return findRun(path)
	}
	begin, err := firstBytes(path, 8)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	switch {
	case len(begin) == 0:
		return nil, fmt.Errorf("inspect: %s is empty (a download may have failed: get the file again)", path)
	case bytes.HasPrefix(begin, []byte("IVO")):
		return findStates(path)
	}
	file, err := gguf.ReadModel(path)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	switch file.Str("general.type") {
	case valuehead.FileType:
		return findHead(path)
	case head.FileType:
		return findReward(path)
	}
	return findModel(ctx, file, o)
}

func firstBytes(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}
