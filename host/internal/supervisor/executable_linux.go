package supervisor

import (
	"syscall"
	"time"
)

func identify(s *syscall.Stat_t) fileID {
	return fileID{
		dev: s.Dev, ino: s.Ino, size: s.Size,
		mtime: time.Duration(s.Mtim.Nano()), change: time.Duration(s.Ctim.Nano()),
	}
}
