package program

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
)

const (
	maxLine   = 1 << 20         // bytes of one answer
	maxStderr = 4 << 10         // bytes of standard error that are kept
	grace     = 2 * time.Second // for a program to end after its input has
)

// process is a program that runs. Its methods are for one goroutine at a time.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	lines  chan line // closed where the output ends
	stderr tail
	kill   func()       // at once, with all that it started
	reap   func() error // kills it, and says how it ended

	answered int // items
}

// line is an answer, or why there are no more.
type line struct {
	text []byte
	more bool // text that nobody asked for was written with it
	err  error
}

// start runs the program.
func start(argv []string) (*process, error) {
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), lines: make(chan line, 1)}
	apart(p.cmd)
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = grace // for what has left the group and holds the standard error
	if _, ok := os.LookupEnv("PYTHONUNBUFFERED"); !ok {
		p.cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1") // else Python keeps its answers back
	}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fault.New("", "reward", nil, "check that it runs by hand", "the program cannot be started: %w", err)
	}
	p.kill = sync.OnceFunc(func() {
		killGroup(p.cmd)
		p.in.Close()
		p.out.Close()
	})
	p.reap = sync.OnceValue(func() error {
		p.kill()
		for range p.lines {
		}
		return p.cmd.Wait()
	})
	go p.read()
	return p, nil
}

// read hands the lines of the output on. Blank ones are passed over.
func (p *process) read() {
	defer close(p.lines)
	r := bufio.NewReader(p.out)
	for {
		var text []byte
		for {
			part, err := r.ReadSlice('\n')
			text = append(text, part...)
			if len(text) > maxLine {
				p.lines <- line{err: fmt.Errorf("a line of more than %d bytes: %s", maxLine, show(text))}
				return
			}
			if err == bufio.ErrBufferFull {
				continue
			}
			if err != nil && len(bytes.TrimSpace(text)) == 0 {
				return
			}
			break
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		rest, _ := r.Peek(r.Buffered())
		p.lines <- line{text: text, more: len(bytes.TrimSpace(rest)) > 0}
	}
}

// failure is why a program did not answer an item. The program has ended then.
type failure struct {
	error
	crash bool // it ended by itself: another try may go better
	extra bool // it wrote more than it was asked for: earlier answers may be other items'
	early bool // that was before the item was asked
}

// idle sees whether the program still runs and is silent while nothing is asked.
func (p *process) idle(ctx context.Context) *failure {
	select {
	case l, ok := <-p.lines:
		if ok {
			return &failure{error: p.failed(ctx, surplus(l)), extra: true, early: true}
		}
		return &failure{error: p.ended(), crash: true, early: true}
	default:
		return nil
	}
}

// ask scores one item.
func (p *process) ask(ctx context.Context, o Options, item []byte) (Answer, *failure) {
	if f := p.idle(ctx); f != nil {
		return Answer{}, f
	}
	limit, cancel := o.timeout(ctx, o.Timeout)
	defer cancel()
	defer context.AfterFunc(limit, p.kill)()
	p.in.Write(append(bytes.TrimSpace(item), '\n')) // an error shows as the end of the output
	l, ok := <-p.lines
	switch {
	case ok && l.err != nil:
		return Answer{}, &failure{error: p.failed(ctx, fmt.Errorf("it wrote %w", l.err))}
	case ok && l.more:
		return Answer{}, &failure{error: p.failed(ctx, fmt.Errorf("it wrote several lines for one item: %s and more", show(l.text))), extra: true}
	case ok:
		a, known, broken := readAnswer(l.text, identity(item))
		if broken != nil {
			return Answer{}, &failure{error: p.failed(ctx, fmt.Errorf("it wrote what is no answer: %w", broken))}
		}
		if !known {
			a.Err = errors.New("it gave no score (null)")
		}
		p.answered++
		return a, nil
	case ctx.Err() != nil:
		p.reap()
		return Answer{}, &failure{error: context.Cause(ctx)}
	case limit.Err() != nil:
		p.reap()
		return Answer{}, &failure{error: fault.New("", "reward_timeout", o.Timeout,
			"it has to answer each line before it gets the next, so let it flush its output; raise {reward_timeout} if it takes longer",
			"no answer within %v%s", o.Timeout, p.stderr.ending())}
	}
	return Answer{}, &failure{error: p.ended(), crash: true}
}

// surplus tells of a line that answers nothing.
func surplus(l line) error {
	if l.err != nil {
		return fmt.Errorf("it wrote %w", l.err)
	}
	return fmt.Errorf("it wrote more lines than it was given: %s", show(l.text))
}

// failed ends a program whose answers can no longer be told apart.
func (p *process) failed(ctx context.Context, err error) error {
	p.reap()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fault.New("", "reward", nil, "write one number or JSON object a line to standard output, and everything else to standard error",
		"%w%s", err, p.stderr.ending())
}

// ended tells how the program came to its end.
func (p *process) ended() error {
	status := "exit status 0"
	if err := p.reap(); err != nil {
		status = err.Error()
	}
	return fault.New("", "reward", nil, "let it read JSON objects from standard input, one a line, to the end, and answer each with a line",
		"the program ended (%s)%s", status, p.stderr.ending())
}

// close ends the input and waits for the program to follow. It fails if the program has
// written more than it was asked for: then answers may have gone to the wrong items.
func (p *process) close(o Options) error {
	limit, cancel := o.timeout(context.Background(), grace)
	defer cancel()
	defer context.AfterFunc(limit, p.kill)()
	p.in.Close()
	l, ok := <-p.lines
	if ok {
		return p.failed(context.Background(), surplus(l))
	}
	p.reap()
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if n := len(t.text) - maxStderr; n > 0 {
		t.text = append(t.text[:0], t.text[n:]...)
	}
	return len(b), nil
}

// ending is the last lines, to be put behind an error.
func (t *tail) ending() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(clean(string(t.text), maxStderr), "\n")
	lines = lines[max(0, len(lines)-8):]
	text := strings.Join(lines, "\n")
	if text == "" {
		return ""
	}
	return "; its standard error ends with: " + strings.ToValidUTF8(text[max(0, len(text)-1000):], "")
}
