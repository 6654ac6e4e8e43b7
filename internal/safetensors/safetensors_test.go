package safetensors_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/safetensors"
	"github.com/ivo-decoding/ivo/internal/testcheckpoint"
)

// file is the bytes of a file with this header and these data.
func file(header string, data ...byte) string {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return string(b) + header + string(data)
}

func write(t testing.TB, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is wrong with a file is one error that names it, says what is wrong and what to do.
func TestRefuses(t *testing.T) {
	one := func(entry string) string { return `{"a":` + entry + `}` }
	four := []byte{0, 0, 128, 63}
	for name, tc := range map[string]struct{ content, want string }{
		"nothing":             {"", "0 bytes are no"},
		"a few bytes":         {"\x02\x00\x00", "3 bytes are no"},
		"pickle":              {"\x80\x02}q\x00.xxxxxxxxxxx", "pickle of PyTorch"},
		"zipped pickle":       {"PK\x03\x04xxxxxxxxxxxxxx", "pickle of PyTorch"},
		"gguf":                {"GGUF\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00", "GGUF"},
		"lfs pointer":         {"version https://git-lfs.github.com/spec/v1\n", "git-lfs"},
		"json":                {`{"weight_map": {}}`, "index"},
		"other":               {"hello hello hello", "no header begins"},
		"huge header":         {"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "more than 100000000"},
		"larger than int64":   {"\xff\xff\xff\xff\xff\xff\xff\xff{}", "more than 100000000"},
		"cut header":          {file(one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`))[:30], "cut"},
		"no object":           {file(`{]`), "header is damaged"},
		"header goes on":      {file(`{} x`), "bytes follow its end"},
		"twice":               {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, append(four, four...)...), `"a" comes twice`},
		"no type":             {file(one(`{"shape":[1],"data_offsets":[0,4]}`), four...), "lacks"},
		"no shape":            {file(one(`{"dtype":"F32","data_offsets":[0,4]}`), four...), "lacks"},
		"one offset":          {file(one(`{"dtype":"F32","shape":[1],"data_offsets":[0]}`), four...), "lacks"},
		"shape of text":       {file(one(`{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}`), four...), `tensor "a"`},
		"fraction":            {file(one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4.5]}`), four...), `tensor "a"`},
		"metadata of numbers": {file(`{"__metadata__":{"n":1}}`), "metadata"},
		"cut data":            {file(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,8]}`), four...), "cut"},
		"more data":           {file(one(`{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`), append(four, 7)...), "1 bytes follow"},
		"negative":            {file(one(`{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}`), four...), "from -4 to 0"},
		"backwards":           {file(one(`{"dtype":"F32","shape":[1],"data_offsets":[4,0]}`), four...), "from 4 to 0"},
		"hole":                {file(one(`{"dtype":"U8","shape":[2],"data_offsets":[2,4]}`), four...), "nothing is said"},
		"overlap":             {file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}`, four...), "lies upon"},
		"size":                {file(one(`{"dtype":"F32","shape":[2],"data_offsets":[0,4]}`), four...), "takes 8 bytes"},
		"negative shape":      {file(one(`{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}`), four...), "shape [-1]"},
		"overflow":            {file(one(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}`), four...), "shape"},
		"many dimensions":     {file(one(`{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}`), four...), "9 dimensions"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := safetensors.Open(write(t, filepath.Join(t.TempDir(), "m.safetensors"), tc.content))
			var f *fault.Error
			if !errors.As(err, &f) || f.Hint == "" || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "m.safetensors") {
				t.Errorf("got %v, want an error with a hint, the file and %q", err, tc.want)
			}
		})
	}
}

// Folders and indices that do not say where the tensors are.
func TestRefusesFolders(t *testing.T) {
	good := file(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, 0, 0, 128, 63)
	index := "model.safetensors.index.json"
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":         {nil, "no .safetensors file"},
		"pickles":         {map[string]string{"pytorch_model.bin": "PK\x03\x04"}, "pickle"},
		"two files":       {map[string]string{"a.safetensors": good, "b.safetensors": good}, "2 safetensors files"},
		"damaged index":   {map[string]string{index: `{"weight_map":`}, "damaged"},
		"empty index":     {map[string]string{index: `{}`}, "weight_map"},
		"index leads out": {map[string]string{index: `{"weight_map":{"a":"../a.safetensors"}}`}, `"../a.safetensors"`},
		"missing shard":   {map[string]string{index: `{"weight_map":{"a":"a.safetensors"}}`}, "missing"},
		"other shard":     {map[string]string{index: `{"weight_map":{"a":"a.safetensors","b":"a.safetensors"}}`, "a.safetensors": good}, `no tensor "b"`},
		"damaged shard":   {map[string]string{index: `{"weight_map":{"a":"a.safetensors"}}`, "a.safetensors": good[:20]}, "cut"},
		"no such tensor":  {map[string]string{"a.safetensors": file(`{}`)}, `no tensor "a"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range tc.files {
				write(t, filepath.Join(dir, file), content)
			}
			c, err := safetensors.Open(dir)
			for _, name := range []string{"a", "b"} {
				if err == nil {
					_, err = c.Tensor(name)
				}
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.Hint == "" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with a hint and %q", err, tc.want)
			}
		})
	}
}

// Every tensor of a checkpoint comes back, whatever its type and however many files there are.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		var want []testcheckpoint.Tensor
		for i := range rapid.IntRange(1, 6).Draw(rt, "tensors") {
			tensor := testcheckpoint.Tensor{
				Name: fmt.Sprint("t", i), Type: rapid.SampledFrom([]string{"F32", "F16", "BF16"}).Draw(rt, "type"),
				Shape: rapid.SliceOfN(rapid.IntRange(0, 4), 0, 3).Draw(rt, "shape"), Values: []float32{},
			}
			n := 1
			for _, d := range tensor.Shape {
				n *= d
			}
			for range n { // 8 significant bits, which BF16 holds, within the range of F16
				x := math.Ldexp(float64(rapid.IntRange(-255, 255).Draw(rt, "x")), rapid.IntRange(-16, 8).Draw(rt, "e"))
				tensor.Values = append(tensor.Values, float32(x))
			}
			want = append(want, tensor)
		}
		path, err := testcheckpoint.Write(dir, rapid.IntRange(1, 3).Draw(rt, "shards"), nil, want...)
		if err != nil {
			rt.Fatal(err)
		}
		c, err := safetensors.Open(path)
		if err != nil {
			rt.Fatal(err)
		}
		if len(c.Names()) != len(want) {
			rt.Fatalf("got %q, want %d tensors", c.Names(), len(want))
		}
		for _, w := range want {
			tensor, err := c.Tensor(w.Name)
			if err != nil {
				rt.Fatal(err)
			}
			got, err := tensor.Floats()
			if err != nil || !slices.Equal(got, w.Values) || !slices.Equal(tensor.Shape, w.Shape) {
				rt.Fatalf("got %v of %v, want %+v (%v)", got, tensor.Shape, w, err)
			}
		}
	})
}

