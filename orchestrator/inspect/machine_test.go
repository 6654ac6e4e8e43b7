package inspect

import (
	"io"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

func TestMachine(t *testing.T) {
	cpu := []llama.Device{{Name: "CPU", Total: 8 << 30, Free: 8 << 30}}
	avx2 := []cpuFeature{{"AVX2", true}, {"AVX512", false}}
	for name, tc := range map[string]struct {
		found  Machine
		advice []string // what each piece of advice contains
		broken string
	}{
		"fits": {found: Machine{compiled: map[string]string{"AVX2": "1"}, machine: avx2, devices: cpu, cpus: 2, limit: 2, available: 4 << 30}},
		"slow": {
			found:  Machine{machine: avx2, devices: cpu, cpus: 2, limit: 2},
			advice: []string{"with make, not"},
		},
		"portable on a newer CPU": {
			found:  Machine{compiled: map[string]string{"AVX2": "1"}, machine: []cpuFeature{{"AVX2", true}, {"AVX512", true}}, devices: cpu, cpus: 2, limit: 2},
			advice: []string{"AVX512, which the build does not use. For speed here with quantized models, build with make ARCH=native"},
		},
		"with the embedded copy": {
			found:  Machine{compiled: map[string]string{"AVX2": "1"}, machine: avx2, devices: cpu, cpus: 2, limit: 2, embedded: true},
			advice: []string{"make LLAMA="},
		},
		"in a container": {
			found:  Machine{compiled: map[string]string{"AVX2": "1"}, machine: avx2, devices: cpu, cpus: 8, limit: 2, available: 100 << 20},
			advice: []string{"the number of threads to 2", "100.0 MiB"},
		},
		"of another machine": {
			found:  Machine{compiled: map[string]string{"AVX2": "1", "AVX512": "1"}, machine: avx2, devices: cpu, cpus: 2, limit: 2},
			broken: "AVX512",
		},
		"without devices": {found: Machine{cpus: 2, limit: 2}, broken: "no device"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.found.advice()
			if len(got) != len(tc.advice) {
				t.Fatalf("advice %q", got)
			}
			for i, want := range tc.advice {
				if !strings.Contains(got[i], want) {
					t.Errorf("advice %q, want %q in it", got[i], want)
				}
			}
			err := tc.found.Broken()
			if (err == nil) != (tc.broken == "") || (err != nil && !strings.Contains(err.Error(), tc.broken)) {
				t.Errorf("broken: %v, want %q in it", err, tc.broken)
			}
			if err := tc.found.Write(io.Discard); err != nil {
				t.Error(err)
			}
		})
	}
}
