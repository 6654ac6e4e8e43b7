package llama_test

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// What each method of a closed context does: it returns the error here, which must be
// ErrClosed, or nil where it needs no context.
var closedContext = map[string]func(*llama.Context) error{
	"Abort":            func(c *llama.Context) error { c.Abort(true); return nil },
	"Add":              func(c *llama.Context) error { _, err := c.Add(1, 0, 0, true, 0); return err },
	"BareLoop":         func(c *llama.Context) error { return c.BareLoop([]int32{1}, 1, 0) },
	"BareSampling":     func(c *llama.Context) error { return c.BareSampling([]int32{1}, 0, 1, 1, 1) },
	"Check":            func(c *llama.Context) error { return nilOr(c.Check(1, 0, 1)) },
	"Clear":            func(c *llama.Context) error { return c.Clear() },
	"Close":            func(c *llama.Context) error { return nilOr(c.Close()) },
	"Decode":           func(c *llama.Context) error { return c.Decode() },
	"Drop":             func(c *llama.Context) error { return c.Drop(0) },
	"Attach":           func(c *llama.Context) error { return c.Attach(0, []byte{1}, 1, 1) },
	"Detach":           func(c *llama.Context) error { _, err := c.Detach(0, 0); return err },
	"Fork":             func(c *llama.Context) error { return c.Fork(0, 1) },
	"Len":              func(c *llama.Context) error { _, err := c.Len(0); return err },
	"Model":            func(c *llama.Context) error { c.Model().Info(); return nil },
	"Params":           func(c *llama.Context) error { c.Params(); return nil },
	"Pending":          func(c *llama.Context) error { return none(c.Pending()) },
	"Perf":             func(c *llama.Context) error { _, err := c.Perf(); return err },
	"ResetPerf":        func(c *llama.Context) error { return c.ResetPerf() },
	"AddKept":          func(c *llama.Context) error { _, err := c.AddKept(1, 0, 0); return err },
	"Filled":           func(c *llama.Context) error { return c.Filled(1) },
	"Kept":             func(c *llama.Context) error { _, err := c.Kept(0); return err },
	"Row":              func(c *llama.Context) error { _, err := c.Row(0); return err },
	"Rows":             func(c *llama.Context) error { return none(c.Rows()) },
	"SetLoRA":          func(c *llama.Context) error { return c.SetLoRA() },
	"Trim":             func(c *llama.Context) error { return c.Trim(0, 0) },
	"SetControlVector": func(c *llama.Context) error { return c.SetControlVector(nil, 0, 0) },
	"SaveSequence":     func(c *llama.Context) error { _, err := c.SaveSequence(0); return err },
	"RestoreSequence": func(c *llama.Context) error {
		return c.RestoreSequence(0, savedSequence)
	},
}

