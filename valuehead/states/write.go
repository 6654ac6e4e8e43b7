package states

import (
	"io"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// Write stores a finished shard at path, whole or not at all. The same content gives
// the same bytes. prompts is nil where the schema has none.
func Write(path string, schema Schema, prompts []Prompt, trajectories []Trajectory) error {
	return write(path, schema, prompts, trajectories, Options{})
}

func write(path string, schema Schema, prompts []Prompt, trajectories []Trajectory, o Options) error {
	if schema.Float == "" {
		schema.Float = smallestFloat(prompts, trajectories)
	}
	return atomicfile.Write(path, func(out io.Writer) error {
		w, err := begin(path, out, schema, o)
		if err != nil {
			return err
		}
		for i := range prompts {
			if err := w.AppendPrompt(&prompts[i]); err != nil {
				return err
			}
		}
		if err := w.Append(trajectories...); err != nil {
			return err
		}
		return w.finish()
	})
}

// begin starts a shard on a stream that the caller owns.
func begin(path string, out io.Writer, schema Schema, o Options) (*Writer, error) {
	w, header, err := newWriter(path, schema, o)
	if err != nil {
		return nil, err
	}
	w.out = out
	return w, w.put(header)
}

// smallestFloat is the most precise type of two bytes that holds all hidden states.
func smallestFloat(prompts []Prompt, trajectories []Trajectory) Float {
	for i := range prompts {
		if _, ok := F16.fits(prompts[i].Hidden); !ok {
			return BF16
		}
	}
	for i := range trajectories {
		if _, ok := F16.fits(trajectories[i].Hidden); !ok {
			return BF16
		}
	}
	return F16
}

// Read returns all trajectories of the finished shard at path, whose schema must match
// want. Any fault of the shard is an error.
func Read(path string, want Schema) ([]Trajectory, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Expect(want); err != nil {
		return nil, err
	}
	out := make([]Trajectory, 0, r.Len())
	for t, err := range r.All() {
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}
