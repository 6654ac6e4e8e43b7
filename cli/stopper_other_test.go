//go:build !unix

package cli

import "io"

func stopper(stderr io.Writer) io.Writer { return stderr }
