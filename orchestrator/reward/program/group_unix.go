//go:build unix && !linux

package program

import "syscall"

// attributes put the program first in a process group of its own, which holds what it starts
// and which an interrupt at the terminal does not reach.
var attributes = syscall.SysProcAttr{Setpgid: true}
