package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrUnusable is matched by errors about a plugin that no further try will
// start: its file is not executable or not the one that was pinned, or it
// refuses its config.
var ErrUnusable = errors.New("plugin unusable")

// unusableError matches ErrUnusable without saying so.
type unusableError struct{ error }

// Is reports whether target is ErrUnusable.
func (unusableError) Is(target error) bool { return target == ErrUnusable }

// Unwrap returns what it is about.
func (e unusableError) Unwrap() error { return e.error }

func unusable(format string, args ...any) error { return unusableError{fmt.Errorf(format, args...)} }

// Executable is an opened plugin executable whose content is known.
type Executable struct {
	Path   string
	SHA256 string // of the content, hexadecimal
	Size   int64
	Script bool // starts with "#!"
	File   *os.File
}

// Close closes the file. A process started from it keeps running.
func (e *Executable) Close() error {
	if e.File == nil { // of an attached process
		return nil
	}
	return e.File.Close()
}

// Executables opens executables and remembers their checksums: hashing one
// takes longer than starting it. Safe for concurrent use.
type Executables struct {
	trusted atomic.Pointer[Trust]

	mu     sync.Mutex
	hashes map[fileID]string
}

// Trust is the error if a file must not be executed. f is the opened file at path, and
// sha256 the checksum of its content.
type Trust func(f *os.File, path, sha256 string) error

// Trust makes Open ask about each file from now on, and returns whom it asked before;
// nil for nobody.
func (x *Executables) Trust(t Trust) (before Trust) {
	if old := x.trusted.Swap(&t); old != nil {
		return *old
	}
	return nil
}

// NewExecutables returns an empty memory.
func NewExecutables() *Executables { return &Executables{hashes: make(map[fileID]string)} }

// fileID changes whenever the content of a file may have changed: nobody can
// set a file's change time.
type fileID struct {
	dev, ino      uint64
	size          int64
	mtime, change time.Duration
}

// Open opens the executable at path. If sha256 is not empty, its content must
// have that checksum, and it must be trusted. Errors match ErrUnusable where another try is of no use.
func (x *Executables) Open(path, sha256 string) (*Executable, error) {
	// Without O_NONBLOCK the opening of a FIFO would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // G304: the operator's plugin_dir and plugin
	if err != nil {
		return nil, notOpened(path, err)
	}
	e, err := x.check(f, path, sha256)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return e, nil
}

func notOpened(path string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s does not exist", path) // an upgrade may be under way
	case errors.Is(err, os.ErrPermission):
		return unusable("%s may not be read", path)
	default:
		return err
	}
}

func (x *Executables) check(f *os.File, path, want string) (*Executable, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, unusable("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o111 == 0 {
		return nil, unusable("%s is not executable; try chmod +x", path)
	}
	got, err := x.hash(f, info)
	if err != nil {
		return nil, fmt.Errorf("hash %s: %w", path, err)
	}
	if want != "" && got != want {
		return nil, unusable("%s has sha256 %s, the config wants %s", path, got, want)
	}
	if t := x.trusted.Load(); t != nil && *t != nil {
		if err := (*t)(f, path, got); err != nil {
			return nil, unusableError{err}
		}
	}
	var magic [2]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return &Executable{
		Path:   path,
		SHA256: got,
		Size:   info.Size(),
		Script: n == 2 && magic == [2]byte{'#', '!'},
		File:   f,
	}, nil
}

func (x *Executables) hash(f *os.File, info os.FileInfo) (string, error) {
	stat, known := info.Sys().(*syscall.Stat_t)
	var id fileID
	if known {
		id = identify(stat)
		x.mu.Lock()
		sum, ok := x.hashes[id]
		x.mu.Unlock()
		if ok {
			return sum, nil
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if known {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.hashes[id] = sum
	}
	return sum, nil
}
