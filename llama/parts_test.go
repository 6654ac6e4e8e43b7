package llama_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// A batch that is decoded in parts leaves what it does whole: rows, states, and the cache.
func TestParts(t *testing.T) {
	m := load(t, randomModel(t, "llama", 3, nil))
	llama.Tiles(true)
	defer llama.Tiles(false)
	const sequences, length = 50, 3
	const near = 5e-3 // where there are tiles they round in another way; another token's row is off by 1
	p := llama.ContextParams{Flash: llama.FlashOn, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Ctx: 1024, Sequences: sequences, Layers: []int{1, 0}, Top: 4}
	var rows [2][]llama.Row
	var kept [2][][]float32
	for way, filled := range []int{0, 1 << 20} { // whole, in parts
		c := newContext(t, m, p)
		if err := c.Filled(filled); err != nil {
			t.Fatal(err)
		}
		for round := range 2 { // the second reads what the first left in the cache
			outputs, keeps := 0, 0
			for s := range sequences {
				for i := range length {
					token, pos := int32(5*s+i+round), int32(round*length+i)
					var err error
					switch {
					case i == length-1 && s%4 > 0:
						_, err = c.Add(token, pos, int32(s), true, 0.7)
						outputs++
					case s%3 == 0:
						_, err = c.AddKept(token, pos, int32(s))
						keeps++
					default:
						_, err = c.Add(token, pos, int32(s), false, 0)
					}
					if err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := c.Decode(); err != nil {
				t.Fatal(err)
			}
			for i := range outputs {
				row, err := c.Row(i)
				if err != nil {
					t.Fatal(err)
				}
				row.Logits, row.States, row.Top = slices.Clone(row.Logits), slices.Clone(row.States), slices.Clone(row.Top)
				rows[way] = append(rows[way], row)
			}
			for i := range keeps {
				states, err := c.Kept(i)
				if err != nil {
					t.Fatal(err)
				}
				kept[way] = append(kept[way], slices.Clone(states))
			}
		}
	}
	for i, want := range rows[0] {
		got := rows[1][i]
		if d := max(maxDiff(got.Logits, want.Logits), maxDiff(got.States, want.States), maxDiff([]float32{got.LSE, got.LSET}, []float32{want.LSE, want.LSET})); d > near || got.Top[0] != want.Top[0] {
			t.Errorf("row %d is off by %g, likeliest tokens %v and %v", i, d, got.Top, want.Top)
		}
	}
	for i, want := range kept[0] {
		if d := maxDiff(kept[1][i], want); d > near {
			t.Errorf("states of kept token %d are off by %g", i, d)
		}
	}
}

// Where a later part finds no room, the earlier ones are taken back.
func TestPartsWithoutRoom(t *testing.T) {
	m := load(t, randomModel(t, "llama", 3, nil))
	llama.Tiles(true)
	defer llama.Tiles(false)
	const sequences = 128
	c := newContext(t, m, llama.ContextParams{Flash: llama.FlashOn, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Ctx: 256, Sequences: sequences})
	if err := c.Filled(1 << 20); err != nil {
		t.Fatal(err)
	}
	add := func(n int, pos int32) error {
		for s := range n {
			if _, err := c.Add(int32(s), pos, int32(s), true, 0); err != nil {
				t.Fatal(err)
			}
		}
		return c.Decode()
	}
	if err := errors.Join(add(sequences, 0), add(sequences-40, 1)); err != nil {
		t.Fatal(err)
	}
	if err := add(sequences-40, 2); !errors.Is(err, llama.ErrContextFull) {
		t.Fatalf("%d tokens fit: %v", 3*sequences-80, err)
	}
	if err := add(40, 2); err != nil {
		t.Errorf("what was taken back is in the way: %v", err)
	}
}