// The same for a closed model.
var closedModel = map[string]func(*llama.Model) error{
	"AddBOS": func(m *llama.Model) error { m.AddBOS(); return nil },
	"Adapt":  func(m *llama.Model) error { return m.Adapt(llama.Adapters{LoRA: []llama.AdapterFile{{Path: "none"}}}) },
	"BOS":    func(m *llama.Model) error { m.BOS(); return nil },
	"RenderChat": func(m *llama.Model) error {
		_, err := m.RenderChat([]llama.Message{{Role: "user"}}, llama.Chat{Template: "chatml"})
		return err
	},
	"Specials":     func(m *llama.Model) error { _, err := m.Specials(); return err },
	"CellBytes":    func(m *llama.Model) error { m.CellBytes(llama.CacheF16, llama.CacheF16); return nil },
	"ChatTemplate": func(m *llama.Model) error { m.ChatTemplate(); return nil },
	"Close":        func(m *llama.Model) error { return nilOr(m.Close()) },
	"Detokenize":   func(m *llama.Model) error { _, err := m.Detokenize([]int32{1}, true); return err },
	"Embeddings": func(m *llama.Model) error {
		e, err := m.Embeddings()
		if err != nil {
			return nilOr(err)
		}
		return nilOr(e.Close())
	},
	"EOS":         func(m *llama.Model) error { m.EOS(); return nil },
	"EOT":         func(m *llama.Model) error { m.EOT(); return nil },
	"Fingerprint": func(m *llama.Model) error { _, err := m.Fingerprint(); return nilOr(err) },
	"Identify":    func(m *llama.Model) error { _, err := m.Identify(context.Background(), nil); return nilOr(err) },
	"Info":        func(m *llama.Model) error { m.Info(); return nil },
	"IsEOG":       func(m *llama.Model) error { m.IsEOG(1); return nil },
	"LoadLoRA":    func(m *llama.Model) error { _, err := m.LoadLoRA("none"); return err },
	"Metadata":    func(m *llama.Model) error { m.Metadata(); return nil },
	"NewClassifier": func(m *llama.Model) error {
		_, err := m.NewClassifier(llama.ClassifierParams{Threads: 1})
		return err
	},
	"NewContext": func(m *llama.Model) error { _, err := m.NewContext(llama.ContextParams{Threads: 1}); return err },
	"NewGrammar": func(m *llama.Model) error { _, err := m.NewGrammar(`root ::= "a"`, ""); return err },
	"Offload":    func(m *llama.Model) error { m.Offload(); return nil },
	"Path":       func(m *llama.Model) error { m.Path(); return nil },
	"Piece":      func(m *llama.Model) error { _, err := m.Piece(1, false); return err },
	"Rules":      func(m *llama.Model) error { _, err := m.Rules(`root ::= "a"`); return err },
	"Special":    func(m *llama.Model) error { m.Special(); return nil },
	"Token":      func(m *llama.Model) error { _, err := m.Token(1); return err },
	"Tokenize":   func(m *llama.Model) error { _, err := m.Tokenize("a", true, true); return err },
	"VocabType":  func(m *llama.Model) error { m.VocabType(); return nil },
}

// And for a closed grammar.
var closedGrammar = map[string]func(*llama.Grammar) error{
	"Accept": func(g *llama.Grammar) error { return g.Accept(1) },
	"Clone":  func(g *llama.Grammar) error { _, err := g.Clone(); return err },
	"Close":  func(g *llama.Grammar) error { return nilOr(g.Close()) },
	"Mask":   func(g *llama.Grammar) error { return g.Mask([]int32{1}, make([]bool, 1)) },
}

// nilOr passes an error on as one that is not ErrClosed, which the tests do not forgive.
func nilOr(err error) error {
	if err != nil {
		return errors.New(err.Error())
	}
	return nil
}

func none(n int) error {
	if n != 0 {
		return errors.New("not 0")
	}
	return nil
}

var savedSequence []byte

func TestEveryMethodIsTriedClosed(t *testing.T) {
	for _, c := range []struct {
		typ     reflect.Type
		covered func(string) bool
	}{
		{reflect.TypeFor[*llama.Context](), func(s string) bool { return closedContext[s] != nil }},
		{reflect.TypeFor[*llama.Model](), func(s string) bool { return closedModel[s] != nil }},
		{reflect.TypeFor[*llama.Grammar](), func(s string) bool { return closedGrammar[s] != nil }},
	} {
		for i := range c.typ.NumMethod() {
			if name := c.typ.Method(i).Name; !c.covered(name) {
				t.Errorf("add %v.%s to the table of calls after Close", c.typ, name)
			}
		}
	}
}

