package learn

import (
	"fmt"
	"math"
	"testing"
)

// A share of the responses is a share of the prompts, with all of their samples, and the returns
// are theirs.
func TestShare(t *testing.T) {
	d := &Data{Returns: func(_, prompt string, sample int) (float32, bool) { return float32(len(prompt) + sample), true }}
	for _, of := range []float64{0.1, 0.5, 0.9} {
		some, kept := d.share(of), 0
		for i := range 2000 {
			prompt := fmt.Sprint("p", i)
			_, first := some("a", prompt, 0)
			r, second := some("b", prompt, 7)
			if first != second || second && r != float32(len(prompt)+7) {
				t.Fatalf("share %g of %s: %v %v, return %v", of, prompt, first, second, r)
			}
			if first {
				kept++
			}
		}
		if got := float64(kept) / 2000; math.Abs(got-of) > 6*math.Sqrt(of*(1-of)/2000) {
			t.Errorf("a share of %g keeps %g", of, got)
		}
	}
}
