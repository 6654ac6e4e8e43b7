package states

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// benchShard is the shards that IVO_STATES names, as a pattern, such as those of a run:
// the random numbers that are the default compress less than hidden states.
func benchShard(b *testing.B) (Schema, []Trajectory) {
	paths, err := filepath.Glob(os.Getenv("IVO_STATES"))
	if err != nil {
		b.Fatal(err)
	}
	if len(paths) == 0 {
		s := Schema{Backbone: "m", Layers: []int{2, 4}, Width: 256, Scalars: []string{"logp", "entropy", "rank"}}
		return s, sample(4000, s, 3)
	}
	var out []Trajectory
	var s Schema
	for _, path := range paths[:min(len(paths), 8)] {
		r, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		s = r.Schema()
		s.Prompts, s.PromptLayers = false, nil // these are not written
		for t, err := range r.All() {
			if err != nil {
				b.Fatal(err)
			}
			out = append(out, t)
		}
		r.Close()
	}
	return s, out
}

// rawBytes is what the rows take before compression.
func rawBytes(s Schema, trajectories []Trajectory) (n int64) {
	for i := range trajectories {
		n += int64(len(trajectories[i].Tokens) * trajectoryRows(s).bytes())
	}
	return n
}

var benchFloats = []Float{F16, BF16, F32}

// BenchmarkWrite is the whole way from float32 to a file, in MB/s of its bytes before
// compression.
func BenchmarkWrite(b *testing.B) {
	s, trajectories := benchShard(b)
	for _, s.Float = range benchFloats {
		b.Run(string(s.Float), func(b *testing.B) {
			n := rawBytes(s, trajectories)
			b.SetBytes(n)
			var size int64
			defer processorTime(b, n)()
			for b.Loop() {
				out := counter{}
				w, err := begin("", &out, s, Options{})
				if err != nil {
					b.Fatal(err)
				}
				if err := w.Append(trajectories...); err != nil {
					b.Fatal(err)
				}
				if err := w.finish(); err != nil {
					b.Fatal(err)
				}
				size = out.n
			}
			b.ReportMetric(float64(size)/float64(n), "ratio")
		})
	}
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }

// BenchmarkRead is the whole way back, block by block.
func BenchmarkRead(b *testing.B) {
	s, trajectories := benchShard(b)
	for _, s.Float = range benchFloats {
		b.Run(string(s.Float), func(b *testing.B) {
			r := benchReader(b, s, trajectories)
			b.SetBytes(rawBytes(s, trajectories))
			defer processorTime(b, rawBytes(s, trajectories))()
			for b.Loop() {
				for k := range r.Blocks() {
					if _, err := r.Block(k); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func benchReader(b *testing.B, s Schema, trajectories []Trajectory) *Reader {
	path := filepath.Join(b.TempDir(), "shard")
	if err := Write(path, s, nil, trajectories); err != nil {
		b.Fatal(err)
	}
	r, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	return r
}

// BenchmarkRow reads single positions all over the shard.
func BenchmarkRow(b *testing.B) {
	s, trajectories := benchShard(b)
	s.Float = F16
	r := benchReader(b, s, trajectories)
	row := make([]float32, s.Width)
	i := 0
	for b.Loop() {
		i = (i + 7919) % r.Len()
		if n := len(trajectories[i].Tokens); n > 0 {
			if err := r.Rows(i, n-1, n, row); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPlainZstd compresses and expands the same bytes, row by row as they are, with
// zstd alone.
func BenchmarkPlainZstd(b *testing.B) {
	s, trajectories := benchShard(b)
	for _, s.Float = range benchFloats {
		k := trajectoryRows(s)
		var rows bytes.Buffer
		number := make([]byte, k.float.size())
		for _, t := range trajectories {
			for i, token := range t.Tokens {
				rows.Write(le.AppendUint32(nil, uint32(token)))
				F32.each(t.Scalars[i*k.scalars:(i+1)*k.scalars], make([]byte, 4), &rows)
				for _, c := range t.Candidates[i*k.candidates : (i+1)*k.candidates] {
					rows.Write(le.AppendUint32(nil, uint32(c)))
				}
				logProbs.each(t.CandidateLogProbs[i*k.candidates:(i+1)*k.candidates], number[:logProbs.size()], &rows)
				s.Float.each(t.Hidden[i*k.width:(i+1)*k.width], number, &rows)
			}
		}
		raw := rows.Bytes()
		for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
			e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level))
			if err != nil {
				b.Fatal(err)
			}
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
			if err != nil {
				b.Fatal(err)
			}
			var packed []byte
			b.Run(string(s.Float)+"/"+level.String()+"/write", func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				defer processorTime(b, int64(len(raw)))()
				for b.Loop() {
					packed = e.EncodeAll(raw, packed[:0])
				}
				b.ReportMetric(float64(len(packed))/float64(len(raw)), "ratio")
			})
			var back []byte
			b.Run(string(s.Float)+"/"+level.String()+"/read", func(b *testing.B) {
				b.SetBytes(int64(len(raw)))
				defer processorTime(b, int64(len(raw)))()
				for b.Loop() {
					if back, err = d.DecodeAll(packed, back[:0]); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// each writes numbers one after the other.
func (f Float) each(src []float32, number []byte, w io.Writer) {
	for i := range src {
		f.split(number, src[i:i+1])
		w.Write(number)
	}
}
