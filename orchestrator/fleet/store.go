package fleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// store is what the coordinator sends to workers that ask for it: the model, and heads.
type store struct {
	mu     sync.Mutex
	offers map[string]*offered // by key
	hashed map[string]string   // SHA-256 of files, by path and size and time
}

// partSize is the bytes of a file's part.
var partSize int64 = 8 << 20

// offered is a file that workers may be sent.
type offered struct {
	manifest
	path string
	put  map[int]bool // parts that are in the bucket
}

// identity tells a model from others: by its weights, and by all that its file says of how they are used but
// for the chat template, which prompts have gone through.
func identity(m *llama.Model) (string, error) {
	weights, err := m.Fingerprint()
	if err != nil {
		return "", err
	}
	return identified(weights, m.Metadata()), nil
}

// bareIdentity is the identity of a model without its adapters.
func bareIdentity(m *llama.Model) (string, error) {
	weights, err := fingerprint.Of(context.Background(), m.Metadata(), nil)
	return identified(weights, m.Metadata()), err
}

// identified is the identity of a model with these weights, and adapters.
func identified(weights string, f *gguf.File) string { return weights + usage(f) }

// unused begin names of metadata that make no difference to what is decoded: a model in several files is the one that they
// were split from.
var unused = []string{"general.", "quantize.", "split.", "tokenizer.chat_template"}

// usage tells how a model's file says that it is used: the end of its identity.
func usage(f *gguf.File) string {
	h := xxhash.New()
	at := map[string]int{}
	for i, kv := range f.KVs {
		if kv.Key == "general.architecture" || !slices.ContainsFunc(unused, func(begin string) bool { return strings.HasPrefix(kv.Key, begin) }) {
			at[kv.Key] = i
		}
	}
	for _, key := range slices.Sorted(maps.Keys(at)) {
		fmt.Fprintf(h, "%q %v\n", key, f.KVs[at[key]].Value)
	}
	return fmt.Sprintf("-%016x", h.Sum64())
}

// offer takes a model of the run, which is sent where it is one file. Its adapters are not.
func (c *Coordinator) offer(m *llama.Model) (string, error) {
	if c.offers == nil {
		c.offers, c.hashed, c.ids = map[string]*offered{}, map[string]string{}, map[string]string{}
	}
	key, err := identity(m)
	if err != nil {
		return "", err
	}
	f := manifest{Key: key, Name: filepath.Base(m.Path()), Files: len(m.Metadata().Parts())}
	x := c.o.Context
	if need, err := llama.EstimateMemory(m.Metadata(), llama.ContextParams{Ctx: x.Cells, UBatch: x.UBatch, CacheK: x.CacheK, CacheV: x.CacheV, Sequences: c.o.Parallel}); err == nil {
		f.Needs = need.Total()
	}
	info, err := os.Stat(m.Path())
	if err != nil {
		return "", err
	}
	f.Bytes = info.Size()
	if f.Bare, err = bareIdentity(m); err != nil {
		return "", err
	}
	if f.Files == 1 {
		c.offers[f.Bare] = &offered{manifest: f, path: m.Path(), put: map[int]bool{}}
	}
	weights, err := m.Fingerprint()
	c.models, c.ids[weights] = append(c.models, f), key
	return key, err
}

// prepare completes an order: workers know its files by their content.
func (c *Coordinator) prepare(d *rollout.Drawing) error {
	if id := c.ids[d.Model]; id != "" {
		d.Model = id
	} else if d.Model == "" && len(c.models) == 1 {
		d.Model = c.models[0].Key
	} else if !slices.ContainsFunc(c.models, func(m manifest) bool { return m.Key == d.Model }) {
		return fmt.Errorf("fleet: %s is to be drawn with a model that the fleet does not know (a fault of the program)", d.Name)
	}
	for i := range d.Guide.Heads {
		h := &d.Guide.Heads[i]
		var err error
		if h.SHA256, err = c.offerFile(h.Path); err != nil {
			return err
		}
	}
	return nil
}

// offerFile takes a file that workers may be sent, and returns its SHA-256.
func (c *Coordinator) offerFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	as := fmt.Sprint(path, info.Size(), info.ModTime().UnixNano())
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	sum := c.hashed[as]
	if sum == "" {
		if sum, err = sumOf(path, 0, info.Size()); err != nil {
			return "", err
		}
		c.hashed[as] = sum
		c.offers[sum] = &offered{manifest: manifest{Key: sum, Name: filepath.Base(path), Bytes: info.Size()}, path: path, put: map[int]bool{}}
	}
	return sum, nil
}

// sumOf is the SHA-256 of a part of a file.
func sumOf(path string, from, n int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if got, err := io.Copy(h, io.NewSectionReader(f, from, n)); err != nil || got < n {
		return "", errors.Join(err, fmt.Errorf("%s ends after %d of %d bytes", path, from+got, from+n))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ask puts a part of a file into the bucket, for a worker that asks for it.
func (c *Coordinator) ask(ctx context.Context, data []byte) any {
	var r request
	if json.Unmarshal(data, &r) != nil {
		return nil
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	f := c.offers[r.Key]
	if f == nil {
		return &reply{Error: "the run does not send this file"}
	}
	if f.Parts == nil {
		f.Part = max(partSize, (f.Bytes+4095)/4096)
		for from := int64(0); from < f.Bytes || from == 0; from += f.Part {
			sum, err := sumOf(f.path, from, min(f.Part, f.Bytes-from))
			if err != nil {
				f.Parts = nil
				return &reply{Error: "the file cannot be read any more"}
			}
			f.Parts = append(f.Parts, sum)
		}
	}
	if r.Part < 0 {
		m := f.manifest
		return &reply{Manifest: &m}
	}
	if r.Part >= len(f.Parts) {
		return &reply{Error: "there is no such part"}
	}
	if f.put[r.Part] && !r.Anew {
		return &reply{}
	}
	file, err := os.Open(f.path)
	if err == nil {
		from := int64(r.Part) * f.Part
		_, err = c.files.Put(ctx, jetstream.ObjectMeta{Name: partName(r.Key, r.Part), Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}, io.NewSectionReader(file, from, min(f.Part, f.Bytes-from)))
		file.Close()
	}
	if err != nil {
		return &reply{Error: "the part could not be stored: " + err.Error()}
	}
	f.put[r.Part] = true
	return &reply{}
}

func partName(key string, part int) string { return fmt.Sprintf("%s.%05d", key, part) }

func size(bytes uint64) string { return sheet.Size(bytes) }
