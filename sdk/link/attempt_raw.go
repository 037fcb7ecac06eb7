//go:build linux && !race

package link

import (
	"syscall"
	"unsafe"
)

// tryRead and tryWrite are system calls on a socket that does not block, of
// which the scheduler is not told. It would take a write for one that hangs when
// the kernel runs the process that the write has woken first, as it likes to do
// where there are few cores, and start a thread; and its watchdog, which looks for
// such calls every 20 µs, would not rest. With 64 callers on two cores calls cost a
// sixth more that way.
func tryRead(fd uintptr, b []byte) (int, error) { return try(syscall.SYS_READ, fd, b) }

func tryWrite(fd uintptr, b []byte) (int, error) { return try(syscall.SYS_WRITE, fd, b) }

func try(call, fd uintptr, b []byte) (int, error) {
	start := unsafe.Pointer(unsafe.SliceData(b)) //nolint:gosec // G103: as package syscall does
	n, _, errno := syscall.RawSyscall(call, fd, uintptr(start), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
