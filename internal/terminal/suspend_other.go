//go:build !unix

package terminal

func suspend() {}
