//go:build !amd64

package inspect

import (
	"runtime"

	"golang.org/x/sys/cpu"
)

// machineFeatures are those that ggml has code for on ARM, by its names, as far as the
// system tells of them.
func machineFeatures() []cpuFeature {
	if runtime.GOARCH != "arm64" || runtime.GOOS == "darwin" {
		return nil
	}
	a := &cpu.ARM64
	return []cpuFeature{
		{"NEON", a.HasASIMD}, {"FP16_VA", a.HasASIMDHP}, {"DOTPROD", a.HasASIMDDP}, {"MATMUL_INT8", a.HasI8MM}, {"SVE", a.HasSVE},
	}
}
