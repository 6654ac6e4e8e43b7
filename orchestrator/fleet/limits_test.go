package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// A result with more bytes than the run takes is refused where it is made, before a byte of it is sent.
func TestLargeResult(t *testing.T) {
	_, s, whole := sample(t)
	s.States = nil
	if _, _, err := pack("k", s, nil, 10); err == nil || !strings.Contains(err.Error(), "and 10 B is the most") {
		t.Error(err)
	}
	if _, _, err := pack("k", s, nil, int64(len(whole))); err != nil {
		t.Error(err)
	}
}

// ordered is an order on its way that lies in an object of so many bytes, as is said, and whether its content was asked for.
type ordered struct {
	jetstream.Msg
	jetstream.ObjectStore
	size uint64
	read bool
}

func (*ordered) Data() []byte         { return nil }
func (*ordered) Headers() nats.Header { return nats.Header{inObject: {"order"}} }

func (o *ordered) GetInfo(context.Context, string, ...jetstream.GetObjectInfoOpt) (*jetstream.ObjectInfo, error) {
	return &jetstream.ObjectInfo{Size: o.size}, nil
}

func (o *ordered) GetBytes(context.Context, string, ...jetstream.GetObjectOpt) ([]byte, error) {
	o.read = true
	return nil, nil
}