// What is no number is said: a score of it would be none either.
func TestFloatsRefuses(t *testing.T) {
	for kind, bytes := range map[string]string{"F32": "\x00\x00\x80\x7f", "F16": "\x00\x7c", "BF16": "\xc0\x7f", "I16": "\x00\x00"} {
		header := fmt.Sprintf(`{"a":{"dtype":%q,"shape":[],"data_offsets":[0,%d]}}`, kind, len(bytes))
		c, err := safetensors.Open(write(t, filepath.Join(t.TempDir(), "m.safetensors"), file(header, []byte(bytes)...)))
		if err != nil {
			t.Fatal(err)
		}
		a, err := c.Tensor("a")
		if err != nil {
			t.Fatal(err)
		}
		if x, err := a.Floats(); err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%s: got %v, %v", kind, x, err)
		}
	}
}

// FuzzOpen gives the reader any bytes: no panic, and what it accepts lies within the file.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 0, 0, 128, 63)))
	f.Add([]byte(file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[3,5]}}  `, 1, 2, 3, 4, 5)))
	f.Add([]byte(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,0],"data_offsets":[0,0]}}`)))
	path := filepath.Join(f.TempDir(), "fuzz.safetensors")
	f.Fuzz(func(t *testing.T, data []byte) {
		write(t, path, string(data))
		c, err := safetensors.Open(path)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		for _, name := range c.Names() {
			tensor, err := c.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			x, err := tensor.Floats()
			if err == nil && 2*len(x) > len(data) {
				t.Errorf("%q has %d values in a file of %d bytes", name, len(x), len(data))
			}
		}
	})
}
