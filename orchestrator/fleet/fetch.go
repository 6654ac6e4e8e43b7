package fleet

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/valuehead"
)

// keyForm is that of a file's key: it becomes a file's name.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+:-]{7,200}$`)

// fetchModel finds the run's model among the worker's own, or has it sent.
func (w *worker) fetchModel(ctx context.Context, run names, f *manifest) error {
	path, err := w.find(ctx, f)
	if err != nil {
		return err
	}
	if path == "" {
		files, err := w.js.ObjectStore(ctx, run.files())
		if err != nil {
			return errGone
		}
		if path, err = w.fetch(ctx, run, files, f.Key, ".gguf"); err != nil {
			return err
		}
	}
	w.release()
	m, err := w.o.Load(path)
	if err != nil {
		return err
	}
	if key, err := identity(m); err != nil || key != f.Key {
		m.Close()
		return fault.New("work", "", nil, "remove it and start the worker again", "%s is not the model that it was sent as", path)
	}
	return w.take(m, true)
}

// find looks for a model among the worker's own; "" where it is not there.
func (w *worker) find(ctx context.Context, f *manifest) (found string, err error) {
	for _, dir := range w.o.Models {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(path, ".gguf") {
				return err
			}
			if info, err := e.Info(); err != nil || info.Mode().IsRegular() && info.Size() != f.Bytes {
				return err // a link is looked at
			}
			head, err := gguf.ReadModel(path)
			if err != nil {
				return nil // it is no model
			}
			weights, err := fingerprint.Of(ctx, head, nil)
			if err == nil && identified(weights, head) == f.Key {
				found = path
				return fs.SkipAll
			}
			return ctx.Err()
		})
		if err != nil || found != "" {
			return found, err
		}
	}
	return "", nil
}

// fetch has a file sent, unless it is in the cache, and says where it lies. What has come of it before is not sent
// again.
func (w *worker) fetch(ctx context.Context, run names, files jetstream.ObjectStore, key, extension string) (string, error) {
	if !keyForm.MatchString(key) {
		return "", fmt.Errorf("work: %q is no name of a file (use the same ivo on all machines)", key)
	}
	path := filepath.Join(w.o.Cache, key+extension)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	lock := flock.New(path + ".lock") // of the other workers of this machine
	if locked, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil || !locked {
		return "", cmp.Or(err, errors.New("work: the cache is locked (end what uses it, and start the worker again)"))
	}
	defer lock.Close()
	if _, err := os.Stat(path); err == nil { // another has had it sent
		return path, nil
	}
	m, err := w.ask(ctx, run, request{key, -1})
	if err != nil {
		return "", err
	}
	if m.Bytes < 0 || m.Part < 1 || int64(len(m.Parts)) != max(1, (m.Bytes+m.Part-1)/m.Part) {
		return "", errors.New("work: the run says nonsense of a file (use the same ivo on all machines)")
	}
	if own, err := w.copyOf(ctx, m); err != nil || own != "" {
		return own, err
	}
	partial := path + ".partial"
	out, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	for i, sum := range m.Parts {
		from := int64(i) * m.Part
		n := min(m.Part, m.Bytes-from)
		if got, err := sumOf(partial, from, n); err == nil && got == sum {
			continue
		}
		for try := 1; ; try++ {
			err := w.part(ctx, run, files, key, i, sum, io.NewOffsetWriter(out, from), n)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			if try == 5 {
				return "", fmt.Errorf("work: part %d of %d of %s: %w (start the worker again, which goes on from there)", i+1, len(m.Parts), m.Name, err)
			}
			slog.Debug("fleet: fetch a part", "file", m.Name, "part", i, "err", err)
			pause(ctx, time.Duration(try)*time.Second)
		}
		w.o.Say(fmt.Sprintf("%s: %s of %s", m.Name, size(uint64(from+n)), size(uint64(m.Bytes))))
	}
	return path, atomicfile.Replace(path, func(tmp string) error { return os.Rename(partial, tmp) })
}

// copyOf looks for a file with this content in the worker's folders; "" where it is not there.
func (w *worker) copyOf(ctx context.Context, m *manifest) (found string, err error) {
	for _, dir := range w.o.Models {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() != m.Bytes {
				return nil
			}
			if sum, err := sumOf(path, 0, m.Bytes); err == nil && sum == m.Key {
				found = path
				return fs.SkipAll
			}
			return ctx.Err()
		})
		if err != nil || found != "" {
			return found, err
		}
	}
	return "", nil
}

// part has one part sent.
func (w *worker) part(ctx context.Context, run names, files jetstream.ObjectStore, key string, i int, sum string, to io.Writer, n int64) error {
	if _, err := w.ask(ctx, run, request{key, i}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(n>>20)*time.Second)
	defer cancel()
	in, err := files.Get(ctx, partName(key, i))
	if err != nil {
		return err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(in, n)); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return errors.New("it is damaged")
	}
	return nil
}

// ask asks the coordinator for a part of a file, or for what there is of it.
func (w *worker) ask(ctx context.Context, run names, r request) (*manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute) // all of a large file is read once
	defer cancel()
	m, err := w.nc.RequestWithContext(ctx, run.subject("ask"), encode(r))
	if err != nil {
		return nil, errGone
	}
	var a reply
	if err := json.Unmarshal(m.Data, &a); err != nil {
		return nil, err
	}
	switch {
	case a.Error != "":
		return nil, fmt.Errorf("work: %s (give the worker the run's model with its own file)", a.Error)
	case r.Part < 0 && a.Manifest == nil:
		return nil, errors.New("work: the run does not say what the file is (use the same ivo on all machines)")
	}
	return a.Manifest, nil
}

// heads are those that a worker has open, by their sums.
type heads struct {
	mu   sync.Mutex
	open map[string]*valuehead.Head
}

// get opens a head, which is sent unless it is there.
func (s *heads) get(ctx context.Context, h *hand, sum string) (*valuehead.Head, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if head := s.open[sum]; head != nil {
		return head, nil
	}
	path, err := h.fetch(ctx, h.run, h.files, sum, ".head.gguf")
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err == nil {
		var got string
		if got, err = sumOf(path, 0, info.Size()); err == nil && got != sum {
			os.Remove(path)
			err = fmt.Errorf("%s was damaged, and is removed", path)
		}
	}
	if err != nil {
		return nil, err
	}
	head, err := valuehead.Load(path)
	if err != nil {
		return nil, err
	}
	if s.open == nil {
		s.open = map[string]*valuehead.Head{}
	}
	s.open[sum] = head
	return head, nil
}
