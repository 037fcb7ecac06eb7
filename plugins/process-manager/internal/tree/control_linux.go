package tree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// control is a control file that is open for writing.
type control struct {
	fd   int
	path string
}

// openControl opens a control file. It never makes one: a file that is missing
// is a thing that the kernel does not offer.
func openControl(path string) (control, error) {
	for {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return control{fd, path}, nil
		case !errors.Is(err, unix.EINTR):
			return control{}, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// write writes a value at once. To set a limit can take so long that a signal of
// the runtime interrupts it.
func (c control) write(value string) error {
	for {
		_, err := unix.Pwrite(c.fd, []byte(value), 0)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return &fs.PathError{Op: "write " + value + " to", Path: c.path, Err: err}
		}
	}
}

func (c control) close() { _ = unix.Close(c.fd) } // the kernel has taken what was written

func write(path, value string) error {
	c, err := openControl(path)
	if err != nil {
		return err
	}
	defer c.close()
	return c.write(value)
}

func readText(path string) (string, error) {
	text, err := os.ReadFile(path) //nolint:gosec // G304: a path in a file system of the kernel
	return string(text), err
}

func readNumber(path string) (uint64, error) {
	text, err := readText(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(text), 10, 64)
}

// readCount reads the number after name in a file of "name number" lines; 0 if
// there is none.
func readCount(path, name string) (uint64, error) {
	text, err := readText(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name {
			return strconv.ParseUint(value, 10, 64)
		}
	}
	return 0, nil
}

// pidsBelow lists the processes of the group at path and of those below it, but
// for the plugin: one of its threads is there while it starts a process. A group
// that is gone has none.
func pidsBelow(path string) ([]int, error) {
	text, err := readText(filepath.Join(path, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []int
	for field := range strings.FieldsSeq(text) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 && pid != os.Getpid() {
			all = append(all, pid)
		}
	}
	below, err := groupsBelow(path)
	for _, group := range below {
		pids, e := pidsBelow(group)
		all, err = append(all, pids...), errors.Join(err, e)
	}
	return all, err
}

// groupsBelow are the groups right below the one at path. Few groups have any;
// the number of links tells.
func groupsBelow(path string) ([]string, error) {
	var info unix.Stat_t
	if err := unix.Stat(path, &info); err != nil || info.Nlink == 2 {
		return nil, nil //nolint:nilerr // it is gone, or has none
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var below []string
	for _, entry := range entries {
		if entry.IsDir() {
			below = append(below, filepath.Join(path, entry.Name()))
		}
	}
	return below, err
}

// removeBelow removes a group with those below it. Control files go with their
// directory, and cannot be removed.
func removeBelow(path string) error {
	below, err := groupsBelow(path)
	if err != nil {
		return err
	}
	for _, group := range below {
		if err := removeBelow(group); err != nil {
			return err
		}
	}
	if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "rmdir", Path: path, Err: err}
	}
	return nil
}
