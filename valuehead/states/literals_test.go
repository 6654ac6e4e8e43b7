package states

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// A plane's frame is one that any zstd decoder reads, and what is read of it by this package's own is the plane.
func TestLiterals(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 255, 256, 257, 1000, 4096, 32 << 10, 1<<17 - 1, 1 << 17, 1<<17 + 1} {
		for _, kind := range []string{"zeros", "noise", "normal", "two"} {
			plane := make([]byte, n)
			for i := range plane {
				switch kind {
				case "noise":
					plane[i] = byte(rng.Uint32())
				case "normal":
					plane[i] = byte(128 + 8*rng.NormFloat64())
				case "two":
					plane[i] = byte(rng.IntN(2))
				}
			}
			before := []byte("before")
			out, ok := appendLiterals(before, plane)
			if packs := (kind == "normal" || kind == "two") && n >= 1000 && n <= mostLiterals; ok != packs && n != 256 && n != 257 {
				t.Errorf("%d bytes of %s: packed %v", n, kind, ok)
			}
			if !ok {
				if !bytes.Equal(out, before) {
					t.Errorf("%d bytes of %s: something was left behind", n, kind)
				}
				continue
			}
			frame := out[len(before):]
			if got, err := decoder().DecodeAll(frame, make([]byte, 0, n)); err != nil || !bytes.Equal(got, plane) {
				t.Errorf("%d bytes of %s: zstd reads %d bytes of the frame: %v", n, kind, len(got), err)
			}
			got := make([]byte, n)
			if !readLiterals(got, frame) || !bytes.Equal(got, plane) {
				t.Errorf("%d bytes of %s: they are not read back", n, kind)
			}
			// Other frames are left to zstd, and damaged ones do no harm.
			if readLiterals(got, encoder().EncodeAll(plane, nil)) {
				t.Errorf("%d bytes of %s: zstd's own frame is taken for one of literals", n, kind)
			}
			for range 20 {
				torn := bytes.Clone(frame)
				torn[rng.IntN(len(torn))] ^= byte(1 + rng.IntN(255))
				readLiterals(got, torn[:len(torn)-rng.IntN(2)])
			}
		}
	}
}
