package wire

import (
	"os/exec"
	"syscall"
)

// executable is the path to execute: this system cannot execute an open file.
func executable(c Command) string { return c.Path }

// processAttributes make a process group. The plugin learns of its host's
// death by the end of its standard input.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// endGroup waits for the leader of a process group and kills whoever it left
// behind.
func endGroup(leader *exec.Cmd) {
	_ = leader.Wait() // an exit code is no error here
	_ = syscall.Kill(-leader.Process.Pid, syscall.SIGKILL)
}
