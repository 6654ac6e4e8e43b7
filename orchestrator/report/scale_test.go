package report

import (
	"math"
	"testing"
)

// luminance and contrast are those of WCAG 2.
func luminance(c Colour) float64 {
	linear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
}

func contrast(a, b Colour) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestScale(t *testing.T) {
	s := Scale{Low: 0, High: 2}
	for _, c := range []struct {
		value float64
		want  Colour
	}{
		{0, low}, {-7, low}, {math.Inf(-1), low}, {1, middle}, {math.NaN(), middle}, {2, high}, {9, high}, {math.Inf(1), high},
		{1.5, Colour{120, 199, 176}}, // halfway
	} {
		if got := s.Colour(c.value); got != c.want {
			t.Errorf("value %g: %v, not %v", c.value, got, c.want)
		}
	}
	if got := (Scale{2, 2}).Colour(2); got != middle {
		t.Errorf("a scale without extent: %v", got)
	}
	redder := math.Inf(1)
	for i := range 101 {
		c := s.Colour(float64(i) / 50)
		if ratio := contrast(c, Ink); ratio < 4.5 { // what WCAG asks of text
			t.Errorf("text on %v has a contrast of %.1f", c, ratio)
		}
		now := float64(c.R) - float64(c.G)
		if now > redder {
			t.Errorf("at %d %% the scale turns back", i)
		}
		redder = now
	}
}
