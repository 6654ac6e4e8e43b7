package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// bucket is an object store in memory.
type bucket struct {
	jetstream.ObjectStore
	held map[string][]byte
	any  []byte // under every other name, where it is not nil
}

// content is what a bucket holds under a name.
type content struct {
	jetstream.ObjectResult
	*bytes.Reader
}

func (c content) Read(b []byte) (int, error) { return c.Reader.Read(b) }
func (content) Close() error                 { return nil }
func (content) Error() error                 { return nil }

func (c content) Info() (*jetstream.ObjectInfo, error) {
	return &jetstream.ObjectInfo{Size: uint64(c.Size())}, nil
}

func (b *bucket) Put(_ context.Context, meta jetstream.ObjectMeta, from io.Reader) (*jetstream.ObjectInfo, error) {
	data, err := io.ReadAll(from)
	b.held[meta.Name] = data
	return &jetstream.ObjectInfo{Size: uint64(len(data))}, err
}

func (b *bucket) PutBytes(_ context.Context, name string, data []byte) (*jetstream.ObjectInfo, error) {
	b.held[name] = data
	return &jetstream.ObjectInfo{Size: uint64(len(data))}, nil
}

func (b *bucket) Get(ctx context.Context, name string, _ ...jetstream.GetObjectOpt) (jetstream.ObjectResult, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if data := b.held[name]; data != nil {
		return content{Reader: bytes.NewReader(data)}, nil
	}
	if b.any != nil {
		return content{Reader: bytes.NewReader(b.any)}, nil
	}
	return nil, jetstream.ErrObjectNotFound
}

func (*bucket) Delete(context.Context, string) error { return nil }

// queues take all orders, and have none to withdraw.
type queues struct{ jetstream.JetStream }

func (queues) Stream(context.Context, string) (jetstream.Stream, error) {
	return nil, jetstream.ErrStreamNotFound
}

func (queues) PublishMsg(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return nil, nil
}

// message is a notice on its way, which is told what becomes of it.
type message struct {
	jetstream.Msg
	data      []byte
	delivered uint64
	settled   string
}

func (m *message) Data() []byte                     { return m.data }
func (m *message) Term() error                      { m.settled = "refused"; return nil }
func (m *message) NakWithDelay(time.Duration) error { m.settled = "later"; return nil }
func (m *message) DoubleAck(context.Context) error  { m.settled = "done"; return nil }
func (m *message) Metadata() (*jetstream.MsgMetadata, error) {
	return &jetstream.MsgMetadata{NumDelivered: m.delivered}, nil
}

// led is a coordinator without a server.
func led(dir string, results *bucket) *Coordinator {
	c := &Coordinator{
		o: Options{Tries: tries, Heartbeat: heartbeat, Say: func(string) {}}, dir: dir, run: "run", nc: &nats.Conn{}, js: queues{}, results: results,
		files: &bucket{held: map[string][]byte{}}, models: []manifest{{Key: "key-of-model", Name: "m"}},
	}
	if err := c.crew.start(dir, Card{}); err != nil {
		panic(err)
	}
	c.offers, c.shares = map[string]*offered{}, sharesOf(mostStore)
	for _, q := range []string{queue(""), scoresQueue} {
		c.queues.Store(q, true)
	}
	return c
}

// sound finds what of the coordinator's books cannot be told or kept.
func sound(t *testing.T, c *Coordinator) {
	t.Helper()
	s := c.Status()
	if c.members[""] != nil {
		t.Error("it knows a worker that does not say who it is")
	}
	if _, err := json.Marshal(s); err != nil {
		t.Error(err)
	}
	for _, w := range s.Workers {
		if w.Cores < 0 || w.Cores > mostCores || w.Tokens < 0 || w.Tokens > mostTokens || w.Seconds < 0 || w.Seconds > kept.Seconds() || w.Rate < 0 || w.Shards < 0 || w.Scored < 0 || w.Failures < 0 {
			t.Errorf("%+v", w)
		}
	}
	if err := c.crew.save(); err != nil {
		t.Error(err)
	}
	if _, err := ReadRecord(c.crew.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Whatever comes as an order is refused, or is one.
func FuzzOrder(f *testing.F) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	d, _, _ := sample(f)
	f.Add(encode(d), true)
	f.Add([]byte(`{"Tasks":[{"Samples":-1}]}`), true)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xff}, false)
	f.Fuzz(func(t *testing.T, data []byte, packed bool) {
		if packed {
			data = z.EncodeAll(data, nil)
		}
		d := &rollout.Drawing{}
		if err := expand(data, mostOrder, d); err == nil && d.Count() < 0 {
			t.Errorf("%d answers", d.Count())
		}
	})
}

