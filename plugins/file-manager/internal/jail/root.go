// Package jail opens what is below a directory, its root, in a way that nothing
// leads out of it, whoever moves directories and links about meanwhile.
//
// A path is opened in one step by the kernel, which refuses links on the way
// (openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS). Where there are links,
// Resolve reads them, part by part, and returns the path without them, which is
// opened in the same way: a link that appears in between ends the call. So every
// path that is used has been judged, and is the only name of what it leads to.
// Changes are made in a Dir, by a single name.
package jail

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Errors of links. Those of the system are syscall.Errno, as they are.
var (
	// ErrEscape is of a link that leads out of the root.
	ErrEscape = errors.New("a symbolic link leads out of the root")
	// ErrDangling is of a link to what does not exist.
	ErrDangling = errors.New("a symbolic link leads to nothing")
	// ErrLoop is of links that lead to each other.
	ErrLoop = errors.New("symbolic links lead in a circle")
	// ErrMoving is of a path on which somebody puts links again and again while
	// it is opened.
	ErrMoving = errors.New("the path kept changing during the call")
)

// Root is a directory that is held open. It is safe for concurrent use.
type Root struct {
	tree *os.Root
	dir  *os.File // the same directory
	fd   int      // of dir
	proc int      // of /proc/self/fd, or -1
	walk bool     // there is no openat2 or no /proc: every part is opened by itself
}

// Open opens a directory by its path on the system. The caller closes it.
func Open(path string) (*Root, error) {
	tree, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	dir, err := tree.Open(".")
	if err != nil {
		return nil, errors.Join(err, tree.Close())
	}
	r := &Root{tree: tree, dir: dir, fd: int(dir.Fd()), proc: openProc()}
	r.walk = r.proc < 0 || !hasBeneath(r.fd)
	return r, nil
}

// Close closes the root. No other call may be under way.
func (r *Root) Close() error {
	if r.proc >= 0 {
		closeFD(r.proc)
	}
	return errors.Join(r.dir.Close(), r.tree.Close())
}

// OS is the same directory for what the standard library does well, such as
// walking. It belongs to the root.
func (r *Root) OS() *os.Root { return r.tree }

// Info is what is at the root itself.
func (r *Root) Info() (Info, error) { return fstat(r.fd) }

// Dir opens a directory in which things are to be changed, or looked at, by
// name. The path is clean, without links: ErrMoving if there is one now. The
// caller closes it.
func (r *Root) Dir(path string) (Dir, error) {
	fd, err := r.openDir(path)
	if errors.Is(err, unix.ELOOP) {
		err = ErrMoving
	}
	return Dir{fd: fd}, err
}

// Lookup finds what is at a clean path and follows links. The caller closes the
// result.
func (r *Root) Lookup(path string) (Found, error) {
	for range 8 {
		found, err := r.find(path)
		if !errors.Is(err, unix.ELOOP) {
			return found, err
		}
		if path, err = r.Resolve(path); err != nil {
			return Found{}, err
		}
	}
	return Found{}, ErrMoving
}

// find finds what is at a path without links: ELOOP if there is one.
func (r *Root) find(path string) (Found, error) {
	if !r.walk {
		return r.findBeneath(path)
	}
	if path == "." {
		return r.findIn(".", ".", ".")
	}
	dir, name := Split(path)
	return r.findIn(dir, name, path)
}

// findIn finds name in dir where a file cannot be held without being opened: it
// holds the directory.
func (r *Root) findIn(dir, name, path string) (Found, error) {
	fd, err := r.openDir(dir)
	if err != nil {
		return Found{}, err
	}
	info, err := fstatat(fd, name)
	if err == nil && info.Type() == unix.S_IFLNK {
		err = unix.ELOOP
	}
	if err != nil {
		closeFD(fd)
		return Found{}, err
	}
	return Found{Path: path, Info: info, fd: fd, name: name}, nil
}

// openDir opens a directory by a path without links: ELOOP if there is one.
func (r *Root) openDir(path string) (int, error) {
	if !r.walk {
		return openBeneath(r.fd, path, dirFlags)
	}
	fd, err := openPart(r.fd, ".")
	for path != "." && err == nil {
		name, rest := cut(path)
		next, openErr := openPart(fd, name)
		closeFD(fd)
		fd, err, path = next, openErr, rest
	}
	return fd, err
}

// openPart opens the directory name in another one: ELOOP if it is a link, which
// Linux calls ENOTDIR.
func openPart(dir int, name string) (int, error) {
	fd, err := retry(func() (int, error) { return unix.Openat(dir, name, dirFlags|unix.O_NOFOLLOW, 0) })
	if errors.Is(err, unix.ENOTDIR) {
		if info, statErr := fstatat(dir, name); statErr == nil && info.Type() == unix.S_IFLNK {
			err = unix.ELOOP
		}
	}
	return fd, err
}
