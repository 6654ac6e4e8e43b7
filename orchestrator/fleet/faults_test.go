package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// until waits for something that is about to happen.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 6000 {
		if is() {
			return
		}
		time.Sleep(50 * time.Millisecond) // polls, and asserts nothing by time
	}
	t.Fatalf("in vain: %s", what)
}

// Workers that are killed, frozen beyond their heartbeat, or cut off from the server change nothing in what the run comes to.
func TestFaults(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, _ := s.lead(t, dir, fleet.Options{Heartbeat: time.Second})
	ctx, stop := context.WithCancel(context.Background())
	over := make(chan struct{})
	faults := 0
	go func() {
		defer close(over)
		rng := rand.New(rand.NewPCG(1, 1))
		type post struct {
			*link
			*worker
		}
		start := func() post {
			l := newLink(t, c.Address())
			return post{l, s.worker(t, l.url(), nil)}
		}
		posts := []post{start(), start(), start()}
		for ctx.Err() == nil {
			i := rng.IntN(len(posts))
			switch p := posts[i]; rng.IntN(4) {
			case 0: // killed: nothing that it says comes through any more
				p.set(true, false)
				p.stop()
				posts[i] = start()
			case 1:
				p.set(false, true)
				time.Sleep(1500 * time.Millisecond)
				p.set(false, false)
			case 2:
				p.set(true, false)
				time.Sleep(500 * time.Millisecond)
				p.set(false, false)
			case 3: // it hands back
				p.stop()
				posts[i] = start()
			}
			faults++
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
		}
	}()
	err := s.run(context.Background(), dir, c)
	stop()
	<-over
	if err != nil {
		t.Fatal(err)
	}
	finished(t, c)
	s.same(t, dir)
	t.Log(faults, "faults")
}

// freePort is an address that nobody listens at.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// hostPort are an address's parts.
func hostPort(t testing.TB, at string) (string, int) {
	t.Helper()
	host, text, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// A run that is stopped with its server again and again goes on with the same workers, and a lone machine goes on with what a
// fleet has left.
func TestRestarted(t *testing.T) {
	s := newSmall(t)
	dir, at := filepath.Join(t.TempDir(), "fleet"), freePort(t)
	workers := []*worker{s.worker(t, "nats://"+at, nil), s.worker(t, "nats://"+at, nil)}
	for stops := 0; ; stops++ {
		c, _ := s.lead(t, dir, fleet.Options{Listen: at, Heartbeat: 2 * time.Second})
		ctx, stop := context.WithCancelCause(context.Background())
		errStopped := errors.New("stopped")
		if before := c.Drawn(); stops < 3 {
			go func() {
				until(t, "a shard", func() bool { return c.Drawn() > before || ctx.Err() != nil })
				stop(errStopped)
			}()
		}
		err := s.run(ctx, dir, c)
		stop(nil)
		if err == nil {
			finished(t, c, workers...)
			break
		}
		if !errors.Is(err, errStopped) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.same(t, dir)
}

// A machine goes on alone where a fleet has stopped.
func TestGoesOnAlone(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, _ := s.lead(t, dir, fleet.Options{})
	w := s.worker(t, c.Address(), nil)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		until(t, "two shards", func() bool { return c.Drawn() > 1 || ctx.Err() != nil })
		stop()
	}()
	if err := s.run(ctx, dir, c); err == nil {
		t.Fatal("it was over before it was stopped")
	}
	w.stop()
	<-w.ended
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, end, err := fleet.Alone(dir, fleet.Card{Host: "desk"}, s.w.Model)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.run(context.Background(), dir, nil); err != nil {
		t.Fatal(err)
	}
	s.same(t, dir)
	under := filepath.Join(dir, run.FleetDir)
	if _, err := os.Stat(under); end(false) != nil || err != nil {
		t.Fatalf("what is under way is not there any more: %v", err)
	}
	if end(true) != nil {
		t.Error(err)
	}
	if _, err := os.Stat(under); !run.Absent(err) {
		t.Errorf("what was under way is left: %v", err)
	}
}

// A run that may not be drawn is left as it was: one that another process works on, one that is refused before anything of it is
// drawn, and a folder that is none.
func TestRefusedRun(t *testing.T) {
	s := newSmall(t)
	s.o.ShardPrompts = 12
	dir := filepath.Join(t.TempDir(), "run")
	lead := func(dir string) error {
		c, err := fleet.Lead(context.Background(), fleet.Options{Dir: dir, Listen: "127.0.0.1:0"}, s.w.Model)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	s.part(t, dir, nil, batch.Own{}, 2)
	before, others := files(t, dir), t.TempDir()
	if err := os.WriteFile(filepath.Join(others, "letter.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ folder, err string }{
		"a run": {dir, ""}, "new": {filepath.Join(t.TempDir(), "new"), ""},
		"a folder of others": {others, "holds no run"},
	} {
		err := lead(tc.folder)
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: %v", name, err)
		}
		for _, made := range []string{run.FleetDir, run.FleetFile} {
			if _, err := os.Stat(filepath.Join(tc.folder, made)); !run.Absent(err) {
				t.Errorf("%s: %s: %v", name, made, err)
			}
		}
	}
	d, err := run.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := lead(dir); err == nil || !strings.Contains(err.Error(), "in use by another ivo") {
		t.Error(err)
	}
	equal(t, files(t, dir), before)
}

// A model of the same name with another weight, or with the same weights and another rope base, is refused by what it is.
func TestOtherModel(t *testing.T) {
	s := newSmall(t)
	c, told := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	for name, change := range map[string]func(kvs []gguf.KV, tensors []gguf.Tensor){
		"weights": func(_ []gguf.KV, tensors []gguf.Tensor) { tensors[3].Data[0]++ },
		"metadata": func(kvs []gguf.KV, _ []gguf.Tensor) {
			for i := range kvs {
				if strings.HasSuffix(kvs[i].Key, ".rope.freq_base") {
					kvs[i].Value = float32(101)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := written(t, filepath.Join(t.TempDir(), "summarize-s.gguf"), func(kvs []gguf.KV, tensors []gguf.Tensor) []gguf.KV {
				change(kvs, tensors)
				return kvs
			})
			m, err := llama.Load(path, llama.ModelParams{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model = m })
			if err := <-w.ended; err == nil || !strings.Contains(err.Error(), "summarize-s.gguf is another model than the run's summarize-s.gguf") {
				t.Errorf("the error is %v", err)
			}
			if !told.has("is refused: summarize-s.gguf is another model") {
				t.Error("the run's people are not told")
			}
		})
	}
	t.Run("memory", func(t *testing.T) {
		w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Card.Memory = 1 << 20 })
		if err := <-w.ended; err == nil || !strings.Contains(err.Error(), "needs about") {
			t.Errorf("the error is %v", err)
		}
	})
}

// drawings are shards of one prompt each.
func (s *small) drawings(n int) (out []*rollout.Drawing) {
	for i := range n {
		p := s.w.Prompts[i%len(s.w.Prompts)]
		p.ID = fmt.Sprint(p.ID, "-", i)
		out = append(out, &rollout.Drawing{
			Key: fmt.Sprintf("%024x", i), Name: fmt.Sprint("shard ", i), Context: s.o.Context, Parallel: s.o.Parallel, Layers: s.o.Layers,
			Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: s.o.Sampling, MaxTokens: 4, Streams: rollout.Streams{Seed: 1, Round: 1},
			Tasks: rollout.TasksOf([]batch.Task{{Encoded: p, Samples: 2}}),
		})
	}
	return out
}

// An order whose redelivery lies an hour ahead, as that of a lost worker does when the server's clock is set back by an hour, is
// given out again to a worker that waits: shards as well as responses to score.
func TestClockSetBack(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, told := s.lead(t, dir, fleet.Options{Heartbeat: time.Second})
	ended := make(chan error, 1)
	go func() { ended <- s.run(context.Background(), dir, c) }()
	hide := func(queue string) {
		i := newImpostor(t, c.Address())
		i.queue = queue
		m, _ := i.next(t)
		if err := m.NakWithDelay(time.Hour); err != nil {
			t.Error(err)
		}
		i.nc.Flush()
		i.nc.Close()
	}
	hide("")
	w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	until(t, "a shard that is given out again", func() bool { return told.has("lay on the queue while workers waited") || len(ended) > 0 })
	hide(fleet.ScoresQueue)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	finished(t, c, w)
	s.same(t, dir)
	if !told.has(".jsonl lay on the queue") {
		t.Error("no responses were given out again")
	}
}

// A server that asks whether the worker is there before the worker has said hello, as it does where the worker's machine is busy,
// is not taken for another kind of server.
func TestSlowHello(t *testing.T) {
	s := newSmall(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked, link := make(chan bool, 1), newLink(t, c.Address())
	go func() {
		first, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprint(first, `INFO {"server_id":"a server","max_payload":1048576}`+"\r\nPING\r\n")
		io.Copy(io.Discard, first)
		first.Close()
		asked <- true
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			go link.carry(a)
		}
	}()
	w := s.worker(t, "nats://"+l.Addr().String(), func(o *fleet.WorkerOptions) { o.Model = s.w.Model })
	drawn(t, s, c)
	if len(asked) == 0 {
		t.Error("nobody was asked too early")
	}
	w.stop()
	<-w.ended
}