// Whatever workers say and ask for, the coordinator answers or does not, sends them nothing but parts of the files that it offers,
// and goes on.
func FuzzMessages(f *testing.F) {
	for _, text := range []string{
		`{"protocol":2,"worker":"a","model":"key-of-model","named":"m.gguf","cores":2,"memory":1}`, `{"worker":"a","cores":-1,"doing":["x"],"tokens":-1,"left":true}`,
		`{"key":"key-of-model","part":-1}`, `{"key":"key-of-model","part":0}`, `{"key":"key-of-model","part":2,"anew":true}`, `{"key":"key-of-model","part":3}`, `{"key":"key-of-model","part":1e9}`,
		`{"key":"gone","part":0}`, `{"key":"x","part":0}`, `null`, `[]`,
	} {
		f.Add([]byte(text))
	}
	const model = "a model of three parts"
	path := filepath.Join(f.TempDir(), "model.gguf")
	if err := os.WriteFile(path, []byte(model), 0o600); err != nil {
		f.Fatal(err)
	}
	defer func(n int64) { partSize = n }(partSize)
	partSize = 8
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		c := led(dir, nil)
		files := &bucket{held: map[string][]byte{}}
		c.files = files
		c.offers["key-of-model"] = &offered{manifest: manifest{Key: "key-of-model", Name: "m", Bytes: int64(len(model))}, path: path, put: map[int]bool{}}
		c.offers["gone"] = &offered{manifest: manifest{Key: "gone", Bytes: 3}, path: path + ".gone", put: map[int]bool{}}
		for range 2 {
			c.join(data)
			c.beat(data)
			answer, _ := c.ask(t.Context(), data).(*reply)
			if answer != nil && answer.Manifest != nil && (len(answer.Manifest.Parts) != 3 || answer.Manifest.Part != 8) {
				t.Errorf("%+v", answer.Manifest)
			}
		}
		for name, part := range files.held {
			if !strings.Contains(model, string(part)) || len(part) == 0 {
				t.Errorf("it sends %q as %s", part, name)
			}
		}
		for _, m := range c.members {
			m.Called()
			m.Kind()
		}
		sound(t, c)
	})
}

