//go:build !linux

package engine

import "syscall"

// attributes put a browser into a process group of its own. It ends with this
// process by the end of its pipe.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func lockThread() (unlock func()) { return func() {} }

// awaitExit returns when the browser's pipe has ended: there is no way to see an
// exit here without reaping.
func awaitExit(b *Browser) { <-b.Ended() }

// runsWith cannot tell here, and so says no.
func runsWith(int, string) bool { return false }
