package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const segmentSuffix = ".log"

// segmentName is the name of the file that begins at an offset. Its digits let names
// sort as offsets do.
func segmentName(start int64) string { return fmt.Sprintf("%019d%s", start, segmentSuffix) }

// listSegments returns the offsets at which the files in dir begin, ascending.
func listSegments(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var starts []int64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if start, err := strconv.ParseInt(digits, 10, 64); ok && err == nil && start >= 0 {
			starts = append(starts, start)
		}
	}
	slices.Sort(starts)
	return starts, nil
}

// openFile opens a file of a log.
func openFile(dir, name string, flags int) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name), flags, 0o600) //nolint:gosec // names are made here, dir by Store.path
}

// isGone reports whether there is no such file, or no such directory.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// segment is the file that is being written.
type segment struct {
	file  *os.File
	index *index
	start int64
	size  int64
	born  time.Time
}

// openSegment opens the file that begins at start, or makes it. It is not opened for
// appending, which splice refuses.
func openSegment(dir string, start int64) (*segment, error) {
	file, err := openFile(dir, segmentName(start), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	s := &segment{file: file, start: start, size: info.Size(), born: time.Now()}
	if s.index, err = openIndex(dir, start, start+s.size); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if first, ok := s.index.first(); ok {
		s.born = first
	}
	return s, nil
}

// sizeOf returns the size of the file that begins at start; 0 if there is none yet.
func sizeOf(dir string, start int64) (int64, error) {
	info, err := os.Stat(filepath.Join(dir, segmentName(start)))
	if isGone(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// isLinked reports whether the file still has a name: one that has not is lost when
// it is closed.
func (s *segment) isLinked() bool {
	var stat unix.Stat_t
	return unix.Fstat(int(s.file.Fd()), &stat) == nil && stat.Nlink > 0
}

func (s *segment) close() error { return errors.Join(s.index.close(), s.file.Close()) }

// removeSegment deletes the file that begins at start; it may be gone. The index goes
// first: without a segment nobody would find it again.
func removeSegment(dir string, start int64) error {
	for _, name := range []string{indexName(start), segmentName(start)} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}
