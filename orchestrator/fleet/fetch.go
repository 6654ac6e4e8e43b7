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
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/valuehead"
)

// keyForm is that of a file's key: it becomes a file's name.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+:-]{7,200}$`)

// fetchModel finds the run's model among the worker's own, or has it sent. Its adapters are the worker's own.
func (w *worker) fetchModel(ctx context.Context, run names, f *manifest) error {
	path, err := w.find(ctx, f)
	if err == nil && path == "" && f.Files > 1 {
		return fault.New("work", "model", nil, "give this worker a copy of all of them by {model} or {models}", "the run's model %s is in %d files, which are not sent", f.Name, f.Files)
	}
	if err == nil && path == "" {
		files, e := w.js.ObjectStore(ctx, run.files())
		if e != nil {
			return errGone
		}
		path, err = w.fetch(ctx, run, files, f.Bare, ".gguf")
	}
	if err != nil {
		return err
	}
	w.release()
	m, err := w.o.Load(path)
	if err != nil {
		return err
	}
	if err := m.Adapt(w.o.With); err != nil {
		return errors.Join(err, m.Close())
	}
	key, err := identity(m)
	if err == nil && key == f.Key {
		return w.take(m, f.Name, true)
	}
	bare, e := bareIdentity(m)
	m.Close()
	switch err = errors.Join(err, e); {
	case err != nil:
		return err
	case bare == f.Bare:
		return fault.New("work", "lora", nil, "give this worker {lora} and {control_vector} of the run, with their strengths, and none other", "the run's model %s is used with other adapters than here", f.Name)
	default:
		return fault.New("work", "", nil, "remove it and start the worker again", "%s is not the model that it was sent as", path)
	}
}

// find looks for a model among the worker's own, whatever it is called there; "" where it is not there.
func (w *worker) find(ctx context.Context, f *manifest) (found string, err error) {
	return w.look(ctx, func(path string, _ fs.FileInfo) bool {
		if !strings.HasSuffix(path, ".gguf") {
			return false
		}
		head, err := gguf.ReadModel(path)
		if err != nil || !strings.HasSuffix(f.Bare, usage(head)) { // which costs no reading of weights
			return false
		}
		weights, err := fingerprint.Of(ctx, head, nil)
		return err == nil && identified(weights, head) == f.Bare
	})
}

