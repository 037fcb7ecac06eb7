package app

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lock is held by the one host that may use the directory of its socket, where
// its token and its plugins' sockets are, too.
type lock struct{ file *os.File }

// acquireLock takes the lock beside the socket, or says who holds it. The
// kernel releases it with the process, however that ends.
func acquireLock(socket string) (*lock, error) {
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(filepath.Dir(socket), "gaia.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(f.Name())
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("a host already runs in %s (pid %s); a second one needs a directory of its own for host.socket",
				filepath.Dir(socket), strings.TrimSpace(string(holder)))
		}
		return nil, fmt.Errorf("lock %s: %w", socket, err)
	}
	l := &lock{file: f}
	if err := l.write(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *lock) write() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(l.file, "%d\n", os.Getpid())
	return err
}

// release lets another host in. The file stays: removing it would let two
// hosts hold two files of one name.
func (l *lock) release() error { return l.file.Close() }

// listenUnix listens on a socket that only its owner can use. The caller holds
// the lock, so that what is there was left by a host that is gone.
func listenUnix(path string) (net.Listener, error) {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != os.ModeSocket:
		return nil, errors.New("there is a file of this name that is no socket; name another host.socket")
	default:
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// The mode must be right from the first moment; nothing else creates files
	// at this point of the start.
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.Listen("unix", path) //nolint:noctx // does not wait for anything
}