// Whatever a worker says of a shard or of scores, and whatever it has stored, is taken once where it is what was ordered, and else
// tried again, set aside or dropped.
func FuzzNotices(f *testing.F) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	d, _, whole := sample(f)
	card := Card{Protocol: protocol, Worker: "worker", Host: "host"}
	good := 1.5
	scores := marks{protocol, "k", []batch.Score{{Prompt: "p", Sample: 1, Reward: &good}}}
	f.Add(uint8(0), encode(notice{Key: "k", Worker: "worker", Card: card, Object: "o", Bytes: int64(len(whole)), Tokens: 4, Took: time.Second}), whole)
	f.Add(uint8(0), encode(notice{Key: "k", Worker: "worker", Card: card, Object: "o", Bytes: 1 << 62}), whole[:len(whole)/2])
	f.Add(uint8(0), encode(notice{Key: "k", Worker: "worker", Card: Card{Worker: "worker", Cores: -1, Contexts: -1}, Object: "o", Bytes: -1, Tokens: -1, Took: -1}), whole)
	f.Add(uint8(0), encode(notice{Key: "other", Card: card, Object: "o"}), whole)
	f.Add(uint8(3), encode(notice{Key: "k", Worker: "worker", Card: card, Object: "o"}), encode(scores))
	f.Add(uint8(3), encode(notice{Key: "k", Card: card, Object: "o"}), []byte(`{"protocol":2,"key":"k","scores":[{"id":"p","sample":1,"reward":1e999}]}`))
	for kind := range uint8(2) {
		f.Add(kind, encode(notice{Key: "k", Worker: "worker", Card: card, Error: "no luck"}), []byte{})
		f.Add(kind, encode(notice{Key: "k", Worker: "worker", Card: card, Back: true}), []byte{})
		f.Add(kind, encode(notice{Key: "k", Worker: "worker", Card: card, Error: "nobody comes back", Lost: given}), []byte{})
		f.Add(kind, encode(notice{Key: "k", Card: card, Error: "no luck", Tokens: -1, Took: -1 << 63, Lost: -1}), []byte{})
		f.Add(kind, encode(notice{Key: "k", Card: Card{Host: "host"}, Error: "no luck"}), []byte{})
		f.Add(kind, []byte("null"), []byte{})
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, kind uint8, said, object []byte) {
		if kind%4 == 3 {
			object = z.EncodeAll(object, nil)
		}
		os.Remove(filepath.Join(dir, run.FleetFile)) // of the last
		c := led(dir, &bucket{held: map[string][]byte{}, any: object})
		if kind%2 == 0 {
			shardTaken(t, c, d, said)
		} else {
			scoresTaken(t, c, said)
		}
		sound(t, c)
	})
}

// shardTaken has the coordinator told of a shard, as often as it asks for it.
func shardTaken(t *testing.T, c *Coordinator, d *rollout.Drawing, said []byte) {
	put := 0
	s := &stage{Coordinator: c, all: []*rollout.Drawing{d}, open: map[string]*order{}, done: make(chan struct{}), parent: t.Context(), out: 1}
	s.ctx, s.cancel = context.WithCancelCause(t.Context())
	defer s.cancel(nil)
	s.to.Put = func(_ int, shard *rollout.Shard) error {
		if put++; len(shard.Answers) != d.Count() {
			t.Errorf("a shard of %d answers", len(shard.Answers))
		}
		return nil
	}
	s.open[d.Key] = &order{Drawing: d, queued: true}
	for n := range uint64(8) {
		m := &message{data: said, delivered: n + 1}
		if err := s.take(m); err != nil {
			t.Fatal(err)
		}
		if m.settled == "" {
			t.Error("the server is not told what becomes of the notice")
		}
	}
	if put > 1 || put+len(s.open)+len(s.aside) != 1 || s.out != len(s.open) {
		t.Errorf("%d were put, %d are open, %d set aside, %d out", put, len(s.open), len(s.aside), s.out)
	}
}

// scoresTaken has the coordinator told of scores, as often as it asks for them.
func scoresTaken(t *testing.T, c *Coordinator, said []byte) {
	o := &asked{Asking: &batch.Asking{Key: "k", Asked: []batch.Asked{{Item: reward.Item{Prompt: prompt.Record{ID: "p"}}, Sample: 1}}}, reply: make(chan []batch.Score, 1)}
	c.desk.asked, c.desk.ctx = map[string]*asked{"k": o}, t.Context()
	for n := range uint64(8) {
		m := &message{data: said, delivered: n + 1}
		c.hear(m)
		if m.settled == "" {
			t.Error("the server is not told what becomes of the notice")
		}
	}
	select {
	case scores := <-o.reply:
		if scores != nil && (len(scores) != 1 || scores[0].Prompt != "p" || scores[0].Reward == nil && scores[0].Error == "") {
			t.Errorf("%+v", scores)
		}
	default:
	}
}

