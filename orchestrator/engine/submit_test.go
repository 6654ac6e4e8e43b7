package engine_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// waits is a job that waits until it may go on, while others go on, and then says so.
func waits(may <-chan struct{}, said func()) engine.Job {
	return engine.Job{Sequences: 1, Cells: 8, Run: func(s *engine.Session) error {
		s.Outside(func() {
			select {
			case <-may:
			case <-s.Context().Done():
			}
		})
		q, err := s.Prefill([]int32{3, 4}, 1)
		if err == nil {
			err = s.Step([]*engine.Seq{q}, []int32{5})
		}
		if err == nil {
			said()
		}
		return err
	}}
}

// Of jobs that wait for room those of higher priority come first, and else the first.
func TestPriority(t *testing.T) {
	p := exact
	p.Sequences, p.Queue = 1, 5
	e := open(t, p)
	may, open := make(chan struct{}), make(chan struct{})
	close(open)
	var order []int
	var tickets []*engine.Ticket
	for i, priority := range []int{0, 0, 2, 1, 2, -1} {
		j := waits(open, func() { order = append(order, i) })
		if i == 0 {
			j = waits(may, func() { order = append(order, i) })
		}
		j.Priority = priority
		ticket, err := e.Submit(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
		for i == 0 && e.Load().Jobs == 0 { // until it has begun
			runtime.Gosched()
		}
	}
	if l := e.Load(); l.Queued != 5 || l.Jobs != 1 || l.Sequences != 1 || l.Cells != 8 {
		t.Errorf("load: %+v", l)
	}
	if _, err := e.Submit(t.Context(), waits(open, nil)); !errors.Is(err, engine.ErrFull) {
		t.Errorf("a sixth in the queue: %v", err)
	}
	if err := e.Run(t.Context(), nil); !errors.Is(err, llama.ErrBusy) {
		t.Errorf("a run beside jobs: %v", err)
	}
	if err := e.Close(); !errors.Is(err, llama.ErrBusy) {
		t.Errorf("closed under jobs: %v", err)
	}
	close(may)
	for i, ticket := range tickets {
		if err := ticket.Wait(); err != nil {
			t.Errorf("job %d: %v", i, err)
		}
	}
	if want := []int{0, 2, 4, 3, 1, 5}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

// A job whose deadline passes while it waits for room is gone, though nothing has become free; one that has
// begun ends at its next step; and neither keeps others from anything.
func TestDeadline(t *testing.T) {
	p := exact
	p.Sequences = 2
	e := open(t, p)
	may := make(chan struct{})
	first, err := e.Submit(t.Context(), waits(may, func() {}))
	if err != nil {
		t.Fatal(err)
	}
	passed, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	both := engine.Job{Sequences: 2, Run: func(*engine.Session) error { return nil }}
	if err := e.Do(passed, both); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("in the queue: %v", err)
	}
	steps := 0
	err = e.Do(t.Context(), engine.Job{Sequences: 1, Cells: 100, Run: func(s *engine.Session) error {
		q, err := s.Prefill([]int32{7}, 1)
		for ; err == nil; steps++ {
			if err = s.Step([]*engine.Seq{q}, []int32{7}); steps == 5 {
				return errScript
			}
		}
		return err
	}})
	if !errors.Is(err, errScript) || steps != 5 {
		t.Errorf("beside one that waits: %d steps, %v", steps, err)
	}
	soon, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = e.Do(soon, engine.Job{Sequences: 1, Cells: 100, Run: func(s *engine.Session) error {
		q, err := s.Prefill([]int32{7}, 1)
		if err != nil {
			return err
		}
		cancel()
		return s.Step([]*engine.Seq{q}, []int32{7})
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled between steps: %v", err)
	}
	close(may)
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	if err := e.Audit(); err != nil {
		t.Error(err)
	}
	if err := e.Run(t.Context(), []engine.Job{both}); err != nil {
		t.Errorf("a run after jobs: %v", err)
	}
}

// Readers who read nothing until another job is done hold up their own jobs alone: were others to wait
// for them, none would end. Nothing is lost, and no goroutine is left.
func TestSlowReaders(t *testing.T) {
	const n, steps = 8, 20
	p := exact
	p.Sequences = n + 1
	e := open(t, p)
	goroutines := runtime.NumGoroutine()
	quick := make(chan struct{})
	job := func(first int32, told func(s *engine.Session, token int32) error) engine.Job {
		return engine.Job{Sequences: 1, Cells: steps + 1, Run: func(s *engine.Session) error {
			q, err := s.Prefill([]int32{first}, 1)
			for i := 0; err == nil && i < steps; i++ {
				best := q.Row().Top[0]
				if err = s.Step([]*engine.Seq{q}, []int32{best}); err == nil {
					err = told(s, best)
				}
			}
			return err
		}}
	}
	want, got := make([][]int32, n), make([][]int32, n)
	for i := range n {
		if err := e.Do(t.Context(), job(int32(10+i), func(_ *engine.Session, token int32) error {
			want[i] = append(want[i], token)
			return nil
		})); err != nil {
			t.Fatal(err)
		}
	}
	var tickets []*engine.Ticket
	var read []chan struct{}
	for i := range n {
		texts, done := make(chan int32, i), make(chan struct{})
		ticket, err := e.Submit(t.Context(), job(int32(10+i), func(s *engine.Session, token int32) error { return engine.Send(s, texts, token) }))
		if err != nil {
			t.Fatal(err)
		}
		tickets, read = append(tickets, ticket), append(read, done)
		go func() {
			defer close(done)
			<-quick
			for range steps {
				got[i] = append(got[i], <-texts)
			}
		}()
	}
	if err := e.Do(t.Context(), job(9, func(*engine.Session, int32) error { return nil })); err != nil {
		t.Fatal(err)
	}
	close(quick)
	for i := range n {
		if err := tickets[i].Wait(); err != nil {
			t.Error(err)
		}
		if <-read[i]; !slices.Equal(got[i], want[i]) {
			t.Errorf("reader %d got %v, alone %v", i, got[i], want[i])
		}
	}
	if err := e.Audit(); err != nil { // which waits for the loop's end
		t.Error(err)
	}
	for i := 0; runtime.NumGoroutine() > goroutines; i++ { // those that have done their last are still counted for a moment
		if runtime.Gosched(); i > 1e7 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
}

// Jobs that come and go leave nothing behind.
func TestFlat(t *testing.T) {
	p := exact
	p.Ctx, p.Sequences = 512, 8
	e := open(t, p)
	round := func(n int) uint64 {
		for i := range n {
			ctx, cancel := context.WithCancel(t.Context())
			prompt := []int32{1, 2, 3, int32(4 + i%50), int32(4 + i%70), 9}
			var tickets []*engine.Ticket
			for k := range 4 {
				ticket, err := e.Submit(ctx, engine.Job{Sequences: 2, Cells: 20, Prompt: prompt, Run: func(s *engine.Session) error {
					q, err := s.Prefill(prompt, 1)
					if err != nil {
						return err
					}
					f, err := s.Fork(q)
					if k == 1 {
						cancel()
					}
					for range 3 {
						if err == nil {
							err = s.Step([]*engine.Seq{q, f}, []int32{5, 6})
						}
					}
					return err
				}})
				if err != nil {
					t.Fatal(err)
				}
				tickets = append(tickets, ticket)
			}
			for _, ticket := range tickets {
				ticket.Wait()
			}
			cancel()
		}
		if err := e.Audit(); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := round(50)
	if after := round(150); after > before+before/20+1<<16 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
}

// Of jobs that come together with one prompt the first decodes it, and the others begin with what it has
// decoded.
func TestOnePromptOnce(t *testing.T) {
	const n = 6
	e := open(t, exact)
	prompt := make([]int32, 50)
	for i := range prompt {
		prompt[i] = int32(3 + i*i%97)
	}
	var tickets []*engine.Ticket
	var logps [n][]float32
	for i := range n {
		ticket, err := e.Submit(t.Context(), engine.Job{Sequences: 1, Cells: 60, Prompt: prompt, Run: func(s *engine.Session) (err error) {
			_, logps[i], err = greedy(s, prompt, 5)
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	for i, ticket := range tickets {
		if err := ticket.Wait(); err != nil {
			t.Error(err)
		}
		if d := furthest(logps[i], logps[0]); d > 1e-3 {
			t.Errorf("job %d differs by %g", i, d)
		}
	}
	if s := e.Stats(); s.Reused != (n-1)*(len(prompt)-1) || s.Tokens != len(prompt)+n-1+5*n {
		t.Errorf("%d tokens of prompts were reused, %d decoded", s.Reused, s.Tokens)
	}
}
