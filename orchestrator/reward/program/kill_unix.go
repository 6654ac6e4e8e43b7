//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

func apart(cmd *exec.Cmd) {
	own := attributes
	cmd.SysProcAttr = &own
}

// killGroup ends the program and all it started. It has to be called before the program is
// waited for: until then nobody else can have its number.
func killGroup(cmd *exec.Cmd) { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
