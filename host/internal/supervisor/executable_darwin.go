package supervisor

import (
	"syscall"
	"time"
)

func identify(s *syscall.Stat_t) fileID {
	return fileID{
		dev: uint64(s.Dev), ino: s.Ino, size: s.Size, //nolint:gosec // G115: a device number is a bit pattern
		mtime: time.Duration(s.Mtimespec.Nano()), change: time.Duration(s.Ctimespec.Nano()),
	}
}
