package reward

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"testing"
)

// The Python package vaderSentiment on responses of a language model, and on such responses changed
// to have what VADER's rules are about; scripts/agree/sentiment.py wrote the file. It rounds its
// scores to four and three places.
func TestVaderAgreesWithPython(t *testing.T) {
	f, err := os.Open("testdata/sentiment.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	n, dec := 0, json.NewDecoder(gz)
	for ; ; n++ {
		var want struct {
			Text               string
			Compound, Pos, Neg float64
		}
		if err := dec.Decode(&want); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got := loadVader().polarity(want.Text)
		if math.Abs(got.compound-want.Compound) > 0.50001e-4 || math.Abs(got.pos-want.Pos) > 0.50001e-3 || math.Abs(got.neg-want.Neg) > 0.50001e-3 {
			t.Errorf("%q: got %+v, want %+v", want.Text, got, want)
		}
	}
	if n < 1000 {
		t.Errorf("%d verdicts", n)
	}
}
