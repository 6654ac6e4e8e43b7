package llama

import (
	"strings"
	"testing"
)

// What computes a model is told apart wherever its numbers may be others: by the devices, the number of layers and their spread.
func TestOffload(t *testing.T) {
	cpu := Device{Name: "CPU", Description: "a CPU"}
	gpu := Device{Name: "CUDA0", Description: "a GPU", Type: DeviceGPU}
	far := Device{Name: "RPC0", Description: "10.0.0.5:50052", Type: DeviceGPU}
	blas := Device{Name: "BLAS", Description: "Accelerate", Type: DeviceAccelerator}
	seen := map[string]bool{}
	for _, tc := range []struct {
		p       ModelParams
		devices []Device
		want    string
	}{
		{ModelParams{GPULayers: -1}, []Device{cpu}, ""},
		{ModelParams{GPULayers: -1}, []Device{blas, cpu}, "with Accelerate (BLAS)"},
		{ModelParams{GPULayers: -1}, []Device{gpu, cpu}, "all layers on a GPU (CUDA0)"},
		{ModelParams{}, []Device{gpu, cpu}, "0 layers on a GPU (CUDA0)"},
		{ModelParams{GPULayers: -1, Devices: []string{}}, []Device{gpu, cpu}, "without a GPU (CUDA0)"},
		{ModelParams{GPULayers: -1}, []Device{gpu, far, cpu}, "all layers on a GPU (CUDA0), 10.0.0.5:50052 (RPC0)"},
		{ModelParams{GPULayers: 3, Split: SplitRow, TensorSplit: []float32{3, 1}}, []Device{gpu, far, cpu}, "3 layers on a GPU (CUDA0), 10.0.0.5:50052 (RPC0), by rows, in shares of [3 1]"},
		{ModelParams{GPULayers: 3, Split: SplitNone, MainGPU: 1}, []Device{gpu, far, cpu}, "3 layers on a GPU (CUDA0), 10.0.0.5:50052 (RPC0), on number 1 alone"},
		{ModelParams{GPULayers: -1, Devices: []string{"RPC0"}}, []Device{gpu, far, cpu}, "all layers on 10.0.0.5:50052 (RPC0); without a GPU (CUDA0)"},
	} {
		got := tc.p.offload(tc.devices)
		if got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
		if seen[got] {
			t.Errorf("%q is told of two", got)
		}
		seen[got] = true
	}
}

// A portable build, a native one and one without flags are told apart, by what they were compiled for.
func TestCompiled(t *testing.T) {
	for want, features := range map[string]map[string]string{
		" any CPU":               {"AVX2": "0"},
		" AVX2 FMA":              {"FMA": "1", "AVX2": "1", "AVX512": "0"},
		" AVX2 AVX512 SVE_CNT=4": {"SVE_CNT": "4", "AVX2": "1", "AVX512": "1"},
	} {
		if got := used(features); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if text := Compiled(); !strings.HasPrefix(text, Build()) || !strings.HasSuffix(text, ", for"+used(CPUFeatures())) {
		t.Error(text)
	}
}
