package program

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// crashes is how often a program may fail in a row before no more items are tried.
const crashes = 5

// Command scores items by a program, which runs as long as the Command is open, and as often
// as there are workers. It gets an item as one line of JSON on its standard input and answers
// with one line on its standard output, before it gets the next: a number or an object with a
// "score", a "reward" or an "error". A program that ends is started again, and the item that
// it did not answer tried once more.
type Command struct {
	argv        []string
	fingerprint string
	o           Options
	slots       chan *slot
}

// slot is a place for one running program.
type slot struct{ running *process }

// NewCommand prepares a command line, which is split as words says. The program is started when
// the first item comes.
func NewCommand(line string, o Options) (*Command, error) {
	argv, err := words(line)
	if err != nil {
		return nil, err
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		hint := "check the name, and that it is on the search path"
		if _, statErr := os.Stat(argv[0]); errors.Is(err, fs.ErrPermission) {
			hint = "make the file executable, or name what runs it, as in cmd:python3 score.py"
		} else if statErr == nil {
			hint = "write ./" + argv[0] + " for the file in this folder"
		} else if strings.ContainsAny(argv[0], " \t") {
			hint = "quotes make one word of a program and its arguments: leave them out"
		}
		return nil, fault.New("", "reward", nil, hint, "the program %q cannot be run: %w", argv[0], errors.Unwrap(err))
	}
	c := &Command{argv: append([]string{path}, argv[1:]...), o: o.withDefaults(1)}
	if c.fingerprint, err = fingerprint(argv, path); err != nil {
		return nil, err
	}
	c.slots = make(chan *slot, c.o.Workers)
	for range c.o.Workers {
		c.slots <- &slot{}
	}
	return c, nil
}

// Fingerprint changes with the command line and with the content of the program and of all
// files that its arguments name; where these files lie does not matter.
func (c *Command) Fingerprint() string { return c.fingerprint }

// maxHashed bounds the files that are read for a fingerprint; of larger ones, weights perhaps,
// size and time of change stand for the content.
const maxHashed = 256 << 20

func fingerprint(argv []string, path string) (string, error) {
	h := sha256.New()
	for i, arg := range argv {
		file := path
		if i > 0 {
			file = arg
			if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
				file = value
			}
		}
		info, err := os.Stat(file)
		switch {
		case err != nil || !info.Mode().IsRegular():
			fmt.Fprintf(h, "%q\n", arg)
		case info.Size() > maxHashed:
			fmt.Fprintf(h, "%q %d %d\n", filepath.Base(file), info.Size(), info.ModTime().UnixNano())
		default:
			f, err := os.Open(file)
			if err != nil {
				return "", fmt.Errorf("%w (it is read to notice when it changes: make it readable)", err)
			}
			content := sha256.New()
			_, err = io.Copy(content, f)
			f.Close()
			if err != nil {
				return "", fmt.Errorf("%w (it is read to notice when it changes: check the file)", err)
			}
			fmt.Fprintf(h, "%s%x\n", strings.TrimSuffix(arg, file), content.Sum(nil))
		}
	}
	return "cmd 1 " + hex.EncodeToString(h.Sum(nil)), nil
}

// Score gives one answer for each item, in order. It fails as a whole when ctx ends, and when
// the program failed so often that no item has a score.
func (c *Command) Score(ctx context.Context, items []json.RawMessage) ([]Answer, error) {
	answers := make([]Answer, len(items))
	failures := &streak{limit: crashes, pause: c.o.pause, delays: delays(100*time.Millisecond, 5*time.Second)}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(c.o.Workers, len(items)) {
		wg.Go(func() {
			var s *slot
			select {
			case s = <-c.slots:
				defer func() { c.slots <- s }()
			case <-ctx.Done():
				return
			}
			w := worker{Command: c, slot: s, failures: failures, answers: answers}
			for i := int(next.Add(1) - 1); i < len(items) && ctx.Err() == nil; i = int(next.Add(1) - 1) {
				if over := failures.err(); over != nil {
					answers[i].Err = skipped(over)
				} else {
					w.score(ctx, i, items[i])
				}
			}
			w.rest(ctx)
		})
	}
	wg.Wait()
	return finish(ctx, answers, Answer.err, failures.err())
}

// worker scores items of one call by one program at a time.
type worker struct {
	*Command
	*slot
	failures *streak
	answers  []Answer // of all items of the call
	given    []int    // those that the running program gave
}

// score scores item i.
func (w *worker) score(ctx context.Context, i int, item json.RawMessage) {
	for tried := 0; ; {
		if w.running == nil {
			if w.answers[i].Err = w.failures.wait(ctx); w.answers[i].Err != nil {
				return
			}
			p, err := start(w.argv)
			if err != nil {
				w.failures.fail(err, true)
				w.answers[i].Err = err
				return
			}
			w.running, w.given = p, nil
		}
		answer, failed := w.running.ask(ctx, w.o, item)
		if failed == nil {
			w.failures.succeed()
			w.answers[i] = answer
			w.given = append(w.given, i)
			return
		}
		w.failed(failed)
		w.answers[i].Err = failed
		if !failed.early {
			tried++
		}
		again := failed.early || failed.crash && tried < 2
		if !again || ctx.Err() != nil || w.failures.err() != nil {
			return
		}
	}
}

// failed lets go of the running program, which has ended.
func (w *worker) failed(f *failure) {
	if f.extra {
		for _, i := range w.given {
			w.answers[i] = Answer{Err: fmt.Errorf("its answer cannot be told from others': %w", f.error)}
		}
	}
	if !f.early || f.extra || w.running.answered == 0 {
		w.failures.fail(f.error, false)
	}
	w.running = nil
}

// rest looks whether the program has written more than it was asked for, as far as it can be
// seen without waiting.
func (w *worker) rest(ctx context.Context) {
	if w.running == nil {
		return
	}
	if f := w.running.idle(ctx); f != nil {
		w.failed(f)
	}
}

// Try sees whether the program does what is asked of it before much is: it scores the items one
// by one in a program of their own, and sees to it that the program ends with its input and
// has written no more than the answers. That items have no score is no fault here.
func (c *Command) Try(ctx context.Context, items []json.RawMessage) error {
	p, err := start(c.argv)
	if err != nil {
		return err
	}
	defer p.reap()
	for _, item := range items {
		if _, failed := p.ask(ctx, c.o, item); failed != nil {
			return failed.error
		}
	}
	return p.close(c.o)
}

// Close ends the programs, and what they started. It fails if one has written more than it was
// asked for.
func (c *Command) Close() error {
	var errs []error
	for range c.o.Workers {
		if s := <-c.slots; s.running != nil {
			errs = append(errs, s.running.close(c.o))
		}
	}
	return errors.Join(errs...)
}
