package serve

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// metrics count what was asked and how it ended, for /metrics.
type metrics struct {
	mu      sync.Mutex
	ended   map[outcome]int
	took    map[string]time.Duration // of requests by address
	prompts int                      // tokens
	emitted int
}

// outcome is an address, as the server knows it, and the status of a reply; 0 where the client had gone.
type outcome struct {
	address string
	status  int
}

// count notes a request that has ended.
func (m *metrics) count(r *http.Request, rec *recorder, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended == nil {
		m.ended, m.took = map[outcome]int{}, map[string]time.Duration{}
	}
	m.ended[outcome{r.Pattern, rec.status}]++
	m.took[r.Pattern] += took
	if n, ok := rec.log["prompt_tokens"].(int); ok {
		m.prompts += n
	}
	if n, ok := rec.log["emitted"].(int); ok {
		m.emitted += n
	}
}

// metrics answers in Prometheus' text format (version 0.0.4): what has been asked of the server, and what
// its engine has done and has in hand.
func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) error {
	var b bytes.Buffer
	head := func(name, kind, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %[1]s %[3]s\n", name, help, kind) }
	one := func(name, kind, help string, value any) {
		head(name, kind, help)
		fmt.Fprintf(&b, "%s %v\n", name, value)
	}
	m := &s.counted
	m.mu.Lock()
	head("ivo_requests_total", "counter", "requests that have ended, by address and status; 0 of clients that had gone")
	for _, o := range slices.SortedFunc(maps.Keys(m.ended), func(a, b outcome) int {
		return cmp.Or(cmp.Compare(a.address, b.address), a.status-b.status)
	}) {
		fmt.Fprintf(&b, "ivo_requests_total{address=%q,status=\"%d\"} %d\n", o.address, o.status, m.ended[o])
	}
	head("ivo_request_seconds_total", "counter", "time that requests took, by address")
	for _, address := range slices.Sorted(maps.Keys(m.took)) {
		fmt.Fprintf(&b, "ivo_request_seconds_total{address=%q} %g\n", address, m.took[address].Seconds())
	}
	one("ivo_prompt_tokens_total", "counter", "tokens of prompts that were answered", m.prompts)
	one("ivo_emitted_tokens_total", "counter", "tokens of answers", m.emitted)
	m.mu.Unlock()
	one("ivo_requests_pending", "gauge", "requests that are answered or wait", s.pending.Load())
	one("ivo_uptime_seconds", "gauge", "since the server began", time.Since(s.begun).Seconds())
	if l, ok := s.decoder.(*local); ok {
		did, has, params := l.engine.Stats(), l.engine.Load(), l.engine.Params()
		one("ivo_decoded_tokens_total", "counter", "tokens decoded, of prompts and of candidates that lost too", did.Tokens)
		one("ivo_reused_tokens_total", "counter", "tokens of prompts that were kept and so not decoded", did.Reused)
		one("ivo_batches_total", "counter", "batches decoded", did.Decodes)
		one("ivo_decode_seconds_total", "counter", "time in llama.cpp's decode", did.InC.Seconds())
		one("ivo_busy_seconds_total", "counter", "time in which there were answers to work on", did.Total.Seconds())
		one("ivo_jobs", "gauge", "answers under way", has.Jobs)
		one("ivo_jobs_queued", "gauge", "answers that wait for room in the context", has.Queued)
		room := func(name, help string, total, promised, kept int) {
			head(name, "gauge", help)
			fmt.Fprintf(&b, "%s{state=\"promised\"} %d\n%[1]s{state=\"kept\"} %[3]d\n%[1]s{state=\"free\"} %[4]d\n", name, promised, kept, total-promised-kept)
		}
		room("ivo_sequences", "sequences of the context: promised to answers under way, keeping prompts, and free", params.Sequences, has.Sequences, has.Kept)
		room("ivo_cells", "cells of the KV cache, likewise", params.Ctx, has.Cells, has.KeptCells)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, err := w.Write(b.Bytes())
	return err
}
