package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const streams = 64

// said is what a client has read of a stream.
type said struct {
	text     string
	logprobs []float64
	whole    bool // it came to its end
}

// read asks for a stream and reads it, until it has seen so many events and hangs up; -1 for never.
func read(ctx context.Context, url, body string, events int) (said, error) {
	var out said
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return out, err
	}
	if events == 0 {
		time.AfterFunc(0, hangUp) // while it is sent
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		return out, fmt.Errorf("%s: %s", res.Status, text)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
			continue
		case data == "[DONE]":
			out.whole = true
			continue
		}
		var chunk struct {
			Error   json.RawMessage
			Choices []struct {
				Delta    struct{ Content string }
				Logprobs struct{ Content []struct{ Logprob float64 } }
			}
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil || chunk.Error != nil {
			return out, fmt.Errorf("%w in %s", cmpErr(err), data)
		}
		for _, c := range chunk.Choices {
			out.text += c.Delta.Content
			for _, l := range c.Logprobs.Content {
				out.logprobs = append(out.logprobs, l.Logprob)
			}
		}
		if events--; events == 0 {
			return out, nil
		}
	}
	return out, lines.Err()
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("an error")
	}
	return err
}

// apart says how what was read differs from the whole answer.
func (s said) apart(whole said) string {
	if !s.whole {
		if !strings.HasPrefix(whole.text, s.text) {
			return fmt.Sprintf("says %q before it is cut off, alone %q", s.text, whole.text)
		}
		return ""
	}
	if s.text != whole.text || len(s.logprobs) != len(whole.logprobs) {
		return fmt.Sprintf("says %q, alone %q", s.text, whole.text)
	}
	for i, l := range s.logprobs {
		if d := l - whole.logprobs[i]; !(d < 1e-3 && d > -1e-3) {
			return fmt.Sprintf("token %d has log-probability %g, alone %g", i, l, whole.logprobs[i])
		}
	}
	return ""
}

// Sixty-four clients at a time ask by all methods, and a third of the streams are hung up on at random. Each reads
// what the server says when it is asked that alone, to the end or to where it hung up; and in the end
// nobody waits.
//
// IVO_SOAK=10m lets it go on for as long, and looks at memory and descriptors too.
func TestSoak(t *testing.T) {
	o := options(t)
	o.Context.Cells, o.MaxQueue = 4096, 4*streams // of those who have hung up some are not missed yet
	s, url := start(t, o)
	var bodies []string
	for _, guidance := range []tree{
		{}, {"method": "best-of-n", "samples": 3, "reward": "taste"}, {"method": "block-best-of-k", "samples": 3, "block": 4, "reward": "taste"},
		{"method": "block-beam", "beams": 3, "block": 3, "reward": "taste"}, {"method": "tokenwise", "candidates": 3, "reward": "taste"},
		{"method": "block-sampling", "candidates": 3, "block": 2, "reward": "taste"},
	} {
		for seed := range 4 {
			bodies = append(bodies, body(t, tree{
				"messages":   []tree{{"role": "user", "content": "i found a lamp in the garden today. it was red. " + strings.Repeat("my friend lost it. ", seed%3)}},
				"max_tokens": 16, "seed": seed, "guidance": guidance, "stream": true, "logprobs": true,
			}))
		}
	}
	alone := make([]said, len(bodies))
	for i, b := range bodies {
		var err error
		if alone[i], err = read(t.Context(), url, b, -1); err != nil || !alone[i].whole || len(alone[i].logprobs) == 0 {
			t.Fatalf("%s: %+v, %v", b, alone[i], err)
		}
	}
	long, _ := time.ParseDuration(os.Getenv("IVO_SOAK"))
	until := time.Now().Add(long)
	var finished, cut atomic.Int64
	var clients sync.WaitGroup
	for client := range streams {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(3, uint64(client)))
			for n := 0; (n < 1 || time.Now().Before(until)) && !t.Failed(); n++ {
				i, events := rng.IntN(len(bodies)), -1
				if rng.IntN(3) == 0 {
					events = rng.IntN(8)
				}
				got, err := read(t.Context(), url, bodies[i], events)
				switch {
				case err != nil && (events < 0 || !errors.Is(err, context.Canceled)):
					t.Errorf("%s: %v", bodies[i], err)
					return
				case got.whole:
					finished.Add(1)
				case events < 0:
					t.Errorf("%s ended early", bodies[i])
				default:
					cut.Add(1)
				}
				if d := got.apart(alone[i]); d != "" {
					t.Errorf("%s %s", bodies[i], d)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	flat(t, done, until)
	<-done
	http.DefaultClient.CloseIdleConnections()
	e := s.decoder.(*local).engine
	for s.pending.Load() > 0 || e.Load().Jobs > 0 || e.Load().Queued > 0 { // those who hung up last are still noticed
		runtime.Gosched()
	}
	if l := e.Load(); l.Sequences != 0 || l.Cells != 0 {
		t.Errorf("in the end the engine has %+v", l)
	}
	if finished.Load() == 0 || cut.Load() == 0 {
		t.Errorf("%d streams came to their end, %d were hung up on", finished.Load(), cut.Load())
	}
	t.Logf("%d streams came to their end, %d were hung up on; %d tokens decoded in %d batches, %d of prompts reused",
		finished.Load(), cut.Load(), e.Stats().Tokens, e.Stats().Decodes, e.Stats().Reused)
}

// flat watches a long soak: after a first fifth, and a minute at least, neither memory nor open files grow by more than
// a twentieth.
func flat(t *testing.T, done <-chan struct{}, until time.Time) {
	t.Helper()
	whole := time.Until(until)
	if whole < 10*time.Second {
		return
	}
	tick := time.NewTicker(whole / 20)
	defer tick.Stop()
	var resident, files []int
	for {
		select {
		case <-done:
			for name, n := range map[string][]int{"resident pages": resident, "open files": files} {
				begun := max(4, int(20*time.Minute/whole))
				from, to := n[min(len(n)-1, begun)], n[len(n)-1]
				t.Logf("%s: %v", name, n)
				if float64(to) > 1.05*float64(from) {
					t.Errorf("%s grew from %d to %d", name, from, to)
				}
			}
			return
		case <-tick.C:
			runtime.GC()
			pages, fds := process()
			resident, files = append(resident, pages), append(files, fds)
		}
	}
}

// process tells of this process' resident pages and open files, where the system does.
func process() (pages, files int) {
	var total int
	if stat, err := os.ReadFile("/proc/self/statm"); err == nil {
		fmt.Fscan(bytes.NewReader(stat), &total, &pages)
	}
	fds, _ := os.ReadDir("/proc/self/fd")
	return pages, len(fds)
}
