package report

import "math"

// Scale colours values: vermilion at Low, pale grey in the middle, bluish green at High,
// which colour-blind readers can tell apart. Values beyond the ends have the ends' colours.
type Scale struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Colour is a colour in sRGB.
type Colour struct{ R, G, B uint8 }

// Ink is what text on any colour of a [Scale] is readable in.
var Ink = Colour{17, 20, 24}

// The ends and the middle of all scales, of the palette of Okabe and Ito but for the grey.
var low, middle, high = Colour{213, 94, 0}, Colour{240, 240, 236}, Colour{0, 158, 115}

// Colour is the background for a value; NaN has the middle's.
func (s Scale) Colour(value float64) Colour {
	at := 2*(value-s.Low)/(s.High-s.Low) - 1 // -1 to 1
	if math.IsNaN(at) {
		return middle
	}
	end := high
	if at < 0 {
		end = low
	}
	share := min(math.Abs(at), 1)
	mix := func(from, to uint8) uint8 {
		return uint8(math.Round(float64(from) + share*(float64(to)-float64(from))))
	}
	return Colour{mix(middle.R, end.R), mix(middle.G, end.G), mix(middle.B, end.B)}
}

// Stops are n >= 2 values from Low to High, for a legend.
func (s Scale) Stops(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = s.Low + (s.High-s.Low)*float64(i)/float64(n-1)
	}
	return out
}
