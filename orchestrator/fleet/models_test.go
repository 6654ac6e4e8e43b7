package fleet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// written writes the lab's model as another file, changed.
func written(t testing.TB, path string, change func(kvs []gguf.KV, tensors []gguf.Tensor) []gguf.KV) string {
	t.Helper()
	kvs, tensors := model(t)
	if change != nil {
		kvs = change(kvs, tensors)
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), gguf.Write(path, kvs, tensors)); err != nil {
		t.Fatal(err)
	}
	return path
}

// model is what the lab's model holds.
func model(t testing.TB) (kvs []gguf.KV, tensors []gguf.Tensor) {
	t.Helper()
	f, err := gguf.Read(lab + "s.gguf")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range f.Tensors {
		data, err := f.ReadF32(x.Name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, gguf.Tensor{Name: x.Name, Shape: x.Shape, Data: data})
	}
	return append([]gguf.KV{}, f.KVs...), tensors
}

// other writes a model that differs from the lab's by a weight.
func other(t testing.TB, path string) {
	t.Helper()
	written(t, path, func(kvs []gguf.KV, tensors []gguf.Tensor) []gguf.KV {
		tensors[3].Data[0]++
		return kvs
	})
}

// split writes the lab's model as two files, and returns the first.
func split(t testing.TB, dir string) string {
	t.Helper()
	kvs, tensors := model(t)
	name := func(i int) string { return filepath.Join(dir, fmt.Sprintf("m-%05d-of-00002.gguf", i+1)) }
	half := len(tensors) / 2
	for i, part := range [][]gguf.Tensor{tensors[:half], tensors[half:]} {
		of := []gguf.KV{{Key: "split.no", Value: uint16(i)}, {Key: "split.count", Value: uint16(2)}, {Key: "split.tensors.count", Value: int32(len(tensors))}}
		if i == 0 {
			of = append(append([]gguf.KV{}, kvs...), of...)
		}
		if err := errors.Join(os.MkdirAll(dir, 0o755), gguf.Write(name(i), of, part)); err != nil {
			t.Fatal(err)
		}
	}
	return name(0)
}

// vector writes a control vector for the lab's model.
func vector(t testing.TB, path string) string {
	t.Helper()
	direction := make([]float32, 128)
	for i := range direction {
		direction[i] = float32(i%3-1) / 8
	}
	if err := gguf.Write(path, []gguf.KV{{Key: "general.architecture", Value: "controlvector"}}, []gguf.Tensor{{Name: "direction.1", Shape: []uint64{128}, Data: direction}}); err != nil {
		t.Fatal(err)
	}
	return path
}

// load loads a model, for a worker too.
func load(path string, a llama.Adapters) (*llama.Model, error) {
	m, err := llama.Load(path, llama.ModelParams{})
	if err == nil {
		err = m.Adapt(a)
	}
	return m, err
}

// plainServer is one that people have who have a server of their own.
func plainServer(t testing.TB) string {
	t.Helper()
	return started(t, server.Options{Host: "127.0.0.1"}).ClientURL()
}

// started is a server with JetStream, for the time of the test.
func started(t testing.TB, o server.Options) *server.Server {
	t.Helper()
	o.Port, o.NoSigs, o.NoLog, o.JetStream, o.StoreDir = -1, true, true, true, t.TempDir()
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
}

// drawn has a shard drawn.
func drawn(t testing.TB, s *small, c *fleet.Coordinator) {
	t.Helper()
	if err := c.Draw(context.Background(), s.drawings(1), rollout.Taker{Put: func(int, *rollout.Shard) error { return nil }}); err != nil {
		t.Error(err)
	}
}

