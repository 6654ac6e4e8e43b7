//go:build llama_system

package llama

/*
#cgo pkg-config: llama
#cgo CPPFLAGS: -DIVO_SYSTEM
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// The system's llama.cpp, found by pkg-config: Homebrew's, Debian's or one's own with
// CUDA or Vulkan. It may be replaced under the program, so that the library's file is
// part of what Build says.
var build = sync.OnceValue(func() string {
	path := C.GoString(C.ivo_library())
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	id := ""
	if st, err := os.Stat(path); err == nil {
		id = fmt.Sprintf(", %d bytes of %s", st.Size(), st.ModTime().UTC().Format("2006-01-02 15:04:05"))
	}
	return fmt.Sprintf("system llama.cpp %s%s", path, id)
})
