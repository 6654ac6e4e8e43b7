package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/serve"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// beside compares plain streams of ivo serve with those of llama-server, both in processes of their own, in turns.
func beside(ctx context.Context, b *bench) error {
	if b.llamaServer == "" {
		fmt.Println("beside: no llama-server is given (-llama-server): left out.")
		return nil
	}
	paths, err := b.vocabularies()
	if err != nil || len(paths) == 0 {
		return err
	}
	const streams, spoken, each = 64, 32, 256
	threads := strconv.Itoa(max(b.threads, 1))
	ours, err := launch(ctx, b.ivo, "serve", "-m", paths[0], "-t", threads, "-c", strconv.Itoa(each), "--cache-cells", strconv.Itoa(streams*each), "--queue", strconv.Itoa(2*streams))
	if err != nil {
		return err
	}
	defer ours.stop()
	theirs, err := launch(ctx, b.llamaServer, "-m", paths[0], "-t", threads, "-tb", threads, "-c", strconv.Itoa(streams*each), "-np", strconv.Itoa(streams), "-ngl", "0")
	if err != nil {
		return err
	}
	defer theirs.stop()
	ask := func(p *process) func() error {
		round := 0
		return func() error {
			round++
			bodies := make([]string, streams)
			for i := range bodies { // new ones every time, so that neither has read them before
				bodies[i] = fmt.Sprintf(`{"messages":[{"role":"user","content":"%d. %s"}],"max_tokens":%d,"temperature":0.7,"seed":%d,"ignore_eos":true,"stream":true}`, round*streams+i, openings[i%len(openings)], spoken, i)
			}
			return p.ask(ctx, bodies)
		}
	}
	times, err := turns(ctx, max(b.pairs/5, 1), ask(theirs), ask(ours))
	if err != nil {
		return err
	}
	theirs.warm(streams)
	ours.warm(streams)
	fmt.Printf("%-28s %-12s %14s %-24s %16s %16s\n", "model", "server", "tokens/s", "of llama-server [95 %]", "processors' time", "first token")
	for i, p := range []*process{theirs, ours} {
		fmt.Printf("%-28s %-12s %10.0f t/s %-24s %14.1f s %14.2f s\n", paths[0][strings.LastIndex(paths[0], "/")+1:], []string{"llama-server", "ivo serve"}[i],
			streams*spoken/median(times[i]), share(times[0], times[i]), median(p.used), median(p.first))
	}
	fmt.Printf("%d streams at once of %d tokens each by chat completions, %s threads; medians of rounds in turns, the first left out; first token: of all streams.\n", streams, spoken, threads)
	return nil
}

// process is a server that was started.
type process struct {
	cmd   *exec.Cmd
	url   string
	mu    sync.Mutex
	first []float64 // seconds to the first token, of streams
	used  []float64 // seconds of processors, of rounds
}

// launch starts a server that takes --port, and waits until it is there.
func launch(ctx context.Context, path string, args ...string) (*process, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	l.Close()
	p := &process{url: "http://127.0.0.1:" + port, cmd: exec.CommandContext(ctx, path, append(args, "--port", port)...)}
	var log strings.Builder
	p.cmd.Stderr = &log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	for {
		if res, err := http.Get(p.url + "/health"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return p, nil
			}
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("%s ended: %w: %s", path, cmp.Or(err, errors.New("early")), log.String())
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *process) stop() { p.cmd.Process.Kill() }

// warm forgets the round that warmed up.
func (p *process) warm(streams int) { p.first, p.used = p.first[streams:], p.used[1:] }

// processors is the time that the process has used of all processors, in seconds (proc(5), fields 14 and 15, of a
// hundredth each).
func (p *process) processors() float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return float64(user+system) / 100
}

// ask asks for all bodies at once, and reads the streams to their ends.
func (p *process) ask(ctx context.Context, bodies []string) error {
	before := p.processors()
	errs := make([]error, len(bodies))
	var all sync.WaitGroup
	for i, body := range bodies {
		all.Go(func() { errs[i] = p.stream(ctx, body) })
	}
	all.Wait()
	p.used = append(p.used, p.processors()-before)
	return errors.Join(errs...)
}

