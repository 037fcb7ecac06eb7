package confine

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// write sets a control file. It never makes one: a file that is missing is a
// thing that the kernel does not offer.
func write(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0) //nolint:gosec // G304: a path in a cgroup file system
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func readFields(path string) ([]string, error) {
	text, err := os.ReadFile(path) //nolint:gosec // G304: a path in a cgroup file system
	return strings.Fields(string(text)), err
}

// readPIDs reads a list of processes. One of another pid namespace is 0.
func readPIDs(path string) ([]int, error) {
	fields, err := readFields(path)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(fields))
	for _, field := range fields {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// readCount reads the number after name in a file of "name number" lines; 0 if
// there is none.
func readCount(path, name string) (uint64, error) {
	text, err := os.ReadFile(path) //nolint:gosec // G304: a path in a cgroup file system
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), " "); key == name {
			return strconv.ParseUint(value, 10, 64)
		}
	}
	return 0, nil
}
