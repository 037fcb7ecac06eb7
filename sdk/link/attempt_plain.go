//go:build !linux || race

package link

import "syscall"

// The race detector knows of the order that messages between two goroutines of one
// process make only by these.

func tryRead(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

func tryWrite(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }
