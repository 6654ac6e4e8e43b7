//go:build !unix

package loop

func lock(string) (unlock func(), err error) { return func() {}, nil }
