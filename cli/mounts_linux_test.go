package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// privateMounts gives the command a view of the file system of its own, in which it may
// mount, and says whether the system allows that.
func privateMounts(cmd *exec.Cmd) bool {
	attr := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	probe := exec.Command("sh", "-c", "mount -t tmpfs none /tmp")
	probe.SysProcAttr, cmd.SysProcAttr = attr, attr
	return probe.Run() == nil
}
