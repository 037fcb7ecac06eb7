package search

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxEntries bounds the memory of a listing, about 100 bytes an entry.
const maxEntries = 1_000_000

// directory is open for as long as somebody holds it. What is in it is opened by
// its name alone and without following links, so that nothing leads out of it.
type directory struct {
	path string // seen from the root: "" or with a slash at its end
	file *os.File
	held atomic.Int32
}

// openStart opens the directory that a search begins with.
func openStart(root *os.Root, path string) (*directory, error) {
	file, err := root.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if path += "/"; path == "./" {
		path = ""
	}
	d := &directory{path: path, file: file}
	d.held.Store(1)
	return d, nil
}

// openDirectory opens a directory in d. The caller releases it.
func (d *directory) openDirectory(name string) (*directory, error) {
	fd, err := d.openat(name, unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	sub := &directory{path: d.path + name + "/", file: os.NewFile(uintptr(fd), name)}
	sub.held.Store(1)
	return sub, nil
}

// errNotRegular is met when a file has become something else since it was listed.
var errNotRegular = errors.New("not a regular file")

// openFile opens a regular file and returns its size. It does not wait for a
// writer of a FIFO, and os.File with its poller is avoided: that costs as much as
// to open and to read the file.
func (d *directory) openFile(name string) (fd int, size int64, err error) {
	if fd, err = d.openat(name, unix.O_NOCTTY); err != nil {
		return -1, 0, err
	}
	var stat unix.Stat_t
	if err = unix.Fstat(fd, &stat); err == nil && stat.Mode&unix.S_IFMT != unix.S_IFREG {
		err = errNotRegular
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("%s: %w", name, err)
	}
	return fd, stat.Size, nil
}

func (d *directory) openat(name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(int(d.file.Fd()), name, flags|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if !errors.Is(err, syscall.EINTR) {
			return fd, err
		}
	}
}

// hold keeps the directory open until one more release.
func (d *directory) hold() { d.held.Add(1) }

func (d *directory) release() {
	if d.held.Add(-1) == 0 {
		_ = d.file.Close() // it was only read
	}
}

// entry is a name in a directory.
type entry struct {
	name string
	kind fs.FileMode // type bits
}

// list returns what is in the directory, sorted by name.
func (d *directory) list() ([]entry, error) {
	var entries []entry
	for {
		some, err := d.file.ReadDir(1024)
		for _, e := range some {
			entries = append(entries, entry{e.Name(), e.Type()})
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(entries) > maxEntries {
			return nil, fmt.Errorf("directory %q has more than %d entries", d.path, maxEntries)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return entries, nil
}

// content reads a descriptor of a regular file.
type content struct {
	fd   int
	left int64 // bytes up to the size that the file had; at 0 it is not asked for more
}

// Read saves the second call that would only say that the file has ended.
func (c *content) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, p)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return 0, errors.Join(err, io.EOF)
		}
		if c.left -= int64(n); c.left == 0 {
			return n, io.EOF
		}
		return n, nil
	}
}
