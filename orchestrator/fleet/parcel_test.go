package fleet

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// sample is an order with its result.
func sample(t testing.TB) (*rollout.Drawing, *rollout.Shard, []byte) {
	t.Helper()
	schema := states.Schema{Backbone: "b", Norms: "n", Layers: []int{0}, Width: 2, Scalars: []string{"logp"}, Prompts: true, PromptLayers: []int{0}}
	d := &rollout.Drawing{Key: "k", Schema: &schema, Tasks: []rollout.Task{{ID: "p", Tokens: []int32{1, 2}, Samples: 2}}}
	s := &rollout.Shard{Prompts: []states.Prompt{{ID: "p", Tokens: []int32{1, 2}, Hidden: []float32{1, 2, 3, 4}}}}
	for k := range 2 {
		r := decode.Response{Text: "a", Tokens: []int32{3, 4}, LogProbs: []float32{-1, -2}, Finish: decode.FinishLength}
		s.Answers = append(s.Answers, rollout.Answer{Response: batch.Stored("p", k, r, true)})
		s.States = append(s.States, states.Trajectory{Prompt: "p", Sample: k, Tokens: r.Tokens, Hidden: []float32{1, 2, 3, 4}, Scalars: []float32{-1, -2}})
	}
	path := filepath.Join(t.TempDir(), "states")
	if err := states.Write(path, schema, s.Prompts, s.States); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	if err := pack(&out, d.Key, s, f, mostShard); err != nil {
		t.Fatal(err)
	}
	return d, s, out.Bytes()
}

// A result comes through whole, and not at all where a byte of it is missing or is another: what of it is not as it was
// sent is found, or makes no difference.
func TestParcel(t *testing.T) {
	d, s, whole := sample(t)
	file := filepath.Join(t.TempDir(), "states")
	got, err := unpack(bytes.NewReader(whole), d, file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Answers, got.Answers); diff != "" {
		t.Error(diff)
	}
	for i := 0; i < len(whole); i += 5 {
		if _, err := unpack(bytes.NewReader(whole[:i]), d, file); err == nil {
			t.Errorf("the first %d bytes are enough", i)
		}
		other := bytes.Clone(whole)
		other[i] ^= 1 << (i % 8)
		if got, err := unpack(bytes.NewReader(other), d, file); err == nil && !cmp.Equal(got.Answers, s.Answers) {
			t.Errorf("byte %d makes a difference that is not found", i)
		}
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

// Whatever workers say, the coordinator answers or does not, and goes on.
func FuzzMessages(f *testing.F) {
	for _, text := range []string{
		`{"protocol":2,"worker":"a","model":"key-of-model","named":"m.gguf","cores":2,"memory":1}`, `{"worker":"a","doing":["x"],"tokens":-1,"left":true}`, `{"key":"key-of-model","part":-1}`, `{"key":"x","part":1e9}`, `null`, `[]`,
	} {
		f.Add([]byte(text))
	}
	path := filepath.Join(f.TempDir(), "model.gguf")
	if err := os.WriteFile(path, []byte("a model"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Coordinator{o: Options{Say: func(string) {}}, models: []manifest{{Key: "key-of-model", Name: "m"}}}
		c.crew.start(t.TempDir(), Card{})
		c.offers = map[string]*offered{}
		for range 2 {
			c.join(data)
			c.beat(data)
		}
		c.ask(t.Context(), data)
		for _, m := range c.members {
			m.Called()
			m.Kind()
		}
	})
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