// anew asks by a connection of its own each time: one that is used again may just have been closed by a server.
var anew = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (p *process) stream(ctx context.Context, body string) error {
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, "POST", p.url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := anew.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s", res.Status, text)
	}
	said := false
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || said {
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if json.Unmarshal([]byte(data), &chunk) == nil && len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != "" {
			said = true
			p.mu.Lock()
			p.first = append(p.first, time.Since(begin).Seconds())
			p.mu.Unlock()
		}
	}
	if lines.Err() == nil && !said {
		return errors.New("a stream without text")
	}
	return lines.Err()
}

// served compares block beam search by HTTP with the same on an engine without it, in one process.
func served(ctx context.Context, b *bench) error {
	paths, err := b.vocabularies()
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %-28s %12s  %s\n", "model", "16 answers at once", "seconds", "speed of the engine's own [95 %]")
	for _, path := range append([]string{b.lab}, paths...) {
		if err := withModel(path, func(m *llama.Model) error { return servedOf(ctx, b, m) }); err != nil {
			return err
		}
	}
	fmt.Println("Block beam of 2 beams and blocks of 4, guided by an untrained head, 24 tokens an answer; in turns, ratios of medians. By HTTP: streams over loopback, in the same process.")
	return nil
}

func servedOf(ctx context.Context, b *bench, m *llama.Model) error {
	const answers, spoken, each = 16, 24, 128
	layers := loop.Defaults(m.Info().Layers).Layers
	head, err := untrained(ctx, m, layers, false)
	if err != nil {
		return err
	}
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		return err
	}
	p := batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodBlockBeam, N: 1, Guide: decode.Guide{TopK: 20, Every: 1, Rest: decode.RestParent}, Beam: decode.Beam{Beams: 2, Block: 4}, RawBeta: true},
		Sampling: policy.Sampling{Temp: 1, IgnoreEOS: true}, MaxTokens: spoken,
	}
	f := &value.Function{Source: value.Head(head, valuehead.Reading{}), Layers: layers}
	o := serve.Options{
		Model: m, Encoder: encoder, Size: each, Context: batch.Context{Threads: b.threads, Cells: 4 * answers * each}, Policy: p,
		Heads: map[string]*value.Function{"default": f}, Head: "default",
	}
	s, err := serve.New(o)
	if err != nil {
		return err
	}
	defer s.Close()
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	p.Value = f.Source
	e, err := engine.New(m, o.Context.Params(llama.MaxSequences, layers))
	if err != nil {
		return err
	}
	defer e.Close()
	all := func(answer func(text string, i int) error) func() error {
		round := 0
		return func() error {
			round++
			errs := make([]error, answers)
			var wait sync.WaitGroup
			for i := range errs {
				wait.Go(func() { errs[i] = answer(fmt.Sprintf("%d. %s", round*answers+i, openings[i%len(openings)]), i) })
			}
			wait.Wait()
			return errors.Join(errs...)
		}
	}
	direct := all(func(text string, i int) error {
		record := prompt.Record{ID: strconv.Itoa(i), Text: text}
		tokens, err := encoder.Encode(record)
		if err == nil {
			_, err = p.Answer(ctx, e, batch.Task{Encoded: prompt.Encoded{Record: record, Tokens: tokens}}, func([]byte) {})
		}
		return err
	})
	byHTTP := all(func(text string, i int) error {
		body, err := json.Marshal(map[string]any{"prompt": text, "max_tokens": spoken, "ignore_eos": true, "stream": true, "seed": i})
		if err != nil {
			return err
		}
		res, err := http.Post(h.URL+"/v1/completions", "application/json", strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text2, err := io.ReadAll(res.Body)
		if err == nil && !strings.Contains(string(text2), "[DONE]") {
			err = fmt.Errorf("%s: %s", res.Status, text2)
		}
		return err
	})
	clock := b.clock()
	var times [2][]float64
	timed := func(k int, f func() error) func() error {
		return func() error {
			begin := clock()
			err := f()
			times[k] = append(times[k], (clock() - begin).Seconds())
			return err
		}
	}
	if _, err := turns(ctx, max(b.pairs/3, 1), timed(0, direct), timed(1, byHTTP)); err != nil {
		return err
	}
	for k, name := range []string{"on the engine", "by HTTP"} {
		t := times[k][1:]
		fmt.Printf("%-28s %-28s %12.2f  %s\n", m.Info().Desc, name, median(slices.Clone(t)), share(times[0][1:], t))
	}
	return nil
}
