package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// lockName is a file in each Home that is locked while its owner lives.
const lockName = "owner.lock"

// Home is the directory of one plugin process in which its browsers have their
// profiles. What earlier processes left beside it, dead ones, is removed when it
// is opened, browsers included.
type Home struct {
	dir  string
	lock *os.File
}

// OpenHome makes a home below parent, which is made too, closed to others. With
// parent "" it is a directory of this user's in the system's directory for
// temporary files. The caller closes it.
func OpenHome(parent string) (*Home, error) {
	if parent == "" {
		parent = filepath.Join(os.TempDir(), "gaia-browser-"+strconv.Itoa(os.Getuid()))
	}
	if err := private(parent); err != nil {
		return nil, err
	}
	door, err := enter(parent)
	if err != nil {
		return nil, fmt.Errorf("browser profiles: %w", err)
	}
	defer door.Close()
	if err := sweep(parent); err != nil {
		return nil, err
	}
	return claim(parent)
}

// claim makes a directory in parent and locks it.
func claim(parent string) (*Home, error) {
	dir, err := os.MkdirTemp(parent, "")
	if err != nil {
		return nil, fmt.Errorf("browser profiles: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: our own directory
	if err != nil {
		return nil, errors.Join(fmt.Errorf("browser profiles: lock: %w", err), os.RemoveAll(dir))
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("browser profiles: lock: %w", err), lock.Close(), os.RemoveAll(dir))
	}
	return &Home{dir: dir, lock: lock}, nil
}

// private makes a directory that only this user can enter. One in a place that
// is open to all may be there already, and somebody else's.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("browser profiles: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("browser profiles: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("browser profiles: %s is not a directory of this user's alone (0700); remove it, or set TMPDIR to another place", dir)
	}
	return nil
}

// enter waits until nobody else makes a home in parent, or sweeps it, until the
// directory that is returned is closed: a home that is not locked yet looks like one
// of a dead owner.
func enter(parent string) (*os.File, error) {
	door, err := os.Open(parent) //nolint:gosec // G304: our own directory
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(door.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, door.Close())
	}
	return door, nil
}

// sweep removes the homes in parent whose owners are dead.
func sweep(parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("browser profiles: %w", err)
	}
	for _, entry := range entries {
		dir := filepath.Join(parent, entry.Name())
		lock, err := os.Open(filepath.Join(dir, lockName)) //nolint:gosec // G304: our own directory
		if errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(dir) // its owner was killed before it could lock it, or it goes by itself
			continue
		}
		if err != nil {
			continue // not ours
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			remove(dir)
		}
		_ = lock.Close()
	}
	return nil
}

// remove ends the browsers that a dead owner left and removes its home.
func remove(dir string) {
	profiles, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, profile := range profiles {
		path := filepath.Join(dir, profile.Name())
		text, err := os.ReadFile(filepath.Join(path, groupName)) //nolint:gosec // G304: our own directory
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil && pid > 1 && runsWith(pid, path) {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // ESRCH: it ended meanwhile
		}
	}
	_ = removeAll(dir) // the next start tries again
}

// Dir is the directory.
func (h *Home) Dir() string { return h.dir }

// profile makes the directory of one browser.
func (h *Home) profile() (string, error) {
	dir, err := os.MkdirTemp(h.dir, "")
	if err != nil {
		return "", fmt.Errorf("browser profile: %w", err)
	}
	return dir, nil
}

// Close removes the home. All browsers in it have ended before.
func (h *Home) Close() error {
	err := removeAll(h.dir)
	_ = h.lock.Close() // last: until then it is nobody's to sweep
	return err
}

// removeAll is os.RemoveAll for a directory in which a killed process may write
// until it is gone: it tries again when something new has come.
func removeAll(dir string) error {
	var err error
	for range 10 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
	}
	return err
}

// output keeps the last lines that a browser wrote, for the error that says why
// it has ended.
type output struct {
	mu   sync.Mutex
	tail []byte
}

// maxOutput is how much of a browser's output is kept.
const maxOutput = 4 << 10

// Write keeps the end of what is written. It never fails.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tail = append(o.tail, p[max(0, len(p)-maxOutput):]...)
	o.tail = o.tail[max(0, len(o.tail)-maxOutput):]
	return len(p), nil
}

// last is the last line, at most 300 bytes.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(o.tail)), "\n")
	line := lines[len(lines)-1]
	return line[max(0, len(line)-300):]
}