// A model whose sending is cut half-way comes to the worker that is started again, which is not sent again what is there of it: but
// for what was damaged meanwhile, on its own disk or on the server.
func TestModelResumed(t *testing.T) {
	before := fleet.SetPartSize(128 << 10)
	defer fleet.SetPartSize(before)
	want, err := os.ReadFile(lab + "s.gguf")
	if err != nil {
		t.Fatal(err)
	}
	all := int64(len(want))
	s := newSmall(t)
	url := plainServer(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{URL: url})
	defer c.Close()
	i := newImpostor(t, url) // which may do everything on this server
	const damaged, lacking = 30, 31
	for _, part := range []int{0, damaged, lacking} { // they are put there
		if m, err := i.nc.Request("ivo."+i.run+".ask", fmt.Appendf(nil, `{"key":%q,"part":%d}`, i.model, part), 10*time.Second); err != nil || string(m.Data) != "{}" {
			t.Fatalf("%v: %s", err, m.Data)
		}
	}
	parts, err := i.js.ObjectStore(context.Background(), "ivo-"+i.run+"-files")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parts.PutBytes(context.Background(), fmt.Sprintf("%s.%05d", i.model, damaged), make([]byte, 128<<10)); err != nil {
		t.Fatal(err)
	}
	// And one lacks what a server that was lost had of it: the object's own sum does not fit.
	info, err := parts.GetInfo(context.Background(), fmt.Sprintf("%s.%05d", i.model, lacking))
	if err != nil {
		t.Fatal(err)
	}
	chunks := "$O.ivo-" + i.run + "-files.C." + info.NUID
	stream, err := i.js.Stream(context.Background(), "OBJ_ivo-"+i.run+"-files")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(context.Background(), jetstream.WithPurgeSubject(chunks)); err != nil {
		t.Fatal(err)
	}
	if _, err := i.js.Publish(context.Background(), chunks, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	start := func() (*link, *worker) {
		l := newLink(t, url)
		return l, s.worker(t, l.url(), func(o *fleet.WorkerOptions) { o.Cache = cache })
	}
	l, w := start()
	l.cut(all / 2)
	until(t, "half of it", func() bool { return l.bytes() >= all/2 })
	w.stop()
	<-w.ended
	partial := filepath.Join(cache, i.model+".gguf.partial")
	half, err := os.ReadFile(partial)
	if err != nil {
		t.Fatal(err)
	}
	if same := bytes.HasPrefix(want, half); !same || len(half) < int(all/4) || len(half) == int(all) {
		t.Fatalf("%d of %d bytes are there, as they were %v", len(half), all, same)
	}
	half[100] ^= 1
	if err := os.WriteFile(partial, half, 0o600); err != nil {
		t.Fatal(err)
	}
	l, w = start()
	drawn(t, s, c)
	got, err := os.ReadFile(filepath.Join(cache, i.model+".gguf"))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("it is another model here: %v", err)
	}
	// The damaged part came twice, and one of the first half again.
	if n := l.bytes(); n > all*5/8+3*128<<10 {
		t.Errorf("%d bytes were sent again, of %d of which half was there", n, all)
	}
	if !w.has("summarize-s.gguf is here") {
		t.Error("nobody is told that it is here")
	}
	w.stop()
	<-w.ended
}

