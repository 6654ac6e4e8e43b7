package serve

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What was asked is counted, every line is one of Prometheus' format, and what is promised is given back.
func TestMetrics(t *testing.T) {
	_, url := start(t, options(t))
	read := func() map[string]float64 {
		t.Helper()
		status, header, text := ask(t, url+"/metrics", "")
		if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") {
			t.Fatalf("%d %v", status, header)
		}
		out, declared := map[string]float64{}, map[string]bool{}
		for line := range strings.Lines(text) {
			if m := regexp.MustCompile(`^# TYPE (ivo_[a-z_]+) (counter|gauge)\n$`).FindStringSubmatch(line); m != nil {
				declared[m[1]] = true
				continue
			}
			if regexp.MustCompile(`^# HELP ivo_[a-z_]+ .+\n$`).MatchString(line) {
				continue
			}
			m := regexp.MustCompile(`^((ivo_[a-z_]+)(?:\{[a-z]+="[^"\n]*"(?:,[a-z]+="[^"\n]*")*\})?) (\S+)\n$`).FindStringSubmatch(line)
			if m == nil || !declared[m[2]] {
				t.Fatalf("no metric: %q", line)
			}
			value, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				t.Fatal(err)
			}
			out[m[1]] = value
		}
		return out
	}
	before := read()
	for range 2 {
		if status, _, text := ask(t, url+"/v1/chat/completions", body(t, tree{"messages": post, "max_tokens": 4})); status != 200 {
			t.Fatal(status, text)
		}
	}
	ask(t, url+"/v1/chat/completions", "{}")
	after := read()
	for name, want := range map[string]float64{
		`ivo_requests_total{address="POST /v1/chat/completions",status="200"}`: 2,
		`ivo_requests_total{address="POST /v1/chat/completions",status="400"}`: 1,
		`ivo_requests_total{address="GET /metrics",status="200"}`:              1,
	} {
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s rose by %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"ivo_emitted_tokens_total", "ivo_prompt_tokens_total", "ivo_decoded_tokens_total", "ivo_reused_tokens_total", "ivo_batches_total"} {
		if after[name] <= before[name] {
			t.Errorf("%s went from %v to %v", name, before[name], after[name])
		}
	}
	if after["ivo_jobs"] != 0 || after["ivo_requests_pending"] != 0 || after[`ivo_cells{state="promised"}`] != 0 || after[`ivo_cells{state="kept"}`] == 0 {
		t.Errorf("in the end: %v", after)
	}
}
