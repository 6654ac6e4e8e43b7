package number_test

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/internal/number"
)

type numbers struct {
	A number.Float
	B number.Float32
	C number.Float32s
	D *number.Float32 `json:",omitempty"`
}

// Any number comes back, and finite ones are written as encoding/json writes them.
func TestRoundTrip(t *testing.T) {
	inf := math.Inf(1)
	rapid.Check(t, func(t *rapid.T) {
		any64 := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), inf, -inf, 0, 1e300}))
		any32 := rapid.OneOf(rapid.Float32(), rapid.SampledFrom([]float32{float32(math.NaN()), float32(inf), float32(-inf)}))
		one := number.Float32(any32.Draw(t, "d"))
		want := numbers{number.Float(any64.Draw(t, "a")), number.Float32(any32.Draw(t, "b")), rapid.SliceOfN(any32, 1, 4).Draw(t, "c"), &one}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got numbers
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if got.D == nil { // null
			got.D = new(number.Float32(math.NaN()))
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmp.Transformer("float", func(f number.Float) float64 { return float64(f) }), cmp.Transformer("float32", func(f number.Float32) float32 { return float32(f) })); diff != "" {
			t.Fatalf("%s: %s", text, diff)
		}
	})
	text, err := json.Marshal(numbers{1.5e-9, 0.1, number.Float32s{0.1, float32(math.NaN()), float32(-inf)}, nil})
	if want := `{"A":1.5e-9,"B":0.1,"C":[0.1,null,"-Infinity"]}`; err != nil || string(text) != want {
		t.Errorf("%s, %v, want %s", text, err, want)
	}
	if err := json.Unmarshal([]byte(`{"A":"NaN"}`), new(numbers)); err == nil {
		t.Error("a text was read as a number")
	}
}