// look looks for a file in the worker's folders, and through links to files; "" where none is it.
func (w *worker) look(ctx context.Context, is func(path string, info fs.FileInfo) bool) (found string, err error) {
	for _, dir := range w.o.Models {
		if err := isFolder(dir); err != nil {
			return "", err
		}
		err := filepath.WalkDir(dir+string(filepath.Separator), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return ctx.Err() // what cannot be read is not looked at
			}
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && is(path, info) {
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

// isFolder refuses what is no folder of models.
func isFolder(dir string) error {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no folder", dir)
	}
	if err != nil {
		return &fault.Error{Op: "work", Field: "models", Err: err, Hint: "give {models} a folder that is there"}
	}
	return nil
}

// fetch has a file sent, unless it is in the cache, and says where it lies. What has come of it before is not sent
// again.
func (w *worker) fetch(ctx context.Context, run names, files jetstream.ObjectStore, key, extension string) (string, error) {
	if !keyForm.MatchString(key) {
		return "", fmt.Errorf("work: %q is no name of a file (use the same ivo on all machines)", key)
	}
	path := filepath.Join(w.o.Cache, key+extension)
	if whole(path) {
		return path, nil
	}
	lock := flock.New(path + ".lock") // of the other workers of this machine
	if locked, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil || !locked {
		return "", cmp.Or(err, errors.New("work: the cache is locked (end what uses it, and start the worker again)"))
	}
	defer lock.Close()
	if whole(path) { // another has had it sent
		return path, nil
	}
	m, err := w.ask(ctx, run, request{Key: key, Part: -1})
	if err != nil {
		return "", err
	}
	if m.Bytes < 0 || m.Bytes > mostFile || m.Part < 1 || m.Part > mostFile || int64(len(m.Parts)) != max(1, (m.Bytes+m.Part-1)/m.Part) {
		return "", errors.New("work: the run says nonsense of a file (use the same ivo on all machines)")
	}
	if own, err := w.copyOf(ctx, m); err != nil || own != "" {
		return own, err
	}
	partial := path + ".partial"
	os.Rename(path, partial) // of one that is not whole, what is sound is not sent again
	out, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer out.Close()
	if here, err := out.Stat(); err == nil {
		if err := room(partial, m.Bytes, here.Size()); err != nil {
			return "", fmt.Errorf("work: %s: %w (see that there is room on the disk, and start the worker again, which goes on from there)", m.Name, err)
		}
	}
	sent, begun := int64(0), time.Now()
	defer w.sending.Store(nil)
	for i, sum := range m.Parts {
		from := int64(i) * m.Part
		n := min(m.Part, m.Bytes-from)
		w.sending.Store(&Sending{m.Name, from, m.Bytes, rate(sent, begun)})
		w.notify()
		if got, err := sumOf(partial, from, n); err == nil && got == sum {
			continue
		}
		if err := w.insist(ctx, run, files, request{Key: key, Part: i}, sum, io.NewOffsetWriter(out, from), n); err != nil {
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			return "", fmt.Errorf("work: part %d of %d of %s: %w (see that there is room on the disk, and start the worker again, which goes on from there)", i+1, len(m.Parts), m.Name, err)
		}
		sent += n
	}
	text := fmt.Sprintf("%s is here: %s were sent", m.Name, size(uint64(sent)))
	if sent < m.Bytes {
		text += fmt.Sprintf(", %s were here before", size(uint64(m.Bytes-sent)))
	}
	w.o.Say(text)
	if err := errors.Join(out.Truncate(m.Bytes), out.Sync()); err != nil {
		return "", err
	}
	return path, atomicfile.Rename(partial, path) // what was sent is kept where it cannot have its name
}

// whole says whether a file is there, to its end: a disk that fails may have kept less of it.
func whole(path string) bool {
	_, err := os.Stat(path)
	if err == nil && filepath.Ext(path) == ".gguf" {
		_, err = gguf.Read(path)
	}
	return err == nil
}

// insist has a part sent, again where it does not come through, or comes damaged.
func (w *worker) insist(ctx context.Context, run names, files jetstream.ObjectStore, r request, sum string, to io.WriterAt, n int64) error {
	for try := 1; ; try++ {
		err := w.part(ctx, run, files, r, sum, to, n)
		switch {
		case err == nil || ctx.Err() != nil || try == partTries && w.nc.IsConnected():
			return err
		case try == partTries:
			return errGone
		}
		slog.Debug("fleet: fetch a part", "of", r.Key, "part", r.Part, "err", err)
		r.Anew = errors.Is(err, errDamaged) || errors.Is(err, jetstream.ErrDigestMismatch) || errors.Is(err, jetstream.ErrObjectNotFound)
		pause(ctx, time.Duration(try)*time.Second)
	}
}

const (
	partTries = 5
	// askAgain is when it is asked again what was not answered: the connection may have been cut meanwhile.
	askAgain, mostAsk = 20 * time.Second, 10 * time.Minute // all of a large file is read once, to know its sums
)

var errDamaged = errors.New("it is damaged")

// copyOf looks for a file with this content in the worker's folders; "" where it is not there.
func (w *worker) copyOf(ctx context.Context, m *manifest) (string, error) {
	return w.look(ctx, func(path string, info fs.FileInfo) bool {
		if info.Size() != m.Bytes {
			return false
		}
		sum, err := sumOf(path, 0, m.Bytes)
		return err == nil && sum == m.Key
	})
}

// part has one part sent.
func (w *worker) part(ctx context.Context, run names, files jetstream.ObjectStore, r request, sum string, to io.WriterAt, n int64) error {
	if _, err := w.ask(ctx, run, r); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime(n))
	defer cancel()
	in, err := files.Get(ctx, partName(r.Key, r.Part))
	if err != nil {
		return err
	}
	defer in.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(io.NewOffsetWriter(to, 0), h), io.LimitReader(in, n)); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return errDamaged
	}
	return nil
}

// ask asks the coordinator for a part of a file, or for what there is of it.
func (w *worker) ask(ctx context.Context, run names, r request) (*manifest, error) {
	var m *nats.Msg
	err := errGone
	for begun := time.Now(); err != nil; {
		again, cancel := context.WithTimeout(ctx, askAgain)
		m, err = w.nc.RequestWithContext(again, run.subject("ask"), encode(r))
		cancel()
		if err != nil && (ctx.Err() != nil || errors.Is(err, nats.ErrNoResponders) || time.Since(begun) > mostAsk) {
			return nil, errGone
		}
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

// heads are those that a worker has open, by their sums: the last few that it was asked for.
type heads struct {
	mu    sync.Mutex
	open  map[string]*valuehead.Head
	order []string // in which they were opened
}

// openHeads are as many as the methods of an evaluation may take turns with.
const openHeads = 16

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
	s.open[sum], s.order = head, append(s.order, sum)
	if len(s.order) > openHeads {
		delete(s.open, s.order[0])
		s.order = s.order[1:]
	}
	return head, nil
}
