//go:build !unix

package program

import "os/exec"

func apart(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }
