//go:build !unix

package states

import "os"

func lockFile(*os.File) error { return nil }
