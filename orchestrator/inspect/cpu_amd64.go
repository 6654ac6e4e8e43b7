package inspect

import "golang.org/x/sys/cpu"

// machineFeatures are those that ggml has code for on x86-64, by its names. F16C is
// left out: CPUs with AVX2 have it.
func machineFeatures() []cpuFeature {
	x := &cpu.X86
	return []cpuFeature{
		{"SSE3", x.HasSSE3}, {"SSSE3", x.HasSSSE3}, {"AVX", x.HasAVX}, {"AVX2", x.HasAVX2}, {"FMA", x.HasFMA}, {"BMI2", x.HasBMI2},
		{"AVX_VNNI", x.HasAVXVNNI}, {"AVX512", x.HasAVX512F && x.HasAVX512CD && x.HasAVX512VL && x.HasAVX512DQ && x.HasAVX512BW},
		{"AVX512_VBMI", x.HasAVX512VBMI}, {"AVX512_VNNI", x.HasAVX512VNNI}, {"AVX512_BF16", x.HasAVX512BF16}, {"AMX_INT8", x.HasAMXInt8},
	}
}
