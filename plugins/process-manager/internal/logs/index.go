package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sort"
	"time"
)

// An index file lies beside each segment: records of an offset and the time from
// which on the bytes at and behind it were written, ascending in both. There is one
// for the first byte, and for the first byte that comes at least indexGap after the
// last record; so all bytes of a record were written within indexGap after its time.
const (
	recordSize = 16 // offset and Unix nanoseconds, 8 bytes each, big-endian
	indexGap   = 100 * time.Millisecond
)

func indexName(start int64) string { return fmt.Sprintf("%019d.idx", start) }

// index is the index of the segment that is being written.
type index struct {
	file *os.File
	size int64     // bytes of whole records
	last time.Time // of the last record
}

// openIndex opens the index of a segment, or makes it. Records of which a crash of the machine left
// nothing sensible are dropped from the end: torn ones, and those beyond end.
func openIndex(dir string, start, end int64) (*index, error) {
	file, err := openFile(dir, indexName(start), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	x := &index{file: file, size: info.Size() / recordSize * recordSize}
	for x.size > 0 {
		r, err := readRecord(file, x.size/recordSize-1)
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if r.offset <= end && r.at.UnixNano() > 0 {
			x.last = r.at
			break
		}
		x.size -= recordSize
	}
	return x, nil
}

// record says that the byte at offset, and those behind it, were written from at on.
type record struct {
	offset int64
	at     time.Time
}

func readRecord(file *os.File, n int64) (record, error) {
	var b [recordSize]byte
	if _, err := file.ReadAt(b[:], n*recordSize); err != nil {
		return record{}, err
	}
	offset, at := binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])
	return record{offset: int64(offset), at: time.Unix(0, int64(at))}, nil //nolint:gosec // as add wrote them
}

// first is the time of the first record.
func (x *index) first() (time.Time, bool) {
	if x.size == 0 {
		return time.Time{}, false
	}
	r, err := readRecord(x.file, 0)
	return r.at, err == nil
}

// isDue reports whether what is written now needs a record.
func (x *index) isDue(now time.Time) bool {
	return x.size == 0 || now.Sub(x.last) >= indexGap
}

// add writes down that the byte at offset is about to be written. A clock that was
// set back stands still.
func (x *index) add(offset int64, now time.Time) error {
	if now.Before(x.last) {
		now = x.last
	}
	var record [recordSize]byte
	binary.BigEndian.PutUint64(record[:], uint64(offset)) //nolint:gosec // offsets are not negative
	binary.BigEndian.PutUint64(record[8:], uint64(now.UnixNano()))
	if _, err := x.file.WriteAt(record[:], x.size); err != nil {
		return err
	}
	x.size += recordSize
	x.last = now
	return nil
}

func (x *index) close() error { return x.file.Close() }

// lookUp searches the index of the segment that begins at start for the first record
// of which is holds; it holds of all later ones, too. It returns that record and the
// one before, or nil where there is none, as without a readable index.
func lookUp(dir string, start int64, is func(record) bool) (before, found *record) {
	file, err := openFile(dir, indexName(start), os.O_RDONLY)
	if err != nil {
		return nil, nil
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil
	}
	count := int(info.Size() / recordSize)
	get := func(n int) *record {
		r, err := readRecord(file, int64(n))
		if n < 0 || n >= count || err != nil {
			return nil
		}
		return &r
	}
	n := sort.Search(count, func(n int) bool {
		r := get(n)
		return r == nil || is(*r)
	})
	return get(n - 1), get(n)
}

// timeOf returns about when the byte at offset was written.
func timeOf(dir string, start, offset int64) time.Time {
	last, _ := lookUp(dir, start, func(r record) bool { return r.offset > offset })
	if last == nil {
		return time.Time{}
	}
	return last.at
}
