package engine_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// An observer sees what is decoded: steps of all jobs in one batch, in the jobs' order, with the
// forks and drops before it.
func TestObserve(t *testing.T) {
	var got []engine.Batch
	p := exact
	p.Sequences, p.Observe = 4, func(b engine.Batch) { got = append(got, b) }
	e := open(t, p)
	job := func(prompt ...int32) engine.Job {
		return engine.Job{Sequences: 2, Cells: 20, Run: func(s *engine.Session) error {
			root, err := s.Prefill(prompt, 1)
			if err != nil {
				return err
			}
			copied, err := s.Fork(root)
			if err != nil {
				return err
			}
			if err := s.Step([]*engine.Seq{root, copied}, []int32{7, 8}); err != nil {
				return err
			}
			s.Drop(root)
			return s.Step([]*engine.Seq{copied}, []int32{9})
		}}
	}
	if err := e.Run(context.Background(), []engine.Job{job(3, 4), job(5)}); err != nil {
		t.Fatal(err)
	}
	want := []engine.Batch{
		{Tokens: []engine.Token{{3, 0, 0, false}, {4, 1, 0, true}, {5, 0, 2, true}}},
		{
			Ops:    []engine.Op{{engine.Fork, 1, 0}, {engine.Fork, 3, 2}},
			Tokens: []engine.Token{{7, 2, 0, true}, {8, 2, 1, true}, {7, 1, 2, true}, {8, 1, 3, true}},
		},
		{
			Ops:    []engine.Op{{engine.Drop, 0, 0}, {engine.Drop, 2, 0}},
			Tokens: []engine.Token{{9, 3, 1, true}, {9, 2, 3, true}},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("batches (-want +got):\n%s", d)
	}
}
