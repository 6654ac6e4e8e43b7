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
	"strings"
	"sync"
)

// tiled says whether flash attention on the CPU computes tiles, see parts.go: newer ones do.
const tiled = true

// A llama.cpp that pkg-config finds: the one that make LLAMA= has built, Homebrew's, Debian's or
// one's own with CUDA or Vulkan. A system's may be replaced under the program, so that the
// library's file is part of what Build says.
var build = sync.OnceValue(func() string {
	if name := C.GoString(C.ivo_release()); name != "" { // tag, kind and a sum of all that went into it
		parts := strings.Split(name, ".")
		return fmt.Sprintf("llama.cpp %s, %s build %s", parts[0], strings.Join(parts[1:len(parts)-1], " "), parts[len(parts)-1])
	}
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

// compiler is not known of a library that was there before: Build names that one by its content.
func compiler() string { return "" }
