package train

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// A checkpoint is a GGUF file of three flat tensors, the parameters and AdamW's two
// moments, with the place in the run as metadata.
const (
	checkpointVersion = uint32(3)

	keyVersion     = "train.checkpoint.version"
	keyFingerprint = "train.checkpoint.fingerprint"
	keyStep        = "train.checkpoint.step"
	keyEpoch       = "train.checkpoint.epoch"
	keyNext        = "train.checkpoint.next"
	keyChecksum    = "train.checkpoint.checksum"
)

// fingerprint names the run: everything that decides its course.
func fingerprint(cfg Config, o Options, objective string, examples []example) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %+v %d %d %v %d %v %v %d %d\n", objective, o.Rank, cfg, o.Steps, o.BatchTokens, o.LR, o.WarmUp, o.WeightDecay, o.Clip, o.Seed, o.Shards)
	if o.From != nil {
		writeFloats(h, o.From.params)
	}
	for _, e := range examples {
		binary.Write(h, binary.LittleEndian, []float64{float64(len(e.docs)), e.offset})
		for _, d := range e.docs {
			binary.Write(h, binary.LittleEndian, []int64{int64(len(d.Tokens)), int64(len(d.Weights)), int64(len(d.Classes))})
			binary.Write(h, binary.LittleEndian, d.Tokens)
			binary.Write(h, binary.LittleEndian, d.Weights)
			binary.Write(h, binary.LittleEndian, d.Classes)
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func (t *trainer) state() []gguf.Tensor {
	o := t.optimizer
	n := []uint64{uint64(len(o.params))}
	return []gguf.Tensor{{Name: "params", Shape: n, Data: o.params}, {Name: "adam.m", Shape: n, Data: o.m}, {Name: "adam.v", Shape: n, Data: o.v}}
}

// checksum is that of a checkpoint's content.
func checksum(kvs []gguf.KV, tensors []gguf.Tensor) uint64 {
	h := xxhash.New()
	for _, kv := range kvs {
		fmt.Fprintf(h, "%s=%v\n", kv.Key, kv.Value)
	}
	for _, t := range tensors {
		writeFloats(h, t.Data)
	}
	return h.Sum64()
}

// writeFloats writes many numbers without a copy of them all.
func writeFloats(w io.Writer, x []float32) {
	for some := range slices.Chunk(x, 1<<14) {
		binary.Write(w, binary.LittleEndian, some)
	}
}

// save writes the checkpoint, if the run keeps one.
func (t *trainer) save() error {
	if t.opts.Checkpoint == "" {
		return nil
	}
	kvs, tensors := t.place(t.sampler.at), t.state()
	return gguf.Write(t.opts.Checkpoint, append(kvs, gguf.KV{Key: keyChecksum, Value: checksum(kvs, tensors)}), tensors)
}

// place is where the run is, as metadata.
func (t *trainer) place(at cursor) []gguf.KV {
	return []gguf.KV{
		{Key: keyVersion, Value: checkpointVersion},
		{Key: keyFingerprint, Value: t.fingerprint},
		{Key: keyStep, Value: uint64(t.optimizer.step)},
		{Key: keyEpoch, Value: uint64(at.epoch)},
		{Key: keyNext, Value: uint64(at.next)},
	}
}

// resume takes up the checkpoint, if there is one, and returns its place in the data, which are so many examples.
func (t *trainer) resume(examples int) (at cursor, err error) {
	path := t.opts.Checkpoint
	f, err := gguf.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	if v, _ := f.Int(keyVersion); v != int64(checkpointVersion) || f.Str(keyFingerprint) != t.fingerprint {
		return at, &gguf.Error{Path: path, Msg: "the checkpoint belongs to another run",
			Hint: "use the same options and data to go on with it, or remove it to start anew"}
	}
	step, _ := f.Int(keyStep)
	epoch, _ := f.Int(keyEpoch)
	next, _ := f.Int(keyNext)
	if step < 0 || step > int64(t.opts.Steps) || epoch < 0 || next < 0 || next > int64(examples) {
		return at, &gguf.Error{Path: path, Msg: fmt.Sprintf("it is at step %d, in epoch %d at example %d, of %d steps and %d examples", step, epoch, next, t.opts.Steps, examples),
			Hint: "the checkpoint is damaged: remove it to start anew"}
	}
	t.optimizer.step, at = int(step), cursor{int(epoch), int(next)}
	for _, s := range t.state() {
		data, err := f.ReadF32(s.Name)
		if err != nil {
			return at, err
		}
		if copy(s.Data, data) != len(data) || len(data) != len(s.Data) {
			return at, &gguf.Error{Path: path, Msg: fmt.Sprintf("%s holds %d values, not %d", s.Name, len(data), len(s.Data)),
				Hint: "the checkpoint is damaged: remove it to start anew"}
		}
	}
	if sum, ok := f.Value(keyChecksum).(uint64); !ok || sum != checksum(t.place(at), t.state()) {
		return at, &gguf.Error{Path: path, Msg: "its checksum does not fit what it holds", Hint: "the checkpoint is damaged: remove it to start anew"}
	}
	return at, nil
}
