package llama_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// A sequence saved in one context goes on in another, under another number, as if it had
// been decoded there.
func TestSaveSequence(t *testing.T) {
	m := load(t, randomModel(t, "llama", 3, nil))
	p := exact
	p.Sequences = 3
	c := newContext(t, m, p)
	feed(t, c, 1, 0, 10, 20, 30)
	saved, err := c.SaveSequence(1)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := feed(t, c, 1, 3, 40, 50)

	d := newContext(t, m, p)
	feed(t, d, 0, 0, 7, 8, 9) // a neighbour
	feed(t, d, 2, 0, 1, 2)    // what was there goes
	if err := d.RestoreSequence(2, saved); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Len(2); n != 3 || err != nil {
		t.Errorf("restored %d tokens, %v", n, err)
	}
	if got, _ := feed(t, d, 2, 3, 40, 50); maxDiff(got, want) > 1e-5 {
		t.Errorf("off by %g", maxDiff(got, want))
	}

	if _, err := c.SaveSequence(0); err == nil {
		t.Error("an empty sequence was saved")
	}
}

// A sequence that was taken out of the context goes on as before, though it comes back to other cells and shares its
// first tokens again; and while it is out its cells are free.
func TestDetach(t *testing.T) {
	for _, from := range []int32{0, 3} {
		m := load(t, randomModel(t, "llama", 3, nil))
		p := exact
		p.Sequences, p.Ctx = 4, 256
		c, plain := newContext(t, m, p), newContext(t, m, p)
		feed(t, plain, 0, 0, 10, 20, 30, 40, 50)
		want, _ := feed(t, plain, 0, 5, 60, 70)

		feed(t, c, 0, 0, 10, 20, 30)
		if err := c.Fork(0, 1); err != nil {
			t.Fatal(err)
		}
		feed(t, c, 1, 3, 40, 50)
		cells, err := c.Detach(1, from)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := c.Len(1); n != 0 || err != nil {
			t.Errorf("%d tokens are left, %v", n, err)
		}
		long := make([]int32, 250)
		feed(t, c, 2, 0, long...) // 253 of 256 cells are filled
		if err := c.Attach(3, cells, 0, from); from == 0 && !errors.Is(err, llama.ErrContextFull) {
			t.Errorf("attached to a full context: %v", err)
		}
		if err := c.Trim(2, 9); err != nil {
			t.Fatal(err)
		}
		if err := c.Attach(3, cells, 0, from); err != nil {
			t.Fatal(err)
		}
		for _, seq := range []int32{0, 2} {
			if err := c.Drop(seq); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := c.Len(3); n != 5 || err != nil {
			t.Errorf("attached: %d tokens, %v", n, err)
		}
		if got, _ := feed(t, c, 3, 5, 60, 70); maxDiff(got, want) > 1e-5 {
			t.Errorf("from token %d: off by %g", from, maxDiff(got, want))
		}
		if _, err := c.Detach(0, 0); err == nil {
			t.Error("an empty sequence was detached")
		}
		if err := c.Attach(0, nil, 3, 2); err == nil {
			t.Error("nothing was attached")
		}
	}
}

func TestRestoreRefused(t *testing.T) {
	m := load(t, randomModel(t, "llama", 3, nil))
	c := newContext(t, m, exact)
	feed(t, c, 0, 0, 10, 20, 30)
	saved, err := c.SaveSequence(0)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(saved); n += 1 + n/8 { // truncated anywhere
		if err := c.RestoreSequence(0, saved[:n]); !errors.Is(err, llama.ErrState) {
			t.Fatalf("%d of %d bytes: %v", n, len(saved), err)
		}
	}
	for i := 0; i < len(saved); i += 1 + i/8 { // a byte flipped anywhere
		bad := slices.Clone(saved)
		bad[i] ^= 0x10
		if err := c.RestoreSequence(0, bad); !errors.Is(err, llama.ErrState) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	if n, _ := c.Len(0); n != 3 {
		t.Errorf("refusals left %d tokens of 3", n)
	}
	p := exact
	p.CacheK = llama.CacheF16
	if err := newContext(t, m, p).RestoreSequence(0, saved); !errors.Is(err, llama.ErrState) {
		t.Errorf("another cache type: %v", err)
	}
	other := newContext(t, load(t, randomModel(t, "llama", 4, nil)), exact)
	if err := other.RestoreSequence(0, saved); !errors.Is(err, llama.ErrState) {
		t.Errorf("another model: %v", err)
	}

	// No cells left: the sequence is empty afterwards, the others are whole.
	p = exact
	p.Ctx, p.Sequences = 256, 2
	full := newContext(t, m, p)
	feed(t, full, 0, 0, slices.Repeat([]int32{5}, 254)...)
	if err := full.RestoreSequence(1, saved); !errors.Is(err, llama.ErrContextFull) {
		t.Errorf("a full cache: %v", err)
	}
	for seq, want := range []int{254, 0} {
		if n, err := full.Len(int32(seq)); n != want || err != nil {
			t.Errorf("sequence %d has %d tokens, %v", seq, n, err)
		}
	}
}

func TestPerf(t *testing.T) {
	c := newContext(t, load(t, randomModel(t, "llama", 3, nil)), llama.ContextParams{})
	feed(t, c, 0, 0, 10, 20, 30)
	feed(t, c, 0, 3, 40)
	feed(t, c, 0, 4, 50)
	p, err := c.Perf()
	if err != nil || p.PromptTokens != 3 || p.DecodeTokens != 2 || p.PromptTime <= 0 || p.DecodeTime <= 0 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := c.ResetPerf(); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Perf(); err != nil || p.PromptTime != 0 || p.DecodeTime != 0 {
		t.Errorf("after the reset: %+v, %v", p, err)
	}
}

// A fork between streams is finished before its sequence is saved or replaced: llama.cpp
// puts the copy off to the next decode. The batch stays as it was.
func TestSaveForkedStream(t *testing.T) {
	m := load(t, randomModel(t, "llama", 3, nil))
	p := exact
	p.Sequences, p.Streams = 2, true
	c := newContext(t, m, p)
	feed(t, c, 0, 0, 10, 20, 30)
	if err := c.Fork(0, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Add(40, 3, 0, false, 0); err != nil {
		t.Fatal(err)
	}
	saved, err := c.SaveSequence(1)
	if err != nil {
		t.Fatal(err)
	}
	if n := c.Rows(); n != 0 {
		t.Errorf("%d rows outlive the copy", n)
	}
	want, _ := feed(t, c, 0, 4, 50)
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	feed(t, c, 0, 0, 7, 8, 9)
	if err := c.Fork(0, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.RestoreSequence(1, saved); err != nil {
		t.Fatal(err)
	}
	if got, _ := feed(t, c, 1, 3, 40, 50); maxDiff(got, want) > 1e-5 {
		t.Errorf("off by %g", maxDiff(got, want))
	}
}
