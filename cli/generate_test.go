package cli

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
)

// counted counts the writes that make up a text.
type counted struct {
	bytes.Buffer
	writes int
}

func (c *counted) Write(b []byte) (int, error) {
	c.writes++
	return c.Buffer.Write(b)
}

func TestGenerateStreams(t *testing.T) {
	f := lab(t)
	var out, stderr counted
	if code := Main([]string{"ivo", "generate", "-m", f.model, "-p", "i found a red kettle.\\nTL;DR:", "-n", "12", "--temp", "0"}, &out, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	if words := len(strings.Fields(out.String())); words < 3 || out.writes < words {
		t.Errorf("%q came in %d writes, want one a token", out.String(), out.writes)
	}
}

// The record agrees with itself, and with the text that is streamed for the same seed.
func TestGenerateJSON(t *testing.T) {
	f := lab(t)
	for name, tc := range map[string]struct {
		method []string
		guided bool
	}{
		"sample":            {nil, false},
		"sample, valued":    {[]string{"--value-head", f.head}, true},
		"best of 3":         {[]string{"--value-head", f.head, "--method", "best-of-n", "--samples", "3"}, true},
		"block beam search": {[]string{"--value-head", f.head, "--method", "block-beam", "--beams", "2", "--block", "3"}, true},
		"best of 3 blocks":  {[]string{"--value-head", f.head, "--method", "block-best-of-k", "--samples", "3", "--block", "3"}, true},
		"tokenwise":         {[]string{"--value-head", f.head, "--method", "tokenwise", "--candidates", "5", "--beta", "1"}, true},
		"greedy":            {[]string{"--value-head", f.head, "--method", "greedy", "--candidates", "5"}, true},
		"block sampling":    {[]string{"--value-head", f.head, "--method", "block-sampling", "--candidates", "5", "--block", "2", "--rest", "mean"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"ivo", "generate", "-m", f.model, "-p", "i found a red kettle.\\nTL;DR:", "-n", "16", "-s", "3"}, tc.method...)
			var text, out, stderr bytes.Buffer
			if code := Main(args, &text, &stderr); code != 0 {
				t.Fatal(stderr.String())
			}
			if code := Main(append(args, "--json"), &out, &stderr); code != 0 {
				t.Fatal(stderr.String())
			}
			var r batch.Record
			if err := json.Unmarshal(out.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			if strings.TrimSuffix(r.Text, "\n") != strings.TrimSuffix(text.String(), "\n") {
				t.Errorf("text %q, streamed %q", r.Text, text.String())
			}
			n := len(r.Tokens)
			if n == 0 || n > 16 || len(r.Pieces) != n || len(r.LogProbs) != n || r.Emitted != n || r.Decoded < n-1 { // the last token may not be decoded
				t.Errorf("%d tokens, %d pieces, %d log-probabilities; %d emitted of %d", n, len(r.Pieces), len(r.LogProbs), r.Emitted, r.Decoded)
			}
			if all := strings.Join(r.Pieces, ""); !strings.HasPrefix(all, r.Text) {
				t.Errorf("pieces %q do not make up text %q", all, r.Text)
			}
			for _, l := range r.LogProbs {
				if !(l <= 0) || math.IsInf(float64(l), 0) {
					t.Errorf("log-probability %v", l)
				}
			}
			if r.Seed != 3 || (r.Finish != "stop" && r.Finish != "length") || r.Prompt != "i found a red kettle.\nTL;DR:" || r.PromptLen == 0 {
				t.Errorf("seed %d, finish %q, prompt %q of %d tokens", r.Seed, r.Finish, r.Prompt, r.PromptLen)
			}
			tokenwise := strings.Contains("tokenwise greedy block sampling", name)
			if len(r.BaseLogProbs) != n || (len(r.GuidedLogProbs) == n) != tokenwise || !(r.KL >= 0) {
				t.Errorf("%d log-probabilities under the base policy, %d under the guided one, KL %v", len(r.BaseLogProbs), len(r.GuidedLogProbs), r.KL)
			}
			if exact := tokenwise || !tc.guided || name == "sample, valued"; (r.KLKind == "exact") != exact || float64(r.Ratio) != float64(r.Decoded)/float64(n) {
				t.Errorf("a KL that is %s; %v tokens decoded for one", r.KLKind, r.Ratio)
			}
			switch {
			case !tc.guided && (r.Values != nil || r.Value != nil):
				t.Errorf("values %v, %v without a head", r.Values, r.Value)
			case tc.guided && (len(r.Values) != n || r.Value == nil || float32(*r.Value) != r.Values[n-1]):
				t.Errorf("values %v, %v for %d tokens", r.Values, r.Value, n)
			}
		})
	}
}

// A new seed is shown, and gives the same text again.
func TestGenerateRandomSeed(t *testing.T) {
	f := lab(t)
	generate := func(seed string) (r batch.Record) {
		var out, stderr bytes.Buffer
		if code := Main([]string{"ivo", "generate", "-m", f.model, "-p", "i found", "-n", "8", "--json", "-s", seed}, &out, &stderr); code != 0 {
			t.Fatal(stderr.String())
		}
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, other := generate("-1"), generate("-1")
	if first.Seed == other.Seed {
		t.Errorf("both runs took seed %d", first.Seed)
	}
	if again := generate(strconv.FormatUint(first.Seed, 10)); again.Text != first.Text {
		t.Errorf("seed %d gave %q, then %q", first.Seed, first.Text, again.Text)
	}
}
