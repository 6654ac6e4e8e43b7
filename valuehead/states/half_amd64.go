package states

import "golang.org/x/sys/cpu"

// Sixteen numbers at once, by the processor's own conversions (F16C), where it and the system have them.

//go:noescape
func splitHalf16(lo, hi *byte, src *float32, blocks int)

//go:noescape
func joinHalf16(dst *float32, lo, hi *byte, blocks int)

func features() (ecx uint32)

var hasHalf = cpu.X86.HasAVX && features()>>29&1 == 1

// splitHalf and joinHalf convert what they can of the numbers, and return how many.
func splitHalf(lo, hi []byte, src []float32) int {
	n := len(src) / 16
	if n == 0 || !hasHalf {
		return 0
	}
	splitHalf16(&lo[0], &hi[0], &src[0], n)
	return 16 * n
}

func joinHalf(dst []float32, lo, hi []byte) int {
	n := len(dst) / 16
	if n == 0 || !hasHalf {
		return 0
	}
	joinHalf16(&dst[0], &lo[0], &hi[0], n)
	return 16 * n
}