// Every method of a closed context or model returns ErrClosed, or works without C.
func TestClosed(t *testing.T) {
	m, err := llama.Load(randomModel(t, "llama", 1, nil), llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.NewContext(llama.ContextParams{Threads: 1, Sequences: 2})
	if err != nil {
		t.Fatal(err)
	}
	feed(t, c, 0, 0, 1, 2, 3)
	if savedSequence, err = c.SaveSequence(0); err != nil {
		t.Fatal(err)
	}
	g, err := m.NewGrammar(`root ::= "ab"`, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, closer := range []io.Closer{c, g} {
		if err := m.Close(); err == nil || !strings.Contains(err.Error(), "of them are open") {
			t.Errorf("a model with something open: %v", err)
		}
		if err := closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, call := range closedGrammar {
		if err := call(g); err != nil && !errors.Is(err, llama.ErrClosed) {
			t.Errorf("Grammar.%s after Close: %v", name, err)
		}
	}
	for range 2 { // what is called once must not wake the dead
		for name, call := range closedContext {
			if err := call(c); err != nil && !errors.Is(err, llama.ErrClosed) {
				t.Errorf("Context.%s after Close: %v", name, err)
			}
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for name, call := range closedModel {
			if err := call(m); err != nil && !errors.Is(err, llama.ErrClosed) {
				t.Errorf("Model.%s after Close: %v", name, err)
			}
		}
	}
}

// Ids, positions and numbers out of range are errors, and the context stays good.
func TestOutOfRange(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	c := newContext(t, m, llama.ContextParams{Sequences: 2, Batch: 8})
	bad := []int32{-1, math.MinInt32, math.MaxInt32, 1 << 20}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, x := range bad {
		calls := map[string]error{
			"Fork from": c.Fork(x, 0), "Fork to": c.Fork(0, x), "Drop": c.Drop(x), "Trim": c.Trim(x, 0),
			"BareLoop token": c.BareLoop([]int32{x}, 1, 0), "BareLoop n": c.BareLoop([]int32{1}, int(x), 0),
			"BareSampling token": c.BareSampling([]int32{x}, 0, 1, 1, 1),
			"RestoreSequence":    c.RestoreSequence(x, nil),
			"Attach":             c.Attach(x, []byte{1}, 0, 0), "Attach to": c.Attach(0, []byte{1}, x, 1),
		}
		_, calls["Add token"] = c.Add(x, 0, 0, true, 0)
		_, calls["Add sequence"] = c.Add(1, 0, x, true, 0)
		_, calls["Len"] = c.Len(x)
		_, calls["Row"] = c.Row(int(x))
		_, calls["SaveSequence"] = c.SaveSequence(x)
		_, calls["Detach"] = c.Detach(x, 0)
		_, calls["Detach from"] = c.Detach(0, x)
		_, calls["Piece"] = m.Piece(x, true)
		_, calls["Token"] = m.Token(x)
		_, calls["Detokenize"] = m.Detokenize([]int32{1, x}, true)
		if x < 0 {
			calls["Trim from"] = c.Trim(0, x)
			calls["BareLoop position"] = c.BareLoop([]int32{1}, 1, int(x))
			_, calls["Add position"] = c.Add(1, x, 0, true, 0)
		}
		for name, err := range calls {
			if err == nil {
				t.Errorf("%s %d: no error", name, x)
			}
		}
		if m.IsEOG(x) {
			t.Errorf("token %d ends a generation", x)
		}
	}
	for _, temp := range []float32{nan, inf, -inf, -1, 1e-45} {
		if _, err := c.Add(1, 0, 0, true, temp); (err == nil) != (temp == inf) { // an infinite temperature is the uniform distribution
			t.Errorf("temperature %v: %v", temp, err)
		}
	}
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	// The last position there is, and the one after.
	if _, err := c.Add(1, math.MaxInt32, 0, true, 0); err == nil {
		c.Decode()
	}
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	for i := range int32(9) {
		if _, err := c.Add(1, i, 0, true, 0); (err == nil) != (i < 8) {
			t.Errorf("token %d in a batch of 8: %v", i, err)
		}
	}
	if err := c.Decode(); err != nil || c.Rows() != 8 {
		t.Errorf("%d rows, %v", c.Rows(), err)
	}
}

// Many goroutines in one context: a call is made alone or gets ErrBusy.
func TestManyGoroutines(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	c, err := m.NewContext(llama.ContextParams{Threads: 1, Sequences: 2, Batch: 64})
	if err != nil {
		t.Fatal(err)
	}
	feed(t, c, 0, 0, 1, 2, 3)
	saved, err := c.SaveSequence(0)
	if err != nil {
		t.Fatal(err)
	}
	savedSequence = saved
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				for name, call := range closedContext {
					if name == "Close" || name == "Abort" {
						continue
					}
					call(c) // the sequences are in any state: only ErrBusy, others' errors and no crash
				}
			}
		})
	}
	wg.Wait()
	// Abort comes from anywhere, at any time, Close included.
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				c.Abort(i%2 == 0)
				c.Add(1, int32(i), 0, true, 0)
				c.Decode()
			}
		})
	}
	for err = c.Close(); errors.Is(err, llama.ErrBusy); {
		err = c.Close()
	}
	if err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := c.Decode(); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Abort stops a decode that is under way; the context is good afterwards.
