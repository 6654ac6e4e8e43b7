//go:build !unix

package signals

func ignore() {}
