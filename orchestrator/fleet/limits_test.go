package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A result with more bytes than the run takes is refused where it is made, before a byte of it is sent.
func TestLargeResult(t *testing.T) {
	_, s, whole := sample(t)
	var out bytes.Buffer
	s.States = nil
	err := pack(&out, "k", s, nil, 10)
	if err == nil || !strings.Contains(err.Error(), "and 10 B is the most") || out.Len() > 0 {
		t.Errorf("%d bytes: %v", out.Len(), err)
	}
	if err := pack(&out, "k", s, nil, int64(len(whole))); err != nil {
		t.Error(err)
	}
}

// A run knows so many workers at a time: those that are gone make room for others, what they did is kept, and what all of them say of
// themselves has an end.
func TestManyWorkers(t *testing.T) {
	c := &crew{}
	if err := c.start(t.TempDir(), Card{}); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1<<20)
	for i := range 2 * mostWorkers {
		c.pulse(&pulse{Card: Card{Worker: fmt.Sprint("w", i), Host: long}, Doing: slicesOf(long, 100)})
	}
	if len(c.members) != mostWorkers || !c.full("another") || c.full("w0") {
		t.Errorf("%d workers, full %v", len(c.members), c.full("another"))
	}
	for id, m := range c.members {
		if len(m.Host) > mostWord || len(m.doing) > mostDoing || len(m.doing[0]) > mostWord {
			t.Fatalf("of %s %d bytes, and %d shards, are kept", id, len(m.Host), len(m.doing))
		}
	}
	c.did("a file", &notice{Card: Card{Worker: "w0", Host: "desk"}, Tokens: 3})
	for i := range 10 {
		c.pulse(&pulse{Card: Card{Worker: fmt.Sprint("w", i), Host: "desk"}, Left: true})
	}
	for i := range 10 {
		if c.full(fmt.Sprint("new", i)) {
			t.Error("those that are gone leave no room")
		}
		c.heard(&Card{Worker: fmt.Sprint("new", i)})
	}
	r := c.record()
	if len(c.members) != mostWorkers || !c.full("another") || len(r.Workers) != 1 || r.Workers[0].Tokens != 3 {
		t.Errorf("%d workers, %+v", len(c.members), r.Workers)
	}
}

func slicesOf(text string, n int) (out []string) {
	for range n {
		out = append(out, text)
	}
	return out
}

// A worker that is one too many is told so.
func TestNoMoreWorkers(t *testing.T) {
	c := &Coordinator{o: Options{Say: func(string) {}}, models: []manifest{{Key: "key-of-model", Name: "m"}}}
	if err := c.crew.start(t.TempDir(), Card{}); err != nil {
		t.Fatal(err)
	}
	for i := range mostWorkers + 1 {
		w := c.join(encode(Card{Protocol: protocol, Worker: fmt.Sprint("w", i)})).(*welcome)
		if (w.Refused != "") != (i == mostWorkers) {
			t.Fatalf("worker %d: %q", i, w.Refused)
		}
	}
}

// A file for which the worker's disk has no room is not sent at all, and one whose size is no size is not either.
func TestRoomForFile(t *testing.T) {
	before := free
	defer func() { free = before }()
	free = func(string) (int64, bool) { return 100, true }
	path := filepath.Join(t.TempDir(), "x.partial")
	if err := room(path, 150, 60); err != nil {
		t.Error(err)
	}
	if err := room(path, 150, 40); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "it takes 110 B more, and 100 B are free") {
		t.Error(err)
	}
	free = func(string) (int64, bool) { return 0, false }
	if err := room(path, 150, 0); err != nil {
		t.Error(err)
	}
}

// What the server of a run's own takes has an end, by messages, objects and all that it keeps; results are no larger than what there
// is room for, and what is free on the disk says how much that is.
func TestServerLimits(t *testing.T) {
	before := free
	defer func() { free = before }()
	free = func(string) (int64, bool) { return 400 << 30, true }
	if s := ownStore(""); s != 300<<30 || sharesOf(s).result() != mostShard {
		t.Errorf("a store of %d", s)
	}
	free = func(string) (int64, bool) { return 1 << 20, true }
	if s := ownStore(""); s != leastStore || sharesOf(s).result() != leastStore/4 {
		t.Errorf("a store of %d on a disk that is nearly full", s)
	}
	free = before
	const store = 4 << 20
	c, err := Lead(t.Context(), Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc, err := nats.Connect(c.Address()) // as a worker does
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish("ivo.join", make([]byte, mostPayload+1)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("a message of more than 1 MiB: %v", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	results, err := js.ObjectStore(t.Context(), c.run.results())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := results.PutBytes(t.Context(), "small", make([]byte, store/8)); err != nil {
		t.Error(err)
	}
	if _, err := results.PutBytes(t.Context(), "large", make([]byte, store)); err == nil || !strings.Contains(err.Error(), "maximum bytes exceeded") {
		t.Errorf("an object of more than its share: %v", err)
	}
	if _, err := c.files.PutBytes(t.Context(), "large", make([]byte, store)); err == nil || !strings.Contains(err.Error(), "maximum bytes exceeded") {
		t.Errorf("a file of more than its share: %v", err)
	}
	text := bytes.Repeat([]byte("x"), 100<<10)
	for n := 0; ; n++ {
		if _, err := js.Publish(context.Background(), c.run.subject(drawnNotice, "w", fmt.Sprint(n)), text); err != nil {
			if !strings.Contains(err.Error(), "maximum bytes exceeded") {
				t.Error(err)
			}
			break
		}
		if n > store/len(text) {
			t.Fatal("notices have no end")
		}
	}
}
