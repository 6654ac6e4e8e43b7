package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/orchestrator/inspect"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// sealed is a file of a run with the sum that fits it.
func sealed(text []byte) []byte {
	out := bytes.Clone(text)
	if at := regexp.MustCompile(`^\{\s*"key":\s*"[^"]+",\s*"sum":\s*"([0-9a-f]{16})"`).FindSubmatchIndex(out); at != nil {
		sum := out[at[2]:at[3]]
		copy(sum, strings.Repeat("0", 16))
		copy(sum, fmt.Sprintf("%016x", xxhash.Sum64(out)))
	}
	return out
}

// stamped is a value as a file of a run has it, with its stamp at the beginning.
func stamped(t testing.TB, v any) []byte {
	t.Helper()
	of, stamp := v.(map[string]any)
	if stamp {
		of = maps.Clone(of)
		delete(of, "key")
		delete(of, "sum")
		v = of
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if len(of) > 0 {
		text = append([]byte(`{"key": "k", "sum": "0000000000000000", `), text[1:]...)
	}
	return text
}

// damages are a JSON value with each of its parts in turn replaced by something else; of lists the first part.
func damages(v any) (out []any) {
	out = append(out, nil, -1, 1e300)
	switch v := v.(type) {
	case map[string]any:
		for key, part := range v {
			for _, other := range damages(part) {
				with := map[string]any{}
				for k, p := range v {
					with[k] = p
				}
				with[key] = other
				out = append(out, with)
			}
		}
	case []any:
		for i := range v[:min(1, len(v))] {
			for _, other := range damages(v[i]) {
				with := slices.Clone(v)
				with[i] = other
				out = append(out, with)
			}
		}
	}
	return out
}

// Whatever a file of a run holds, though its sum fits, the run is reported on and inspected, or refused with a word on what to do.
func FuzzRun(f *testing.F) {
	dir, e := report.FakeRun(f, 2, true)
	d, err := run.Open(dir)
	if err == nil { // run fuzzes the lines of answers and scores
		err = errors.Join(run.Put(d, run.EvaluationFile, "k", nil, nil, &e), d.Close(), os.RemoveAll(filepath.Join(dir, "eval")), os.RemoveAll(filepath.Join(dir, "rewards")))
	}
	if err != nil {
		f.Fatal(err)
	}
	names := []string{run.OptionsFile, run.Metrics(1), run.EvaluationFile}
	var whole [][]byte
	for i, name := range names {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		whole = append(whole, text)
		f.Add(uint8(i), text)
		f.Add(uint8(i), text[:len(text)/2])
		if name == run.OptionsFile {
			continue // which loop fuzzes
		}
		var v any
		if err := json.Unmarshal(text, &v); err != nil {
			f.Fatal(err)
		}
		for _, other := range damages(v) {
			f.Add(uint8(i), stamped(f, other))
		}
	}
	f.Fuzz(func(t *testing.T, file uint8, data []byte) {
		i := int(file) % len(names)
		path := filepath.Join(dir, names[i])
		if err := os.WriteFile(path, sealed(data), 0o644); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(path, whole[i], 0o644)
		told := func(what string, err error) {
			if err != nil && !strings.HasSuffix(err.Error(), ")") {
				t.Errorf("%s: nothing to do about it: %v", what, err)
			}
		}
		told("report", report.Render(io.Discard, dir))
		_, err := loop.ReadEvaluation(dir)
		told("evaluation", err)
		found, err := inspect.Path(t.Context(), dir, inspect.Options{})
		if told("inspect", err); err != nil {
			return
		}
		if err := found.Write(io.Discard); err != nil {
			t.Error(err)
		}
		if _, err := json.Marshal(found); err != nil {
			t.Error(err)
		}
	})
}
