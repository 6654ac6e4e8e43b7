package batch_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// A character that several tokens make up is to be had from their bytes, and from no token's text.
func TestRecordBytes(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var tokens []int32
	for _, b := range []byte("😀") {
		text := fmt.Sprintf("<0x%02X>", b)
		id := slices.IndexFunc(m.Metadata().Value("tokenizer.ggml.tokens").([]string), func(s string) bool { return s == text })
		if id < 0 {
			t.Fatalf("the model has no token %s", text)
		}
		tokens = append(tokens, int32(id))
	}
	r, err := batch.RecordOf(m, &batch.Policy{}, batch.Task{}, decode.Response{Tokens: tokens, Text: "😀", Stop: "."})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Pieces []string
		Bytes  [][]int
		Stop   string
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, bytes := range got.Bytes {
		for _, b := range bytes {
			all = append(all, byte(b))
		}
	}
	if string(all) != "😀" || !slices.Equal(got.Pieces, []string{"\uFFFD", "\uFFFD", "\uFFFD", "\uFFFD"}) || got.Stop != "." {
		t.Errorf("bytes %v, pieces %q, stop %q", got.Bytes, got.Pieces, got.Stop)
	}
}

// Whatever is not a number or not finite, what is written of responses and evaluations is JSON.
func TestAnyNumberIsJSON(t *testing.T) {
	for _, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, v := range []any{new(batch.Record), new(batch.Response), new(eval.Interval)} {
			n := fill(reflect.ValueOf(v).Elem(), x)
			if _, err := json.Marshal(v); err != nil || n == 0 {
				t.Errorf("%T of %d numbers %v: %v", v, n, x, err)
			}
		}
	}
}

// fill sets every float in v to x and returns how many there are.
func fill(v reflect.Value, x float64) (n int) {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		v.SetFloat(x)
		return 1
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n += fill(v.Field(i), x)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		n = fill(v.Elem(), x)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		n = fill(v.Index(0), x)
	}
	return n
}
