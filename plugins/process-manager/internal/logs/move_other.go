//go:build !linux

package logs

import (
	"os"

	"golang.org/x/sys/unix"
)

// move moves up to room bytes from a pipe to a place in a file. A kill between the
// two calls loses what was read: only Linux can do better.
func move(pipe int, to *os.File, at int64, room int) (int, error) {
	buffer := make([]byte, min(room, 64<<10))
	n, err := unix.Read(pipe, buffer)
	if err != nil || n <= 0 {
		return 0, os.NewSyscallError("read", err)
	}
	return to.WriteAt(buffer[:n], at)
}
