package fleet_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

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

// A shard that workers give back again and again, for reasons that are not its own, is drawn by who can.
func TestGivenBack(t *testing.T) {
	s := newSmall(t)
	dir := filepath.Join(t.TempDir(), "fleet")
	c, told := s.lead(t, dir, fleet.Options{Heartbeat: time.Minute})
	ended := make(chan error, 1)
	go func() { ended <- s.run(context.Background(), dir, c) }()
	i := newImpostor(t, c.Address())
	times := map[string]int{}
	for most := 0; most < 7; {
		m, key := i.next(t)
		i.tell(t, key, `,"back":true`)
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
		times[key]++
		most = max(most, times[key])
	}
	w := s.worker(t, c.Address(), nil)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	finished(t, c, w)
	s.same(t, dir)
	if told.has("set aside") || told.has("nobody has come back") {
		t.Error("a shard that was given back is told to be one with which nobody comes back")
	}
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
