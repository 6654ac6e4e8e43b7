package states

import (
	"errors"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// rowKind is the layout of one row of a page: a token, scalars, candidates with their
// log-probabilities, and hidden floats.
type rowKind struct {
	scalars, candidates, width int
	float                      Float
}

func trajectoryRows(s Schema) rowKind {
	return rowKind{len(s.Scalars), s.Candidates, s.Width, s.Float}
}

func promptRows(s Schema) rowKind { return rowKind{0, 0, s.PromptWidth(), s.Float} }

// bytes of a row before compression.
func (k rowKind) bytes() int {
	return 4 + 4*k.scalars + (4+logProbs.size())*k.candidates + k.float.size()*k.width
}

// logProbs is how those of candidates are stored.
const logProbs = F16

// streams are the bytes of each stream of a page of n rows before compression: the byte
// planes of tokens and scalars in one, those of candidates in another, then one for each
// byte plane of the candidates' log-probabilities and of the hidden states.
func (k rowKind) streams(n int) []int {
	out := []int{4 * n * (1 + k.scalars)}
	if k.candidates > 0 {
		out = append(out, 4*n*k.candidates)
		for range logProbs.size() {
			out = append(out, n*k.candidates)
		}
	}
	if k.width > 0 {
		for range k.float.size() {
			out = append(out, n*k.width)
		}
	}
	return out
}

// rows are the numbers of consecutive rows.
type rows struct {
	tokens, candidates        []int32
	scalars, logProbs, hidden []float32
}

func makeRows(k rowKind, n int) rows {
	r := rows{tokens: make([]int32, n), scalars: make([]float32, n*k.scalars), hidden: make([]float32, n*k.width)}
	if k.candidates > 0 {
		r.candidates, r.logProbs = make([]int32, n*k.candidates), make([]float32, n*k.candidates)
	}
	return r
}

// slice is rows [from, to) of r.
func (r rows) slice(k rowKind, from, to int) rows {
	return rows{
		part(r.tokens, from, to, 1), part(r.candidates, from, to, k.candidates),
		part(r.scalars, from, to, k.scalars), part(r.logProbs, from, to, k.candidates), part(r.hidden, from, to, k.width),
	}
}

// empty keeps the memory alone.
func (r *rows) empty() {
	r.tokens, r.candidates = r.tokens[:0], r.candidates[:0]
	r.scalars, r.logProbs, r.hidden = r.scalars[:0], r.logProbs[:0], r.hidden[:0]
}

// part is rows [from, to) of x, which are of n numbers each.
func part[T any](x []T, from, to, n int) []T { return x[from*n : to*n : to*n] }

// to copies r to rows of as many.
func (r rows) to(dst rows) {
	copy(dst.tokens, r.tokens)
	copy(dst.candidates, r.candidates)
	copy(dst.scalars, r.scalars)
	copy(dst.logProbs, r.logProbs)
	copy(dst.hidden, r.hidden)
}

// Entropy coding of the literals is what shrinks the plane of signs and exponents, which
// holds few matches. The next two levels save 1 % and 4 % of half-precision states for
// 1.3 and 2.5 times the CPU time.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// encode appends the page that holds r to dst. scratch is memory to use again.
func (k rowKind) encode(dst []byte, r rows, scratch []byte, version int) ([]byte, page, []byte) {
	n := len(r.tokens)
	if need := n * k.bytes(); cap(scratch) < need {
		scratch = make([]byte, need)
	}
	raw := scratch[:n*k.bytes()]
	rest := splitInts(raw, r.tokens)
	rest = F32.split(rest, r.scalars)
	rest = splitInts(rest, r.candidates)
	rest = logProbs.split(rest, r.logProbs)
	k.float.split(rest, r.hidden)
	p := page{offset: int64(len(dst))}
	for i, stream := range k.cut(raw, n) {
		from := len(dst)
		if k.plane(i) {
			dst = appendPlane(dst, stream, version)
		} else {
			dst = encoder().EncodeAll(stream, dst)
		}
		if n := len(dst) - from; n == 0 || n >= len(stream) { // stored as it is: its length says so
			dst = append(dst[:from], stream...)
		}
		p.streams = append(p.streams, len(dst)-from)
		p.bytes += len(dst) - from
	}
	return dst, p, scratch
}

// appendPlane appends a plane, in the way that suits it, to dst; or nothing, where it is best stored as it is.
func appendPlane(dst, plane []byte, version int) []byte {
	if version >= 4 {
		switch p := planOf(plane); {
		case p.raw:
			return dst
		case p.packed:
			return appendPacked(dst, plane, p.least)
		}
	}
	out, ok := appendLiterals(dst, plane)
	if !ok && (len(plane) < leastLiterals || len(plane) > mostLiterals) {
		return encoder().EncodeAll(plane, dst)
	}
	return out
}

// plane says whether a stream is one byte plane of numbers that are no whole ones.
func (k rowKind) plane(i int) bool { return i > 0 && !(k.candidates > 0 && i == 1) }

// cut divides a page of n rows before compression into its streams.
func (k rowKind) cut(raw []byte, n int) [][]byte {
	var out [][]byte
	for _, size := range k.streams(n) {
		out, raw = append(out, raw[:size]), raw[size:]
	}
	return out
}

var errPage = errors.New("a page does not hold what the directory says")

// decode fills r from a page whose checksum fits. scratch is memory to use again.
func (k rowKind) decode(r rows, p page, data, scratch []byte) ([]byte, error) {
	n := len(r.tokens)
	if need := n * k.bytes(); cap(scratch) < need {
		scratch = make([]byte, need)
	}
	raw := scratch[:n*k.bytes()]
	streams := k.cut(raw, n)
	for i, stream := range streams {
		in := data[:p.streams[i]]
		data = data[len(in):]
		if len(in) == len(stream) {
			streams[i] = in
			continue
		}
		if k.plane(i) && (readPacked(stream, in) || readLiterals(stream, in)) {
			continue
		}
		out, err := decoder().DecodeAll(in, stream[:0:len(stream)])
		if err != nil || len(out) != len(stream) {
			return scratch, errPage
		}
	}
	k.join(r, streams)
	return scratch, nil
}

// join fills r from its streams.
func (k rowKind) join(r rows, streams [][]byte) {
	scalars, _ := planes(joinInts(r.tokens, streams[0]), len(r.scalars), F32.size())
	F32.join(r.scalars, scalars)
	streams = streams[1:]
	if k.candidates > 0 {
		joinInts(r.candidates, streams[0])
		logProbs.join(r.logProbs, streams[1:])
		streams = streams[1+logProbs.size():]
	}
	if k.width > 0 {
		k.float.join(r.hidden, streams)
	}
}
