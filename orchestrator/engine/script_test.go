package engine_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// script is a job that is written down: what it decodes is known before, so that it can be decoded again
// alone.
type script struct {
	prompt   []int32
	states   bool // of the prompt are wanted
	unsaid   bool // the engine is not told of the prompt
	priority int
	acts     []act
	late     bool // cancelled before it is submitted
	deadline int  // in units of 50 us from then on, 0 for none
}

type act struct {
	kind actKind
	seq  int // number among the sequences that live
	n    int // of a step, the sequences; of a cancel, the script
	base int32
}

type actKind uint8

const (
	step actKind = iota
	draw         // a step of one sequence, by a token that is drawn from its row
	fork
	drop
	outside
	turn
	send
	// what ends it, or another
	cancelOf
	fails
	panics
	badToken
	overdraws
)

var errScript = errors.New("as the script has it")

// read is what a script saw: the log-probabilities of a few tokens after each that it fed, and what it drew.
type read struct {
	mu    sync.Mutex
	logps []float32
	draws []drawn
}

// drawn is a token that a script has drawn with a seed of its own.
type drawn struct {
	at     int // log-probabilities read by then
	token  int32
	margin float32 // by which it was drawn before the next one
}

const (
	probes    = 4
	tolerance = 1e-3
)

// draw draws a token: the one of the largest logit with Gumbel noise.
func (r *read) draw(row *llama.Row, seed int32) int32 {
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	best, next, token := float32(math.Inf(-1)), float32(math.Inf(-1)), int32(0)
	for y, logit := range row.Logits {
		switch v := logit - float32(math.Log(rng.ExpFloat64())); {
		case v > best:
			best, next, token = v, best, int32(y)
		case v > next:
			next = v
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draws = append(r.draws, drawn{len(r.logps), token, best - next})
	return token
}

// apart says what a script that came to an end, or did not, saw other than alone. Where a draw was too close to
// call, what follows is another story.
func (r *read) apart(alone *read, whole bool) string {
	n := len(r.logps)
	if n > len(alone.logps) || whole && n < len(alone.logps) || len(r.draws) > len(alone.draws) {
		return fmt.Sprintf("%d log-probabilities and %d draws, alone %d and %d", n, len(r.draws), len(alone.logps), len(alone.draws))
	}
	for i, d := range r.draws {
		if want := alone.draws[i]; d.token != want.token {
			if d.margin > 2*tolerance {
				return fmt.Sprintf("draw %d is %d by %g, alone %d by %g", i, d.token, d.margin, want.token, want.margin)
			}
			n = min(n, d.at)
			break
		}
	}
	if d := furthest(r.logps[:n], alone.logps[:n]); d > tolerance {
		return fmt.Sprintf("log-probabilities are off by %g", d)
	}
	return ""
}

func (r *read) row(row *llama.Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range probes {
		r.logps = append(r.logps, row.Logits[100*i+7]-row.LSE)
	}
}

// room is what a script needs at its widest.
func (x script) room() (sequences, cells int) {
	type seq struct{ own []int } // cells, by number
	live, held := [][]int{nil}, map[int]int{}
	fresh := 0
	grow := func(i, n int) {
		for range n {
			live[i] = append(live[i], fresh)
			held[fresh]++
			fresh++
		}
	}
	grow(0, len(x.prompt))
	sequences, cells = 1, len(held)
	for _, a := range x.acts {
		switch a.kind {
		case step:
			for i := range min(a.n, len(live)) {
				grow((a.seq+i)%len(live), 1)
			}
		case draw:
			grow(a.seq%len(live), 1)
		case fork:
			c := slices.Clone(live[a.seq%len(live)])
			for _, cell := range c {
				held[cell]++
			}
			live = append(live, c)
		case drop:
			if len(live) > 1 {
				i := a.seq % len(live)
				for _, cell := range live[i] {
					if held[cell]--; held[cell] == 0 {
						delete(held, cell)
					}
				}
				live = slices.Delete(live, i, i+1)
			}
		}
		sequences, cells = max(sequences, len(live)), max(cells, len(held))
	}
	return sequences, cells
}

// job makes a job of a script. alone leaves out what harms itself or others.
func (x script) job(out *read, cancel func(script int), alone bool) engine.Job {
	sequences, cells := x.room()
	j := engine.Job{Sequences: sequences, Cells: cells, Priority: x.priority, PromptStates: x.states, Run: func(s *engine.Session) error {
		var q *engine.Seq
		var err error
		if x.states {
			var states []float32
			if q, states, err = s.PrefillStates(x.prompt, 1); err == nil {
				out.mu.Lock()
				width := len(states) / len(x.prompt)
				for i := range x.prompt {
					out.logps = append(out.logps, states[i*width]/100, states[i*width+width-1]/100) // states are large
				}
				out.mu.Unlock()
			}
		} else {
			q, err = s.Prefill(x.prompt, 1)
		}
		if err != nil {
			return err
		}
		out.row(q.Row())
		live := []*engine.Seq{q}
		pipe := make(chan int)
		var reader sync.WaitGroup
		reader.Go(func() {
			for range pipe {
			}
		})
		defer reader.Wait()
		defer close(pipe)
		for _, a := range x.acts {
			i := a.seq % len(live)
			switch a.kind {
			case step:
				var seqs []*engine.Seq
				var tokens []int32
				for k := range min(a.n, len(live)) {
					seqs, tokens = append(seqs, live[(i+k)%len(live)]), append(tokens, a.base+int32(k))
				}
				if err := s.Step(seqs, tokens); err != nil {
					return err
				}
				for _, q := range seqs {
					out.row(q.Row())
				}
			case draw:
				token := a.base
				if row := live[i].Row(); row != nil {
					token = out.draw(row, a.base)
				}
				if err := s.Step(live[i:i+1], []int32{token}); err != nil {
					return err
				}
				out.row(live[i].Row())
			case fork:
				f, err := s.Fork(live[i])
				if err != nil {
					return err
				}
				live = append(live, f)
			case drop:
				if len(live) > 1 {
					s.Drop(live[i])
					live = slices.Delete(live, i, i+1)
				}
			case outside:
				s.Outside(func() {})
				for _, q := range live {
					if row := q.Row(); row != nil {
						out.row(row) // it has not changed
					}
				}
			case turn:
				s.InTurn(func() {})
				for _, q := range live {
					if row := q.Row(); row != nil {
						out.row(row)
					}
				}
			case send:
				if err := engine.Send(s, pipe, 1); err != nil {
					return err
				}
			case cancelOf:
				if !alone {
					cancel(a.n)
				}
			default:
				if alone {
					return nil
				}
				switch a.kind {
				case panics:
					panic(errScript)
				case badToken:
					return s.Step(live[:1], []int32{-5})
				case overdraws:
					for err == nil {
						err = s.Step(live, make([]int32, len(live)))
					}
					if !errors.Is(err, llama.ErrContextFull) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
						return fmt.Errorf("an overdraft: %w", err)
					}
				}
				return errScript
			}
		}
		return nil
	}}
	if !x.unsaid {
		j.Prompt = x.prompt
	}
	return j
}

func scripts(t *rapid.T) []script {
	token := rapid.Int32Range(1, 400)
	texts := rapid.SliceOfN(rapid.SliceOfN(token, 1, 40), 1, 3).Draw(t, "texts") // that prompts begin with
	n := rapid.IntRange(1, 12).Draw(t, "jobs")
	out := make([]script, n)
	for i := range out {
		x := &out[i]
		base := rapid.SampledFrom(texts).Draw(t, "base")
		x.prompt = slices.Concat(base[:rapid.IntRange(0, len(base)).Draw(t, "of it")], rapid.SliceOfN(token, 1, 20).Draw(t, "rest"))
		x.states = rapid.Bool().Draw(t, "states")
		x.unsaid = rapid.IntRange(0, 4).Draw(t, "unsaid") == 0
		x.priority = rapid.IntRange(-1, 1).Draw(t, "priority")
		x.late = rapid.IntRange(0, 15).Draw(t, "late") == 0
		if rapid.IntRange(0, 7).Draw(t, "hurried") == 0 {
			x.deadline = rapid.IntRange(1, 60).Draw(t, "deadline")
		}
		for range rapid.IntRange(0, 12).Draw(t, "acts") {
			kind := rapid.SampledFrom([]actKind{step, step, step, draw, draw, fork, fork, drop, outside, turn, send}).Draw(t, "act")
			if rapid.IntRange(0, 30).Draw(t, "ill") == 0 {
				kind = actKind(rapid.IntRange(int(cancelOf), int(overdraws)).Draw(t, "how"))
			}
			x.acts = append(x.acts, act{kind, rapid.IntRange(0, 5).Draw(t, "seq"), rapid.IntRange(1, 12).Draw(t, "n"), token.Draw(t, "token")})
		}
	}
	for i := range out { // what does not fit at its widest cannot be submitted
		for {
			if sequences, _ := out[i].room(); sequences <= 6 {
				break
			}
			out[i].acts = out[i].acts[:len(out[i].acts)-1]
		}
	}
	return out
}

// checks has rapid check a property: a hundred times, or for as long as IVO_SOAK says.
func checks(t *testing.T, property func(*rapid.T)) {
	long, _ := time.ParseDuration(os.Getenv("IVO_SOAK"))
	until, rounds := time.Now().Add(long), 0
	for ok := true; ok && (rounds == 0 || time.Now().Before(until)); rounds++ {
		ok = t.Run("", func(t *testing.T) { rapid.Check(t, property) })
	}
	t.Logf("%d rounds of %s checks", rounds, flag.Lookup("rapid.checks").Value)
}

// Whatever jobs come together, fork, fail, are cancelled, run out of time or wait for their readers, each sees what
// it sees when it is decoded alone in an empty context, as far as it comes; those that nothing happens to finish; and
// in the end all room is free or keeps a prompt.
func TestSubmittedEqualsAlone(t *testing.T) {
	p := exact
	p.Ctx, p.Batch, p.UBatch, p.Sequences, p.Kept, p.Layers = 512, 32, 16, 7, 200, []int{0, 3}
	e := open(t, p) // keeps what earlier scripts have left
	p.Kept = -1
	oracle := open(t, p)
	checks(t, func(t *rapid.T) {
		scripts := scripts(t)
		got := make([]read, len(scripts))
		ctxs, cancels := make([]context.Context, len(scripts)), make([]context.CancelFunc, len(scripts))
		for i, x := range scripts {
			ctxs[i], cancels[i] = context.WithCancel(context.Background())
			defer cancels[i]()
			if x.late {
				cancels[i]()
			}
			if x.deadline > 0 {
				var done context.CancelFunc
				ctxs[i], done = context.WithTimeout(ctxs[i], time.Duration(x.deadline)*50*time.Microsecond)
				defer done()
			}
		}
		cancel := func(i int) {
			if i < len(cancels) {
				cancels[i]()
			}
		}
		tickets := make([]*engine.Ticket, len(scripts))
		for i, x := range scripts {
			var err error
			if tickets[i], err = e.Submit(ctxs[i], x.job(&got[i], cancel, false)); err != nil {
				t.Fatal(err)
			}
		}
		for i, ticket := range tickets {
			err := ticket.Wait()
			ill := slices.ContainsFunc(scripts[i].acts, func(a act) bool { return a.kind > cancelOf })
			switch {
			case err == nil && ill:
				t.Fatalf("job %d did not fail", i)
			case err != nil && !ill && (ctxs[i].Err() == nil || !errors.Is(err, ctxs[i].Err())):
				t.Fatalf("job %d: %v", i, err)
			}
			if err == nil && ctxs[i].Err() != nil && len(got[i].logps) == 0 {
				t.Fatalf("job %d finished without a word", i)
			}
			var want read
			if err := oracle.Do(context.Background(), scripts[i].job(&want, nil, true)); err != nil {
				t.Fatalf("alone: %v", err)
			}
			if d := got[i].apart(&want, err == nil); d != "" {
				t.Fatalf("job %d (%v): %s", i, err, d)
			}
		}
		if err := e.Audit(); err != nil {
			t.Fatal(err)
		}
	})
	if e.Stats().Reused == 0 {
		t.Error("no prompt was reused")
	}
}

// Any list of jobs gives each what it gives alone, whatever its prompts share, and a second time the same to the bit,
// though other jobs came between.
func TestListedEqualsAlone(t *testing.T) {
	p := exact
	p.Ctx, p.Batch, p.UBatch, p.Sequences, p.Layers = 512, 32, 16, 7, []int{0, 3}
	e, oracle := open(t, p), open(t, p)
	checks(t, func(t *rapid.T) {
		scripts := scripts(t)
		list := func() []read {
			got := make([]read, len(scripts))
			var jobs []engine.Job
			for i, x := range scripts {
				jobs = append(jobs, x.job(&got[i], nil, true))
			}
			if err := e.Run(context.Background(), jobs); err != nil {
				t.Fatal(err)
			}
			return got
		}
		first := list()
		if err := e.Do(context.Background(), scripts[0].job(&read{}, nil, true)); err != nil {
			t.Fatal(err)
		}
		again := list()
		for i := range scripts {
			var want read
			if err := oracle.Run(context.Background(), []engine.Job{scripts[i].job(&want, nil, true)}); err != nil {
				t.Fatalf("alone: %v", err)
			}
			if d := first[i].apart(&want, true); d != "" {
				t.Fatalf("job %d: %s", i, d)
			}
			if !slices.Equal(again[i].logps, first[i].logps) || !slices.Equal(again[i].draws, first[i].draws) {
				t.Fatalf("job %d is another the second time", i)
			}
		}
		if err := e.Audit(); err != nil {
			t.Fatal(err)
		}
	})
}