func TestAbort(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	c := newContext(t, m, llama.ContextParams{Ctx: 8192, Batch: 4096, UBatch: 16})
	for i := range int32(4096) {
		if _, err := c.Add(1, i, 0, false, 0); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() { done <- c.Decode() }()
	var err error
	for waiting := true; waiting; {
		select {
		case err = <-done:
			waiting = false
		default:
			if _, busy := c.Len(0); errors.Is(busy, llama.ErrBusy) {
				c.Abort(true)
			}
		}
	}
	// Len above may have come first, and the decode been refused.
	if !errors.Is(err, llama.ErrAborted) && !errors.Is(err, llama.ErrBusy) {
		t.Errorf("got %v", err)
	}
	c.Abort(false)
	if err := c.Clear(); err != nil {
		t.Fatal(err)
	}
	feed(t, c, 0, 0, 1, 2, 3)
}

// A model may be used by many goroutines, and closed by one of them.
func TestModelGoroutines(t *testing.T) {
	path := randomModel(t, "llama", 1, nil)
	for range 5 {
		m, err := llama.Load(path, llama.ModelParams{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 20 {
					for name, call := range closedModel {
						if name != "Close" && !strings.HasPrefix(name, "New") {
							call(m)
						}
					}
					c, err := m.NewContext(llama.ContextParams{Threads: 1, Ctx: 32})
					if errors.Is(err, llama.ErrClosed) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					c.Add(1, 0, 0, true, 0)
					if err := c.Decode(); err != nil {
						t.Error(err)
					}
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for m.Close() != nil { // contexts are open
		}
		wg.Wait()
	}
}

// A word of a hundred thousand characters tokenizes, and so do as many spaces:
// llama.cpp's regular expressions recurse over them.
func TestLongRuns(t *testing.T) {
	for _, pre := range []string{"qwen2", "tekken", "deepseek-v3", "falcon", "bloom", "llama-bpe"} {
		f := rawBase("bpe")
		f.set("tokenizer.ggml.pre", pre)
		path := filepath.Join(t.TempDir(), pre)
		if err := os.WriteFile(path, f.bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		m := load(t, path)
		for _, unit := range []string{"a", "A", "7", " ", "\n", "!", "é", "水", "\u3000", " \u3000"} {
			text := strings.Repeat(unit, 100_000/len(unit))
			tokens, err := m.Tokenize(text, false, false)
			if err != nil {
				t.Errorf("%s, %q: %v", pre, unit, err)
				continue
			}
			if got, err := m.Detokenize(tokens, false); err != nil || got != text {
				t.Errorf("%s, %q: %d bytes came back as %d, %v", pre, unit, len(text), len(got), err)
			}
		}
		if _, err := m.Tokenize(strings.Repeat("a", 1<<21), false, false); err == nil {
			t.Errorf("%s: a word of 2 MiB gave no error", pre)
		}
	}
}

// A context whose KV cache no memory can hold is refused before it is tried.
func TestContextBeyondMemory(t *testing.T) {
	total := uint64(0)
	for _, d := range llama.Devices() {
		total += d.Total
	}
	if total == 0 || total > 300<<30 {
		t.Skip("this machine might hold it")
	}
	m := load(t, randomModel(t, "llama", 1, nil))
	_, err := m.NewContext(llama.ContextParams{Ctx: 1 << 28, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Flash: llama.FlashOff, Threads: 1})
	if err == nil || !strings.Contains(err.Error(), "the KV cache") {
		t.Errorf("a context of 2^28 tokens: %v", err)
	}
}