// Whatever a run answers a worker, the worker takes it or says what to do: a welcome that it can work by, a file that is as its
// parts' sums say, scores that the run takes, and how the fleet is.
func FuzzAnswers(f *testing.F) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		f.Fatal(err)
	}
	s.Start()
	f.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		f.Fatal("the server does not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(nc.Close)
	var said []byte
	for _, subject := range []string{joinSubject, statusSubject, names("run").subject("ask")} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { m.Respond(said) }); err != nil {
			f.Fatal(err)
		}
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	const text = "a file"
	sum := strings.Repeat("a", 64)
	f.Add(uint8(0), encode(welcome{Run: "run", Model: manifest{Key: "k", Name: "m"}, Heartbeat: time.Minute}))
	f.Add(uint8(0), encode(welcome{Run: "a b.*", Heartbeat: 1}))
	f.Add(uint8(0), encode(welcome{Run: "run", Refused: "no", Heartbeat: -1}))
	f.Add(uint8(1), encode(reply{Manifest: &manifest{Key: sum, Name: "m", Bytes: int64(len(text)), Part: 4, Parts: []string{sha256Of(text[:4]), sha256Of(text[4:])}}}))
	f.Add(uint8(1), encode(reply{Manifest: &manifest{Bytes: 1<<63 - 1, Part: 1<<63 - 1, Parts: []string{sum}}}))
	f.Add(uint8(1), encode(reply{Manifest: &manifest{Bytes: -1, Part: 0}}))
	f.Add(uint8(1), encode(reply{Error: "no"}))
	f.Add(uint8(3), encode(Status{Run: "run", Left: 1, Workers: []Worker{{State: "works"}}}))
	f.Add(uint8(3), []byte(`{"done":"many"}`))
	one := batch.Asked{Item: reward.Item{Prompt: prompt.Record{ID: "p", Fields: map[string]json.RawMessage{"gold": json.RawMessage(`{"task":"safety"}`)}}, Response: "the film was good"}, Sample: 1}
	for _, spec := range []string{"sentiment", "0.3*length:7 + distinct", "min(gold, regex:a+)", "head:" + sum + ".gguf@" + sum + ".gguf", "json:" + sum + ".json", "cmd:cat", "cls:good@../../x"} {
		f.Add(uint8(2), encode(batch.Asking{Key: "k", Name: "scores", Reward: spec, Asked: []batch.Asked{one}}))
	}
	cache := f.TempDir()
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond) // what does not come is asked for again and again
		defer cancel()
		said = data
		files := &bucket{held: map[string][]byte{partName(sum, 0): []byte(text[:4]), partName(sum, 1): []byte(text[4:])}}
		results := &bucket{held: map[string][]byte{}}
		w := &worker{o: WorkerOptions{Cache: cache, Say: func(string) {}}, nc: nc, doing: map[string]int{}, card: Card{Worker: "worker"}}
		h := &hand{worker: w, run: "run", files: files, results: results}
		switch kind % 4 {
		case 0:
			if hello, err := w.join(ctx); err == nil {
				if hello.Run == "" || hello.Refused != "" {
					t.Errorf("%+v", hello)
				}
				time.NewTicker(hello.Heartbeat / 4).Stop() // as a worker's is
			}
		case 1:
			path, err := w.fetch(ctx, "run", files, sum, ".gguf")
			if err != nil {
				return
			}
			if got, err := os.ReadFile(path); err != nil || !strings.HasPrefix(text, string(got)) {
				t.Errorf("%q is taken, %v", got, err)
			}
			os.Remove(path)
		case 2:
			said = encode(reply{Error: "it is not sent"})
			scored(ctx, t, &judge{hand: h}, results, z.EncodeAll(fits(data), nil))
		case 3:
			s, err := ReadStatus(ctx, nc.ConnectedUrl(), Invite{})
			if hinted := (*fault.Error)(nil); (s == nil) == (err == nil) || err != nil && !errors.As(err, &hinted) {
				t.Errorf("%+v, %v", s, err)
			}
		}
	})
}

