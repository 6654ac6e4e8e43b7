//go:build !unix

package program

import "os/exec"

// Elsewhere a program is ended alone, without what it started.
func apart(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { cmd.Process.Kill() }
