package fleet_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
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
	if err := s.run(context.Background(), dir, nil); err != nil {
		t.Fatal(err)
	}
	s.same(t, dir)
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

// impostor is a program that speaks the fleet's protocol, and means no good.
type impostor struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	run      string
	model    string
	queue    string // "" for the model's
	consumer jetstream.Consumer
}

func newImpostor(t testing.TB, address string, o ...nats.Option) *impostor {
	t.Helper()
	i, err := tryImpostor(address, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.nc.Close)
	return i
}

func tryImpostor(address string, o ...nats.Option) (*impostor, error) {
	nc, err := nats.Connect(address, o...)
	if err != nil {
		return nil, err
	}
	m, err := nc.Request("ivo.join", []byte(`{"protocol":2,"worker":"impostor0001","host":"impostor"}`), 5*time.Second)
	if err != nil {
		nc.Close()
		return nil, err
	}
	var hello struct {
		Run   string
		Model struct{ Key string }
	}
	if err := json.Unmarshal(m.Data, &hello); err != nil || hello.Run == "" {
		nc.Close()
		return nil, fmt.Errorf("%s: %v", m.Data, err)
	}
	i := &impostor{nc: nc, run: hello.Run, model: hello.Model.Key}
	i.js, err = jetstream.New(nc)
	return i, err
}

// next takes an order, and says whose key it has.
func (i *impostor) next(t testing.TB) (jetstream.Msg, string) {
	t.Helper()
	var m jetstream.Msg
	until(t, "an order", func() bool {
		var err error
		if i.consumer == nil {
			if i.consumer, err = i.js.Consumer(context.Background(), "ivo-"+i.run+"-shards", cmp.Or(i.queue, fleet.Queue(i.model))); err != nil {
				return false
			}
		}
		m, err = i.consumer.Next(jetstream.FetchMaxWait(time.Second))
		return err == nil
	})
	return m, strings.Split(m.Subject(), ".")[4]
}

// tell publishes a notice.
func (i *impostor) tell(t testing.TB, key, more string) {
	t.Helper()
	if err := i.publish(key, more); err != nil {
		t.Fatal(err)
	}
}

func (i *impostor) publish(key, more string) error {
	kind := "notice"
	if i.queue != "" {
		kind = "scored"
	}
	text := fmt.Sprintf(`{"key":%q,"worker":"impostor0001","card":{"protocol":2,"worker":"impostor0001","host":"impostor"}%s}`, key, more)
	_, err := i.js.Publish(context.Background(), "ivo."+i.run+"."+kind+".impostor0001."+key, []byte(text))
	return err
}

// Results that are damaged, of another shard, or not there are named and drawn again by others; whoever has sent three is
// refused. A worker that fails, or takes orders and is never heard of again, does no harm either.
func TestDamage(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, told := s.lead(t, dir, fleet.Options{Heartbeat: time.Second})
	ended := make(chan error, 1)
	go func() { ended <- s.run(context.Background(), dir, c) }()
	i := newImpostor(t, c.Address())
	results, err := i.js.ObjectStore(context.Background(), "ivo-"+i.run+"-results")
	if err != nil {
		t.Fatal(err)
	}
	for k, what := range []string{"", "rubbish", `{"protocol":2,"key":"another","answers":3,"states":3}` + "\nabcdef"} {
		m, key := i.next(t)
		object := fmt.Sprintf("%s.impostor%d", key, k)
		if what != "" {
			if _, err := results.PutString(context.Background(), object, what); err != nil {
				t.Fatal(err)
			}
		}
		i.tell(t, key, fmt.Sprintf(`,"object":%q,"bytes":%d`, object, len(what)))
		if err := m.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "three strikes", func() bool {
		r, err := i.nc.Request("ivo.join", []byte(`{"protocol":2,"worker":"impostor0001","host":"impostor"}`), 5*time.Second)
		return err == nil && strings.Contains(string(r.Data), "3 of its results were damaged")
	})
	m, key := i.next(t)
	i.tell(t, key, `,"error":"no luck today"`)
	if err := m.Nak(); err != nil {
		t.Fatal(err)
	}
	i.next(t) // and nothing is heard of it
	w := s.worker(t, c.Address(), nil)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	finished(t, c, w)
	s.same(t, dir)
	for _, part := range []string{"its result is damaged: it is not there", "it does not say what it holds", "it is the result of another shard", "no luck today"} {
		if !told.has(part) {
			t.Errorf("nobody is told %q", part)
		}
	}
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

// A shard that cannot be drawn, and one that ends whoever takes it, are set aside with their errors, and the others are drawn.
func TestPoison(t *testing.T) {
	s := newSmall(t)
	c, told := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{Heartbeat: 300 * time.Millisecond})
	defer c.Close()
	all := s.drawings(8)
	all[2].MaxTokens = 1 << 20 // for which the context has no room
	i := newImpostor(t, c.Address())
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Draw(ctx, all[5:6], rollout.Taker{}) }()
	for range 6 { // it is given out again and again, to programs that do not come back
		i.next(t)
	}
	stop()
	<-ended
	drawn := make(chan int, len(all))
	go func() {
		ended <- c.Draw(context.Background(), all, rollout.Taker{Put: func(i int, s *rollout.Shard) error { drawn <- i; return nil }})
	}()
	w := s.worker(t, c.Address(), nil)
	err := <-ended
	if err == nil || !strings.Contains(err.Error(), "2 of 8 shards were set aside") {
		t.Errorf("the error is %v", err)
	}
	if len(drawn) != 6 {
		t.Errorf("%d of the others are drawn", len(drawn))
	}
	for _, part := range []string{"nobody has come back with it", "shard 2 failed"} {
		if !told.has(part) {
			t.Errorf("nobody is told %q", part)
		}
	}
	w.stop()
	<-w.ended
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

// Many shards of one prompt, with states, go through a queue that holds a few of them at a time.
func TestManyShards(t *testing.T) {
	s := newSmall(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{})
	defer c.Close()
	n := 200
	if os.Getenv("IVO_FLEET_MANY") != "" {
		fmt.Sscan(os.Getenv("IVO_FLEET_MANY"), &n)
	}
	schema, err := rollout.Schema(s.w.Model, s.o.Layers, false)
	if err != nil {
		t.Fatal(err)
	}
	all := s.drawings(n)
	for _, d := range all {
		d.Schema = &schema
	}
	w := s.worker(t, c.Address(), nil)
	times := make([]atomic.Int32, n)
	var taken, bytes atomic.Int64
	begun := time.Now()
	err = c.Draw(context.Background(), all, rollout.Taker{Put: func(i int, s *rollout.Shard) error {
		times[i].Add(1)
		if k := taken.Add(1); k%1000 == 0 {
			t.Log(k, resident())
		}
		info, err := os.Stat(s.File)
		if err == nil {
			bytes.Add(info.Size())
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range times {
		if k := times[i].Load(); k != 1 {
			t.Errorf("shard %d was taken %d times", i, k)
		}
	}
	t.Logf("%d shards in %v, %d bytes of states each: %s", n, time.Since(begun), bytes.Load()/int64(n), resident())
	w.stop()
	<-w.ended
}

// resident is the memory of the process, as Linux tells it.
func resident() string {
	data, _ := os.ReadFile("/proc/self/status")
	var out []string
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "VmHWM") || strings.HasPrefix(line, "VmRSS") {
			out = append(out, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(out, ", ")
}