// fits is an order to score with the fingerprint of the reward that it names, where there is one.
func fits(order []byte) []byte {
	a := &batch.Asking{}
	if json.Unmarshal(order, a) != nil {
		return order
	}
	if _, err := reward.Carry(a.Reward, func(string) (string, error) { return "", errors.New("a file") }); err != nil {
		return order
	}
	m, err := reward.Open(a.Reward, reward.Options{})
	if err != nil {
		return order
	}
	defer m.Close()
	a.Fingerprint = m.Info().Fingerprint
	return encode(a)
}

// scored has a worker score what an order says, and a coordinator read what came of it.
func scored(ctx context.Context, t *testing.T, j *judge, results *bucket, order []byte) {
	defer j.close()
	e, err := j.read(order)
	if err != nil {
		return
	}
	r, err := e.do(ctx)
	if err != nil {
		return
	}
	if err := r.store(ctx, &r.notice); err != nil {
		t.Fatal(err)
	}
	a := &batch.Asking{}
	if err := expand(order, mostOrder, a); err != nil {
		t.Fatal(err)
	}
	c := &Coordinator{results: results}
	if _, err := c.scores(ctx, &asked{Asking: a}, &r.notice); err != nil {
		t.Errorf("the run does not take %s: %v", results.held[r.Object], err)
	}
}

// Whatever the files of a fleet hold that lie in a run, they are refused or read: by secrets that are read a worker gets in, and who
// did what goes on from what is read.
func FuzzFiles(f *testing.F) {
	dir := f.TempDir()
	fresh, err := newSecrets()
	if err != nil {
		f.Fatal(err)
	}
	fresh.Listen = "0.0.0.0:4822"
	f.Add(uint8(0), encode(fresh))
	f.Add(uint8(0), encode(Secrets{Listen: "x", Seed: fresh.Seed, Cert: fresh.Cert, Key: []byte("none")}))
	f.Add(uint8(1), []byte("workers: [{name: a, shards: 1, tokens: -1}]\nmixed: true\ndrawn: {a: b}\n"))
	f.Add(uint8(1), []byte("workers: &a [*a]\n"))
	f.Add(uint8(1), []byte("drawn: {1: [2]}\n"))
	if err := os.MkdirAll(filepath.Join(dir, run.FleetDir), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		switch kind % 2 {
		case 0:
			if err := os.WriteFile(filepath.Join(dir, run.FleetDir, secretsFile), data, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := readSecrets(filepath.Join(dir, run.FleetDir))
			if err != nil {
				return
			}
			if s.server() == nil {
				t.Error("no server can be started with them")
			}
			if _, text, err := InviteTo(dir, "host"); err == nil && text != "" {
				if _, err := ParseInvite(text); err != nil {
					t.Error(err)
				}
			}
		case 1:
			if err := os.WriteFile(filepath.Join(dir, run.FleetFile), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := ReadRecord(dir); err != nil {
				if err := (&crew{}).start(dir, Card{}); err == nil || !strings.Contains(err.Error(), run.FleetFile) {
					t.Errorf("what cannot be read is written anew: %v", err)
				}
				return
			}
			c := led(dir, nil)
			c.crew.did("a shard", &notice{Card: Card{Worker: "worker", Host: "host"}})
			sound(t, c)
			if r, err := ReadRecord(dir); err != nil || !slices.ContainsFunc(r.Workers, func(m Member) bool { return m.Name == "host-work" }) {
				t.Errorf("%+v, %v", r, err)
			}
		}
	})
}

func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func FuzzUnpack(f *testing.F) {
	d, _, whole := sample(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte(`{"protocol":2,"key":"k","answers":1,"states":1}` + "\n"))
	file := filepath.Join(f.TempDir(), "states")
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := unpack(bytes.NewReader(data), d, file)
		if err == nil && len(s.Answers) != d.Count() {
			t.Errorf("%d answers", len(s.Answers))
		}
	})
}

func FuzzInvite(f *testing.F) {
	f.Add("ivo1.a.b")
	f.Fuzz(func(t *testing.T, text string) {
		if i, err := ParseInvite(text); err == nil && i.reveal() != strings.TrimSpace(text) {
			t.Error("it is another one")
		}
	})
}