// bomb is very little that becomes so many bytes when it is expanded, and says so beforehand or does not.
func bomb(t *testing.T, size int64, says bool) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if says {
		return z.EncodeAll(make([]byte, size), nil)
	}
	for part := make([]byte, 1<<20); size > 0; size -= int64(len(part)) {
		if _, err := z.Write(part[:min(int64(len(part)), size)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// An order with more bytes than a worker takes is refused: by the size of its object before that is read, and by that of its content
// before there is too much of it.
func TestLargeOrder(t *testing.T) {
	for size, taken := range map[uint64]bool{mostOrder: true, mostOrder + 1: false, math.MaxUint64: false} {
		o := &ordered{size: size}
		_, err := (&hand{files: o}).order(t.Context(), o, func([]byte) (*errand, error) { return nil, nil })
		if o.read != taken || (err == nil) != taken || err != nil && !strings.Contains(err.Error(), "is the most") {
			t.Errorf("of %d bytes, read %v: %v", size, o.read, err)
		}
	}
	large := bomb(t, mostOrder+1, true)
	for name, read := range map[string]func([]byte) (*errand, error){"to draw": (&drawer{}).read, "to score": (&judge{}).read} {
		if _, err := read(large); !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			t.Errorf("an order %s: %v", name, err)
		}
	}
	if err := expand(bomb(t, 32<<20, false), 16<<20, new(any)); !errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		t.Errorf("one that does not say how large it becomes: %v", err)
	}
}

// An order that no worker would take is not posted: a shard that long ends the run with what to do, and responses are scored by the
// run's own machine.
func TestLongOrder(t *testing.T) {
	var told strings.Builder
	c, err := Lead(t.Context(), Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Say: func(text string) { told.WriteString(text) }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	long := strings.Repeat("x", mostOrder)
	err = c.post(t.Context(), queue("model"), "k", 0, &rollout.Drawing{Stop: []string{long}})
	if err == nil || !strings.Contains(err.Error(), "256.0 MiB is the most (lower ") {
		t.Error(err)
	}
	_, err = c.score(t.Context(), &batch.Asking{Key: "k", Name: "scores", Asked: []batch.Asked{{Item: reward.Item{Response: long}}}})
	if !errors.Is(err, batch.ErrHere) || !strings.Contains(told.String(), "this machine scores them") {
		t.Errorf("%v, told %s", err, &told)
	}
}

// A result with more bytes than the run takes is refused by the run too, whatever the worker keeps to, and is damage: by the size of
// its object, by what it says that it holds, and, of scores, by what becomes of them.
func TestLargeResultComes(t *testing.T) {
	d, _, whole := sample(t)
	object := append(bytes.Clone(whole), make([]byte, mostLine)...)
	for most, taken := range map[int64]int{int64(len(whole)): 1, int64(len(whole)) - 1: 0} {
		c := led(t.TempDir(), &bucket{held: map[string][]byte{}, any: object})
		c.shares.results = 2 * most
		var told strings.Builder
		c.o.Say = func(text string) { told.WriteString(text) }
		shardTaken(t, c, d, encode(notice{Key: "k", Worker: "worker", Card: Card{Worker: "worker"}, Object: "o"}))
		w := c.members["worker"]
		if w.shards != taken || (w.wrong == 0) != (taken == 1) || strings.Contains(told.String(), "is the most") != (taken == 0) {
			t.Errorf("of %d bytes where %d are the most: %+v, %s", len(object), most+mostLine, w, &told)
		}
	}
	for _, head := range []parcel{{Answers: mostAnswers + 1, States: 1}, {Answers: 1, States: mostShard + 1}} {
		head.Protocol, head.Key = protocol, d.Key
		_, err := unpack(bytes.NewReader(append(encode(head), '\n')), d, filepath.Join(t.TempDir(), "states"))
		if wrong := (damage{}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), fmt.Sprintf("it holds %d bytes of answers and %d of states", head.Answers, head.States)) {
			t.Errorf("%+v: %v", head, err)
		}
	}
	c := led(t.TempDir(), &bucket{held: map[string][]byte{}, any: bomb(t, mostScores+1, true)})
	_, err := c.scores(t.Context(), &asked{Asking: &batch.Asking{}}, &notice{Object: "o"})
	if wrong := (damage{}); !errors.As(err, &wrong) || !strings.Contains(err.Error(), zstd.ErrDecoderSizeExceeded.Error()) {
		t.Errorf("scores: %v", err)
	}
}

// A run knows so many workers at a time: those that are gone make room for others, and what they did is kept.
func TestManyWorkers(t *testing.T) {
	c := &crew{}
	if err := c.start(t.TempDir(), Card{}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * mostWorkers {
		c.pulse(&pulse{Card: Card{Worker: fmt.Sprint("w", i)}})
	}
	if len(c.members) != mostWorkers || !c.full("another") || c.full("w0") {
		t.Errorf("%d workers, full %v", len(c.members), c.full("another"))
	}
	c.did("a file", &notice{Card: Card{Worker: "w0", Host: "desk"}, Tokens: 3})
	for i := range 10 {
		c.pulse(&pulse{Card: Card{Worker: fmt.Sprint("w", i), Host: "desk"}, Left: true})
	}
	for i := range 10 {
		if c.full(fmt.Sprint("new", i)) {
			t.Error("those that are gone leave no room")
		}
		c.saw(&Card{Worker: fmt.Sprint("new", i)})
	}
	r := c.record()
	if len(c.members) != mostWorkers || !c.full("another") || len(r.Workers) != 1 || r.Workers[0].Tokens != 3 {
		t.Errorf("%d workers, %+v", len(c.members), r.Workers)
	}
}

// What a worker says of itself and of its shards has an end: of a word what one may keep is kept, and a number that cannot be is told
// to nobody, while one that can is.
func TestAbsurdNumbers(t *testing.T) {
	long := strings.Repeat("x", 2*mostError)
	d, _, whole := sample(t)
	for name, tc := range map[string]struct {
		cores          int // and contexts
		decoded, drawn int64
		took           time.Duration
		true           bool
	}{
		"sound":    {8, 60, 40, 2 * time.Second, true},
		"negative": {-8, -60, -40, -2 * time.Second, false},
		"most":     {math.MaxInt, math.MaxInt64, math.MaxInt64, math.MaxInt64, false},
		"least":    {math.MinInt, math.MinInt64, math.MinInt64, math.MinInt64, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := led(t.TempDir(), &bucket{held: map[string][]byte{}, any: whole})
			longest := 0
			c.o.Say = func(text string) { longest = max(longest, len(text)) }
			card := Card{Protocol: protocol, Worker: "worker", Host: long, Cores: tc.cores, Contexts: tc.cores}
			c.join(encode(card))
			c.beat(encode(pulse{Card: card}))
			c.beat(encode(pulse{Card: card, Doing: slices.Repeat([]string{long}, 2*mostDoing), Tokens: tc.decoded, Unable: long}))
			shardTaken(t, c, d, encode(notice{Key: "k", Worker: "worker", Card: card, Object: "o", Bytes: tc.drawn, Tokens: tc.drawn, Took: tc.took}))
			scoresTaken(t, c, encode(notice{Key: "k", Worker: "worker", Card: card, Error: long, Lost: -1}))
			w, contexts := c.Status().Workers[0], c.contexts()
			if tc.true != (w.Cores == 8 && w.Tokens == 40 && w.Seconds == 2 && w.Rate > 0 && contexts == 8) || tc.true == (w.Cores == 0 && w.Tokens == 0 && w.Seconds == 0 && w.Rate == 0 && contexts == 1) || w.Shards != 1 {
				t.Errorf("%d contexts, %+v", contexts, w)
			}
			if len(w.Host) != mostWord || len(w.Doing) != mostDoing || len(w.Doing[0]) != mostWord || longest > mostError+2*mostWord {
				t.Errorf("of its host %d bytes are kept, and %d shards; people are told %d bytes at once", len(w.Host), len(w.Doing), longest)
			}
		})
	}
}

// What a worker decoded before it was this run's does not count, and one of whom there is a notice alone, which may be old, is not
// there.
func TestEarlierWork(t *testing.T) {
	c := led(t.TempDir(), nil)
	card := Card{Protocol: protocol, Worker: "worker"}
	c.heard(&card)
	if n := c.alive(); n != 0 || c.Status().Workers[0].State != "left" {
		t.Errorf("%d workers are there by a notice", n)
	}
	c.look(0, func(text string) { t.Errorf("told: %s", text) })
	for decoded, some := range map[int64]bool{1 << 30: false, 1<<30 + 1: true} {
		c.crew.members = map[string]*member{}
		c.beat(encode(pulse{Card: card, Tokens: 1 << 30}))
		c.beat(encode(pulse{Card: card, Tokens: decoded}))
		if w := c.Status().Workers[0]; c.alive() != 1 || (w.Rate > 0) != some {
			t.Errorf("after %d tokens, %d of them before: %+v", decoded, 1<<30, w)
		}
	}
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

// Room for results is kept for those that have asked for it, until they are there.
func TestRoom(t *testing.T) {
	c, err := Lead(t.Context(), Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Store: 4 << 20}) // 1 MiB for results
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	asks := func(of string, there bool) {
		t.Helper()
		if said, _ := c.admit(t.Context(), encode(wanted{of, 400 << 10})).(*granted); said == nil || said.Room != there {
			t.Errorf("%s: %v", of, said)
		}
	}
	asks("a.worker", true)
	asks("b.worker", true)
	asks("c.worker", false)
	asks("a.worker", true) // another try
	if _, err := c.results.PutBytes(t.Context(), "a.worker.1", make([]byte, 400<<10)); err != nil {
		t.Fatal(err)
	}
	c.rooms.came("a.worker.1")
	asks("c.worker", false)
	c.drop(t.Context(), "a.worker.1")
	asks("c.worker", true)
	if said := c.admit(t.Context(), encode(wanted{"d.worker", 1 << 20})); said != nil {
		t.Errorf("of more than a result may have: %v", said)
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
	if s := ownStore(""); s != leastStore || sharesOf(s).result() != leastStore/8 {
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