// A model of which the cache has kept less than all is sent again, but for what is sound of it.
func TestModelCutShort(t *testing.T) {
	before := fleet.SetPartSize(128 << 10)
	defer fleet.SetPartSize(before)
	want, err := os.ReadFile(lab + "s.gguf")
	if err != nil {
		t.Fatal(err)
	}
	s := newSmall(t)
	url := plainServer(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{URL: url})
	defer c.Close()
	model := newImpostor(t, url).model
	for name, tc := range map[string]struct {
		there  []byte
		before string
	}{"empty": {}, "half": {want[:len(want)/2], " were here before"}, "no model": {append(bytes.Repeat([]byte("x"), 128<<10), bytes.Repeat(want, 2)...), ""}} {
		t.Run(name, func(t *testing.T) {
			cache := t.TempDir()
			path := filepath.Join(cache, model+".gguf")
			if err := os.WriteFile(path, tc.there, 0o600); err != nil {
				t.Fatal(err)
			}
			w := s.worker(t, url, func(o *fleet.WorkerOptions) { o.Cache = cache })
			until(t, "the model", func() bool { return w.has("drawing for run") || len(w.ended) > 0 })
			w.stop()
			if err := <-w.ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) || !w.has(tc.before) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// A worker that takes its model for longer than a heartbeat is not called lost.
func TestSlowModel(t *testing.T) {
	s := newSmall(t)
	url := plainServer(t)
	c, told := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{URL: url, Heartbeat: 2 * time.Second})
	defer c.Close()
	w := s.worker(t, url, func(o *fleet.WorkerOptions) {
		o.Load = func(path string) (*llama.Model, error) {
			time.Sleep(5 * time.Second)
			return load(path, llama.Adapters{})
		}
	})
	drawn(t, s, c)
	if told.has("has not been heard of") {
		t.Error("it was called lost")
	}
	w.stop()
	<-w.ended
}

// A model is found among a worker's own by what it is: under another name, with another template, through a link, in several files
// or in one; and not by its name. What is not found is sent.
func TestModelFound(t *testing.T) {
	s := newSmall(t)
	c, _ := s.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{URL: plainServer(t)})
	defer c.Close()
	for name, tc := range map[string]struct {
		lay  func(t *testing.T, dir string) string // and say which is to be found
		fail string
	}{
		"renamed": {lay: func(t *testing.T, dir string) string {
			other(t, filepath.Join(dir, "summarize-s.gguf")) // of the name
			return written(t, filepath.Join(dir, "deep", "within", "x.gguf"), func(kvs []gguf.KV, _ []gguf.Tensor) []gguf.KV {
				named := []gguf.KV{{Key: "general.name", Value: "another name"}, {Key: "tokenizer.chat_template", Value: "{{ messages }}"}}
				return append(slices.DeleteFunc(kvs, func(kv gguf.KV) bool { return kv.Key == named[0].Key || kv.Key == named[1].Key }), named...)
			})
		}},
		"linked": {lay: func(t *testing.T, dir string) string {
			at, err := filepath.Abs(lab + "s.gguf")
			if err == nil {
				err = os.Symlink(at, filepath.Join(dir, "link.gguf"))
			}
			if err != nil {
				t.Fatal(err)
			}
			return filepath.Join(dir, "link.gguf")
		}},
		"split": {lay: func(t *testing.T, dir string) string { return split(t, dir) }},
		"others alone": {lay: func(t *testing.T, dir string) string {
			other(t, filepath.Join(dir, "summarize-s.gguf"))
			if err := os.WriteFile(filepath.Join(dir, "none.gguf"), []byte("GGUF"), 0o600); err != nil {
				t.Fatal(err)
			}
			return ""
		}},
		"no folder": {lay: func(t *testing.T, dir string) string { os.Remove(dir); return "" }, fail: "no such file or directory (give the folder of models a folder that is there)"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, cache := filepath.Join(t.TempDir(), "models"), t.TempDir()
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			want := tc.lay(t, dir)
			loaded := make(chan string, 1)
			w := s.worker(t, c.Address(), func(o *fleet.WorkerOptions) {
				o.Models, o.Cache = []string{dir}, cache
				o.Load = func(path string) (*llama.Model, error) {
					loaded <- path
					return load(path, llama.Adapters{})
				}
			})
			if tc.fail != "" {
				if err := <-w.ended; err == nil || !strings.Contains(err.Error(), tc.fail) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			drawn(t, s, c)
			w.stop()
			<-w.ended
			sent, err := filepath.Glob(filepath.Join(cache, "*.gguf"))
			if err != nil {
				t.Fatal(err)
			}
			switch got := <-loaded; {
			case want == "" && (len(sent) != 1 || got != sent[0]):
				t.Errorf("%s was loaded, and %v sent", got, sent)
			case want != "" && (got != want || len(sent) > 0):
				t.Errorf("%s was loaded in place of %s, and %v sent", got, want, sent)
			}
		})
	}
}

// A run's model in several files, or with adapters, is drawn with by workers that have all of it, and those that have not are told
// what is wanted of them. Its files are not sent, nor are adapters, but the one file that they are applied to is.
func TestModelInParts(t *testing.T) {
	s := newSmall(t)
	dir, url := t.TempDir(), plainServer(t)
	files, adapter := split(t, dir), llama.Adapters{Control: []llama.AdapterFile{{Path: vector(t, filepath.Join(dir, "v.gguf")), Scale: 1}}}
	weaker := llama.Adapters{Control: []llama.AdapterFile{{Path: adapter.Control[0].Path, Scale: 0.5}}}
	for name, tc := range map[string]struct {
		path     string
		adapters llama.Adapters
		own      string // the worker's, that it is given, if any
		folder   string // of its models
		with     llama.Adapters
		fail     string
	}{
		"split, and none here":              {path: files, fail: "the run's model m-00001-of-00002.gguf is in 2 files, which are not sent (give this worker a copy of all of them by the model or the folder of models)"},
		"split, and its own":                {path: files, own: files},
		"split, and in one file":            {path: files, own: lab + "s.gguf"},
		"split, and found":                  {path: files, folder: dir},
		"in one file, and split":            {path: lab + "s.gguf", own: files},
		"adapted, and none here":            {path: lab + "s.gguf", adapters: adapter, fail: "the run's model summarize-s.gguf is used with other adapters than here (give this worker the LoRA adapter and the control vector of the run"},
		"adapted, and otherwise":            {path: lab + "s.gguf", adapters: adapter, with: weaker, fail: "is used with other adapters than here"},
		"adapted here alone":                {path: lab + "s.gguf", with: adapter, fail: "is used with other adapters than here"},
		"adapted, and its own":              {path: lab + "s.gguf", adapters: adapter, own: lab + "s.gguf", with: adapter},
		"adapted, and sent without":         {path: lab + "s.gguf", adapters: adapter, with: adapter},
		"adapted and split, and found":      {path: files, adapters: adapter, folder: dir, with: adapter},
		"adapted and split, and none here":  {path: files, adapters: adapter, with: adapter, fail: "is in 2 files, which are not sent"},
		"its own, adapted otherwise":        {path: lab + "s.gguf", adapters: adapter, own: lab + "s.gguf", with: weaker, fail: "is another model than the run's"},
		"its own, adapted, of a bare model": {path: lab + "s.gguf", own: lab + "s.gguf", with: adapter, fail: "is another model than the run's"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := load(tc.path, tc.adapters)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			of := &small{o: s.o, w: s.w}
			of.w.Model = m
			c, _ := of.lead(t, filepath.Join(t.TempDir(), "fleet"), fleet.Options{URL: url})
			defer c.Close()
			w := of.worker(t, c.Address(), func(o *fleet.WorkerOptions) {
				o.Load = func(path string) (*llama.Model, error) { return load(path, tc.with) }
				if tc.folder != "" {
					o.Models = []string{tc.folder}
				}
				if tc.own != "" {
					if o.Model, err = load(tc.own, tc.with); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { o.Model.Close() })
				}
			})
			if tc.fail != "" {
				if err := <-w.ended; err == nil || !strings.Contains(err.Error(), tc.fail) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			drawn(t, of, c)
			w.stop()
			<-w.ended
		})
	}
}
