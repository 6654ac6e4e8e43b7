package cli

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
)

// The policy as a value model of its own guides as its own states do.
func TestValueModel(t *testing.T) {
	f := lab(t)
	args := func(more ...string) []string {
		return append([]string{"ivo", "generate", "-m", f.model, "-p", "i found a red kettle.\\nTL;DR:", "-n", "16", "-s", "3", "--json", "--method", "best-of-n", "--samples", "3", "-fa", "off", "-ctk", "f32", "-ctv", "f32"}, more...)
	}
	answer := func(more ...string) (r batch.Record) {
		var out, stderr bytes.Buffer
		if code := Main(args(more...), &out, &stderr); code != 0 {
			t.Fatal(stderr.String())
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	own, external := answer("--value-head", f.head), answer("--value-head", f.head, "--value-model", f.model)
	if !slices.Equal(own.Tokens, external.Tokens) || math.Abs(float64(*own.Value-*external.Value)) > 1e-3 {
		t.Errorf("%q of value %v by the policy's states, %q of %v by the model", own.Text, *own.Value, external.Text, *external.Value)
	}
	if mean := answer("--value-head", f.head, "--value-head", f.head); !slices.Equal(own.Tokens, mean.Tokens) || math.Abs(float64(*own.Value-*mean.Value)) > 1e-5 {
		t.Errorf("%q of value %v by a head, %q of %v by the mean of it and itself", own.Text, *own.Value, mean.Text, *mean.Value)
	}
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--value-model", f.model}, "no value model"},
		{[]string{"--value-model", "nowhere.gguf"}, "nowhere.gguf"},
		{[]string{"--value-model", f.model, "--value-head", f.head, "--value-head", f.head}, "one --value-head"},
		{[]string{"--value-beta", "2"}, "--value-head"},
		{[]string{"--value-head", f.head, "--value-beta", "2", "--quantile", "0.5"}, "choose one"},
		{[]string{"--value-head", f.head, "--pessimistic", "2"}, "share"},
	} {
		var stderr bytes.Buffer
		if code := Main(args(c.flags...), &stderr, &stderr); code == 0 || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: %q, want an error about %q", c.flags, stderr.String(), c.want)
		}
	}
}
