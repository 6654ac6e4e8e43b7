//go:build !unix

package cli

func faulty() (ended func()) { return func() {} }
