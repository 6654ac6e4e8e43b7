package rollout

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// WriteTrajectories stores trajectories as JSON lines under zstd, whole or not at all.
func WriteTrajectories(path string, ts []Trajectory) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
		if err != nil {
			return err
		}
		enc := json.NewEncoder(z)
		enc.SetEscapeHTML(false)
		for _, t := range ts {
			if err := enc.Encode(t); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

// ReadTrajectories reads what WriteTrajectories wrote.
func ReadTrajectories(path string) ([]Trajectory, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(bufio.NewReader(f), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var ts []Trajectory
	dec := json.NewDecoder(z)
	for {
		var t Trajectory
		switch err := dec.Decode(&t); err {
		case nil:
			ts = append(ts, t)
		case io.EOF:
			return ts, nil
		default:
			return nil, fmt.Errorf("%s: damaged: %w (delete the file; the run collects it again)", path, err)
		}
	}
}
