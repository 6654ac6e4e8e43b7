package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Jobs of a list that ask for something in turn do so one at a time and always in the same order, whoever of them is
// ready first: those that decode and those that are through are waited for, and a job that fails or panics in its turn
// keeps nobody from theirs.
func TestInTurn(t *testing.T) {
	p := exact
	p.Sequences = 3 // of five jobs
	e := open(t, p)
	errTurn := errors.New("failed in its turn")
	var want []string
	for again := range 20 {
		var mu sync.Mutex
		var order []string
		var jobs []engine.Job
		for i := range 5 {
			jobs = append(jobs, engine.Job{Sequences: 1, Cells: 40, Run: func(s *engine.Session) error {
				rng := rand.New(rand.NewPCG(uint64(again), uint64(i)))
				nap := func() { time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond) }
				q, err := s.Prefill([]int32{int32(5 + i)}, 1)
				if err != nil {
					return err
				}
				for k := range 6 + i {
					nap()
					for range 1 + (i+k)%2 {
						s.InTurn(func() {
							if !mu.TryLock() {
								t.Error("two have their turn at once")
								return
							}
							defer mu.Unlock()
							order = append(order, fmt.Sprint(i, ".", k))
							nap()
						})
						nap()
					}
					if err := s.Step([]*engine.Seq{q}, []int32{7}); err != nil {
						return err
					}
				}
				if i == 4 && again%3 == 1 {
					s.InTurn(func() { err = errTurn })
					return err
				}
				if i == 4 && again%3 == 2 {
					s.InTurn(func() { panic("in its turn") })
				}
				return nil
			}})
		}
		if err := e.Run(context.Background(), jobs); (again%3 == 0) != (err == nil) || again%3 == 1 && !errors.Is(err, errTurn) {
			t.Fatal(err)
		}
		if want == nil {
			want = order
		}
		if !slices.Equal(order, want) {
			t.Fatalf("turns were taken as %v, another time as %v", want, order)
		}
	}
}
