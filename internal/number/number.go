// Package number writes numbers to JSON that JSON has no word for: what is not a number is null,
// and what is infinite a string, "Infinity" or "-Infinity", as in the JSON of protocol buffers.
package number

import (
	"encoding/json"
	"math"
	"strconv"
)

// Float is a float64, finite or not.
type Float float64

func (f Float) MarshalJSON() ([]byte, error) { return marshal(float64(f), float64(f)) }

func (f *Float) UnmarshalJSON(text []byte) error {
	x, err := unmarshal(text, 64)
	*f = Float(x)
	return err
}

// Float32 is a float32, finite or not.
type Float32 float32

func (f Float32) MarshalJSON() ([]byte, error) { return marshal(float32(f), float64(f)) }

func (f *Float32) UnmarshalJSON(text []byte) error {
	x, err := unmarshal(text, 32)
	*f = Float32(x)
	return err
}

// Float32s are float32s, finite or not.
type Float32s []float32

func (f Float32s) MarshalJSON() ([]byte, error) {
	if f == nil {
		return []byte("null"), nil
	}
	out := []byte{'['}
	for i, x := range f {
		if i > 0 {
			out = append(out, ',')
		}
		text, err := marshal(x, float64(x))
		if err != nil {
			return nil, err
		}
		out = append(out, text...)
	}
	return append(out, ']'), nil
}

func (f *Float32s) UnmarshalJSON(text []byte) error {
	var all []Float32
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*f = nil
	if all != nil {
		*f = make(Float32s, len(all))
	}
	for i, x := range all {
		(*f)[i] = float32(x)
	}
	return nil
}

// marshal writes v, which is x in its own precision.
func marshal(v any, x float64) ([]byte, error) {
	switch {
	case math.IsNaN(x):
		return []byte("null"), nil
	case math.IsInf(x, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(x, -1):
		return []byte(`"-Infinity"`), nil
	}
	return json.Marshal(v)
}

func unmarshal(text []byte, bits int) (float64, error) {
	switch s := string(text); s {
	case "null":
		return math.NaN(), nil
	case `"Infinity"`:
		return math.Inf(1), nil
	case `"-Infinity"`:
		return math.Inf(-1), nil
	default:
		return strconv.ParseFloat(s, bits)
	}
}
