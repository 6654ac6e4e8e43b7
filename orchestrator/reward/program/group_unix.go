//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

// apart makes the program the first of a process group of its own, which holds what it
// starts, and which an interrupt at the terminal does not reach.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends the program and all it started. It has to be called before the program is
// waited for: until then nobody else can have its number.
func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
