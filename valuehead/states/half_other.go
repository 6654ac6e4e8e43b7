//go:build !amd64

package states

func splitHalf([]byte, []byte, []float32) int { return 0 }
func joinHalf([]float32, []byte, []byte) int  { return 0 }
