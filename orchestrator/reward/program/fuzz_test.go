package program

import (
	"math"
	"testing"
)

// Whatever a program says of an item, it is a finite number, an error, or no answer.
func FuzzAnswer(f *testing.F) {
	for _, said := range []string{"1.5", `{"score": -1e3, "id": "a"}`, `{"reward": "NaN"}`, "NaN", `{"error": "no"}`, "null", "1e999", `{"score": {"score": 1}}`, "[1]", `"Infinity"`, ` {"id":1,"score":Infinity}`} {
		f.Add([]byte(said), []byte(`"a"`))
	}
	f.Fuzz(func(t *testing.T, said, id []byte) {
		a, known, broken := readAnswer(said, id)
		if math.IsNaN(a.Value) || math.IsInf(a.Value, 0) || broken != nil && known {
			t.Errorf("%+v, %v, %v", a, known, broken)
		}
	})
}
