package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"

	"github.com/cespare/xxhash/v2"
)

// Checksum is an XXH64 over metadata and tensors, by their order: what a file of ours is held
// against when it is read, for GGUF has no sum of its own. The value under the key except, where
// files keep it, is left out.
func Checksum(kvs []KV, tensors []Tensor, except string) uint64 {
	sum := xxhash.New()
	for _, kv := range kvs {
		if kv.Key == except {
			continue
		}
		v := reflect.ValueOf(kv.Value)
		if v.Kind() == reflect.Slice && v.Len() == 0 {
			v = reflect.Zero(v.Type()) // as it is read: a file does not tell it from nil
		}
		fmt.Fprintf(sum, "%q=%#v\n", kv.Key, v) // with types, and texts in quotes
	}
	var b [4]byte
	for _, t := range tensors {
		fmt.Fprintf(sum, "%q%v\n", t.Name, t.Shape)
		for _, x := range t.Data {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
			sum.Write(b[:])
		}
	}
	return sum.Sum64()
}
