package proxy

import (
	"errors"
	"syscall"
)

// passes reports whether an error of accept is one of the moment: a connection
// that is gone already, or descriptors and memory that are used up.
func passes(err error) bool {
	for _, errno := range []syscall.Errno{
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR, syscall.EPROTO, syscall.EPERM,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
