package logs

import (
	"os"

	"golang.org/x/sys/unix"
)

// move moves up to room bytes from a pipe to a place in a file: they are in the one
// or in the other, whenever this process is killed. It does not wait for the pipe.
func move(pipe int, to *os.File, at int64, room int) (int, error) {
	n, err := unix.Splice(pipe, nil, int(to.Fd()), &at, room, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE) //nolint:gosec // a descriptor
	if err != nil {
		return 0, os.NewSyscallError("splice", err)
	}
	return int(n), nil
}
