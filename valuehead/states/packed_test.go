package states

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// What is read of a packed plane is the plane, whatever is in it; and planes of normal numbers are packed, in less room
// than they take by themselves and little more than a Huffman code of them.
func TestPacked(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 7, 8, 9, 255, 256, 1003, 4096, 32 << 10, 1<<17 + 1} {
		for _, kind := range []string{"zeros", "noise", "normal", "wide"} {
			plane := make([]byte, n)
			for i := range plane {
				switch kind {
				case "noise":
					plane[i] = byte(rng.Uint32())
				case "normal":
					plane[i] = byte(toHalf(float32(rng.NormFloat64())) >> 8)
				case "wide":
					plane[i] = byte(toHalf(float32(rng.NormFloat64()*math.Pow(2, 20*rng.Float64()-12))) >> 8)
				}
			}
			before := []byte("before")
			for _, least := range []int{0, 9, 25, 31} {
				out := appendPacked(before, plane, least)
				got := bytes.Repeat([]byte{0xaa}, n)
				if !bytes.HasPrefix(out, before) || !readPacked(got, out[len(before):]) || !bytes.Equal(got, plane) {
					t.Fatalf("%d bytes of %s from the exponent %d: they are not read back", n, kind, least)
				}
				// What is damaged does no harm.
				for range 20 {
					torn := bytes.Clone(out[len(before):])
					torn[rng.IntN(len(torn))] ^= byte(1 + rng.IntN(255))
					readPacked(got, torn[:len(torn)-rng.IntN(2)])
				}
			}
			p := planOf(plane)
			if n >= 1003 && (p.raw != (kind == "noise") || p.packed != (kind == "normal")) {
				t.Errorf("%d bytes of %s: planned %+v", n, kind, p)
			}
			if packed := len(appendPacked(nil, plane, p.least)); p.packed && n >= 4096 && packed*100 > 90*n {
				t.Errorf("%d bytes of %s: packed in %d", n, kind, packed)
			}
		}
	}
}
