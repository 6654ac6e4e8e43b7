package value

import (
	"context"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// Mean is the mean of value functions: an ensemble. It values tokens ahead where all do, and knows what
// each token adds where all know.
func Mean(of ...Source) Source {
	if len(of) == 1 {
		return of[0]
	}
	return mean(of)
}

type mean []Source

func (m mean) Check(e *engine.Engine) error {
	for _, s := range m {
		if err := s.Check(e); err != nil {
			return err
		}
	}
	return nil
}

func (m mean) Ahead() bool { return m.all(Source.Ahead) }

func (m mean) Advantages() bool { return m.all(Source.Advantages) }

// Unit is the mean of the members' units: more than that of their mean, for they do not move alike.
// It is not known where one of them is not.
func (m mean) Unit() Unit {
	return Unit{m.unit(func(u Unit) float64 { return u.Value }), m.unit(func(u Unit) float64 { return u.Advantage })}
}

func (m mean) unit(of func(Unit) float64) (sum float64) {
	for _, s := range m {
		u := of(s.Unit())
		if u == 0 {
			return 0
		}
		sum += u
	}
	return sum / float64(len(m))
}

func (m mean) all(can func(Source) bool) bool {
	return !slices.ContainsFunc(m, func(s Source) bool { return !can(s) })
}

func (m mean) InTurn() bool { return slices.ContainsFunc(m, Source.InTurn) }

func (m mean) NeedsPrompt() bool { return slices.ContainsFunc(m, Source.NeedsPrompt) }

func (m mean) Open(r Request) (Valuer, error) {
	v := &meanValuer{}
	for _, s := range m {
		member, err := s.Open(r)
		if err != nil {
			v.Close()
			return nil, err
		}
		v.members = append(v.members, member)
	}
	return v, nil
}

type meanValuer struct {
	members []Valuer
	// scratch
	memories [][]Memory // of the candidates, by member
	out      []float32
	table    []float32 // the mean of theirs
}

func (v *meanValuer) ReadsStates() bool {
	for _, m := range v.members {
		if m.ReadsStates() {
			return true
		}
	}
	return false
}

func (v *meanValuer) Begin() (Memory, error) {
	var all []Memory
	for _, m := range v.members {
		memory, err := m.Begin()
		if err != nil {
			return nil, err
		}
		all = append(all, memory)
	}
	return all, nil
}

func (v *meanValuer) Fork(m Memory) Memory {
	var all []Memory
	for i, memory := range m.([]Memory) {
		all = append(all, v.members[i].Fork(memory))
	}
	return all
}

func (v *meanValuer) Drop(m Memory) {
	for i, memory := range m.([]Memory) {
		v.members[i].Drop(memory)
	}
}

// each calls f for every member, with the candidates' memories being those of the member.
func (v *meanValuer) each(cs []*Candidate, f func(Valuer) error) error {
	v.memories = v.memories[:0]
	for _, c := range cs {
		v.memories = append(v.memories, c.Memory.([]Memory))
	}
	defer func() {
		for k, c := range cs {
			c.Memory = v.memories[k]
		}
	}()
	for i, m := range v.members {
		for k, c := range cs {
			c.Memory = v.memories[k][i]
		}
		err := f(m)
		for k, c := range cs {
			v.memories[k][i] = c.Memory
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add adds a member's share to the mean.
func (v *meanValuer) add(out []float32) {
	for k := range out {
		out[k] += v.out[k] / float32(len(v.members))
	}
}

func (v *meanValuer) Push(cs []*Candidate) error {
	return v.each(cs, func(m Valuer) error { return m.Push(cs) })
}

func (v *meanValuer) Value(ctx context.Context, cs []*Candidate, out []float32) error {
	v.begin(out)
	return v.each(cs, func(m Valuer) error {
		if err := m.Value(ctx, cs, v.out); err != nil {
			return err
		}
		v.add(out)
		return nil
	})
}

func (v *meanValuer) Score(ctx context.Context, c *Candidate, tokens []int32, out []float32) error {
	v.begin(out)
	return v.each([]*Candidate{c}, func(m Valuer) error {
		if err := m.(Scorer).Score(ctx, c, tokens, v.out); err != nil {
			return err
		}
		v.add(out)
		return nil
	})
}

// Advantages is the mean of the members' tables, each as steep as it is.
func (v *meanValuer) Advantages(c *Candidate) (_ []float32, slope float64, err error) {
	n := 0
	err = v.each([]*Candidate{c}, func(m Valuer) error {
		table, slope, err := m.(Tilter).Advantages(c)
		if err != nil {
			return err
		}
		if n++; n == 1 && len(v.table) == len(table) {
			clear(v.table)
		} else if n == 1 {
			v.table = make([]float32, len(table))
		}
		if len(table) != len(v.table) {
			return fault.New("", "value_head", nil, "take heads of the same model", "tables of advantages of %d and %d tokens", len(table), len(v.table))
		}
		share := float32(slope / float64(len(v.members)))
		for y, a := range table {
			v.table[y] += share * a
		}
		return nil
	})
	return v.table, 1, err
}

// begin empties a mean, and makes room for a member's values.
func (v *meanValuer) begin(out []float32) {
	clear(out)
	v.out = append(v.out[:0], out...)
}

func (v *meanValuer) Close() {
	for _, m := range v.members {
		m.Close()
	}
}
