package program

import "syscall"

// attributes put the program first in a process group of its own, which holds what it starts
// and which an interrupt at the terminal does not reach; and end it when ivo is killed. Were
// only the thread that started it to end, it would be started again like any that crashed.
var attributes = syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
