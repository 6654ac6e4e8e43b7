package gguf_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

func sample() ([]gguf.KV, []gguf.Tensor) {
	return []gguf.KV{
			{Key: "general.architecture", Value: "test"},
			{Key: "a.bool", Value: true}, {Key: "a.u8", Value: uint8(200)}, {Key: "a.i8", Value: int8(-3)},
			{Key: "a.u16", Value: uint16(60000)}, {Key: "a.i16", Value: int16(-300)}, {Key: "a.u32", Value: uint32(1 << 31)},
			{Key: "a.i32", Value: int32(-7)}, {Key: "a.u64", Value: uint64(1 << 63)}, {Key: "a.i64", Value: int64(-1)},
			{Key: "a.f32", Value: float32(0.1)}, {Key: "a.f64", Value: math.Pi}, {Key: "a.string", Value: "zß水🙂"}, {Key: "a.empty", Value: ""},
			{Key: "s.strings", Value: []string{"", "x", "yy"}}, {Key: "s.f32", Value: []float32{1, 2, 3}}, {Key: "s.i32", Value: []int32{-1, 2}},
			{Key: "s.bool", Value: []bool{true, false}}, {Key: "s.u8", Value: []uint8{1, 2, 3}},
		}, []gguf.Tensor{
			{Name: "one", Shape: []uint64{3}, Data: []float32{1, -2, 3}},
			{Name: "two", Shape: []uint64{2, 3}, Data: []float32{1, 2, 3, 4, 5, float32(math.Inf(1))}},
		}
}

func write(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.gguf")
	kvs, tensors := sample()
	if err := gguf.Write(path, kvs, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	kvs, tensors := sample()
	f, err := gguf.Read(write(t))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(f.KVs, kvs) {
		t.Errorf("metadata came back as %v", f.KVs)
	}
	for _, want := range tensors {
		got, err := f.ReadF32(want.Name)
		info, _ := f.Tensor(want.Name)
		if err != nil || !reflect.DeepEqual(got, want.Data) || !reflect.DeepEqual(info.Shape, want.Shape) {
			t.Errorf("%s: %v %v, %v", want.Name, info.Shape, got, err)
		}
	}
	if v, ok := f.Int("a.i16"); v != -300 || !ok {
		t.Errorf("Int: %d %v", v, ok)
	}
	if v, ok := f.Float("a.f64"); v != math.Pi || !ok {
		t.Errorf("Float: %g %v", v, ok)
	}
	if _, err := f.ReadF32("three"); err == nil {
		t.Error("a missing tensor was read")
	}
}

func TestWriteRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.gguf")
	for _, bad := range []struct {
		kvs     []gguf.KV
		tensors []gguf.Tensor
	}{
		{kvs: []gguf.KV{{Key: "k", Value: struct{}{}}}},
		{kvs: []gguf.KV{{Key: "k", Value: 1}}}, // int has no fixed width
		{tensors: []gguf.Tensor{{Name: "t", Shape: []uint64{2}, Data: []float32{1}}}},
		{tensors: []gguf.Tensor{{Name: "t", Data: []float32{1}}}},
	} {
		if err := gguf.Write(path, bad.kvs, bad.tensors); err == nil {
			t.Errorf("%v was written", bad)
		}
		if _, err := os.Stat(path); err == nil {
			t.Fatal("a failed write left a file")
		}
	}
}

// A file cut anywhere is refused, and one with bytes changed is refused or read, but
// never crashes the reader or makes it allocate without bound.
func TestDamage(t *testing.T) {
	good, err := os.ReadFile(write(t))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bad.gguf")
	try := func(data []byte) error {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Read(path)
		if err == nil {
			for _, info := range f.Tensors {
				f.ReadF32(info.Name)
			}
		}
		return err
	}
	for n := range len(good) {
		// The last bytes are the padding of the last tensor.
		if err := try(good[:n]); err == nil && n < len(good)-32 {
			t.Errorf("cut to %d of %d bytes, it was read", n, len(good))
		} else if e := new(gguf.Error); err != nil && (!errors.As(err, &e) || e.Hint == "") {
			t.Errorf("cut to %d bytes: no hint in %v", n, err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		bad := append([]byte(nil), good...)
		for range 1 + rng.IntN(4) {
			bad[rng.IntN(len(bad))] = byte(rng.IntN(256))
		}
		try(bad)
	}
}

// Half-precision numbers are written as they are, and numbers between two of them as the nearer
// one, or the even one.
func TestWritesF16(t *testing.T) {
	half := func(h int) float32 { // 5 bits of exponent, 10 of mantissa
		if e := h >> 10; e > 0 {
			return float32(math.Ldexp(float64(h&0x3ff|0x400), e-25))
		}
		return float32(math.Ldexp(float64(h), -24))
	}
	inf := float32(math.Inf(1))
	x, want := []float32{gguf.MaxF16 + 15, gguf.MaxF16 + 16, inf, -inf}, []float32{gguf.MaxF16, inf, inf, -inf}
	for h := range 0x7bff {
		low, high := half(h), half(h+1)
		middle, even := (low+high)/2, half(h+h&1)
		x = append(x, low, -low, math.Nextafter32(middle, low), middle, -middle, math.Nextafter32(middle, high))
		want = append(want, low, -low, low, even, -even, high)
	}
	path := filepath.Join(t.TempDir(), "half.gguf")
	tensors := []gguf.Tensor{{Name: "h", Shape: []uint64{uint64(len(x))}, Type: gguf.F16, Data: x}, {Name: "f", Shape: []uint64{1}, Data: []float32{math.Pi}}}
	if err := gguf.Write(path, nil, tensors); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.ReadF32("h")
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] || math.Signbit(float64(got[i])) != math.Signbit(float64(want[i])) {
			t.Fatalf("%v became %v, not %v", x[i], got[i], want[i])
		}
	}
	if got, err := f.ReadF32("f"); err != nil || got[0] != math.Pi {
		t.Errorf("the tensor behind it is %v: %v", got, err)
	}
	tensors[0].Type = 8
	if err := gguf.Write(path, nil, tensors); err == nil {
		t.Error("floats were written as Q8_0")
	}
}
