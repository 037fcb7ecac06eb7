package search

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"golang.org/x/sys/unix"
)

// maxEntries bounds the memory of a listing, about 100 bytes an entry.
const maxEntries = 1_000_000

// directory is open for as long as somebody holds it. What is in it is opened by
// its name alone and without following links, so that nothing leads out of it.
type directory struct {
	path string // seen from the root: "" or with a slash at its end
	dir  jail.Dir
	held atomic.Int32
}

func newDirectory(dir jail.Dir, path string) *directory {
	d := &directory{path: path, dir: dir}
	d.held.Store(1)
	return d
}

// openStart opens a directory by its clean path without links.
func openStart(root *jail.Root, path string) (*directory, error) {
	dir, err := root.Dir(path)
	if err != nil {
		return nil, err
	}
	if path += "/"; path == "./" {
		path = ""
	}
	return newDirectory(dir, path), nil
}

// openDirectory opens a directory in d. The caller releases it.
func (d *directory) openDirectory(name string) (*directory, error) {
	dir, err := d.dir.Dir(name)
	if err != nil {
		return nil, err
	}
	return newDirectory(dir, d.path+name+"/"), nil
}

// errNotRegular is met when a file has become something else since it was listed.
var errNotRegular = errors.New("not a regular file")

// openFile opens a regular file. It does not wait for the writer of a FIFO, and
// does without os.File, whose visit to the poller costs as much as a small read.
func (d *directory) openFile(name string) (*content, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Openat(d.dir.Descriptor(), name, flags, 0)
	for errors.Is(err, unix.EINTR) {
		fd, err = unix.Openat(d.dir.Descriptor(), name, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	info, err := jail.Fstat(fd)
	if err == nil && !info.IsFile() {
		err = errNotRegular
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was written
		return nil, err
	}
	return &content{fd: fd, info: info, left: info.Size}, nil
}

// hold keeps the directory open until one more release.
func (d *directory) hold() { d.held.Add(1) }

func (d *directory) release() {
	if d.held.Add(-1) == 0 {
		d.dir.Close()
	}
}

// entry is a name in a directory.
type entry struct {
	name string
	kind fs.FileMode // type bits
}

// list returns what is in the directory, sorted by name.
func (d *directory) list() ([]entry, error) {
	file, err := d.dir.File()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var entries []entry
	for {
		some, err := file.ReadDir(1024)
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

// content is an open file.
type content struct {
	fd   int
	info jail.Info
	left int64 // bytes up to the size that the file had; at 0 it is not asked for more
}

func (c *content) close() { _ = unix.Close(c.fd) } // nothing was written

// Read saves the second call that would only say that the file has ended.
func (c *content) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, p)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		}
		if c.left -= int64(n); c.left == 0 {
			return n, io.EOF
		}
		return n, nil
	}
}
