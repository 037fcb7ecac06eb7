package download

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
)

const (
	// maxOpen is how many files a session downloads at once.
	maxOpen = 10

	// maxURL is how much of a URL is told, bytes: those of data: are files.
	maxURL = 4 << 10
)

// Folder is what one session downloads. Its methods are safe for concurrent use.
type Folder struct {
	store   *Store
	dir     string // of files that are whole; made with the first
	partial string
	report  func(*browserv1.Download)
	moves   sync.WaitGroup
	moving  sync.Mutex // one after the other, so that two do not take one name

	mu     sync.Mutex
	closed bool
	open   map[string]*browserv1.Download // by the browser's name for it
}

// Folder opens the folder of a session, whose name is a directory's. report is
// told of each file that is whole or was refused; it does not block. A folder of
// a nil store refuses all. The caller closes it.
func (s *Store) Folder(name string, report func(*browserv1.Download)) (*Folder, error) {
	f := &Folder{store: s, report: report, open: make(map[string]*browserv1.Download)}
	if s == nil {
		return f, nil
	}
	f.dir = filepath.Join(s.Dir, clean(name))
	var err error
	if f.partial, err = os.MkdirTemp(s.home.Dir(), ""); err != nil {
		return nil, fmt.Errorf("downloads: %w", err)
	}
	return f, nil
}

// Partial is the directory into which the browser writes, a file under its own
// name for each; "" if nothing is to be written.
func (f *Folder) Partial() string { return f.partial }

// Begin is called when a download begins. It reports whether it may go on.
func (f *Folder) Begin(id, url, suggested string) bool {
	d := &browserv1.Download{Url: strings.ToValidUTF8(url[:min(len(url), maxURL)], ""), Name: clean(suggested)}
	err := f.store.check(d.GetName())
	f.mu.Lock()
	if err == nil && len(f.open) >= maxOpen {
		err = fmt.Errorf("%d downloads at once, limit %d", len(f.open)+1, maxOpen)
	}
	if err == nil && f.closed {
		err = errors.New("the session has ended")
	}
	if err == nil {
		f.open[id] = d
	}
	f.mu.Unlock()
	if err != nil {
		f.refuse(d, err.Error())
	}
	return err == nil
}

// Progress is called when bytes have come; total is 0 while it is not known. It
// reports whether the download may go on.
func (f *Folder) Progress(id string, total, received float64) bool {
	f.mu.Lock()
	d := f.open[id]
	isLarge := d != nil && max(total, received) > float64(f.store.MaxSize)
	if isLarge {
		delete(f.open, id)
	}
	f.mu.Unlock()
	if isLarge {
		f.refuse(d, f.tooLarge(max(total, received)))
	}
	return !isLarge
}

func (f *Folder) tooLarge(size float64) string {
	return fmt.Sprintf("%.0f bytes, limit %d (downloads.max_size)", size, f.store.MaxSize)
}

// Canceled is called when a download has ended without its file.
func (f *Folder) Canceled(id string) {
	if d := f.take(id); d != nil {
		f.refuse(d, "the browser could not get or write all of it")
	}
}

// Completed is called when a file is whole. Moving it takes its time.
func (f *Folder) Completed(id string) {
	d := f.take(id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || f.partial == "" {
		return
	}
	f.moves.Go(func() {
		from := filepath.Join(f.partial, filepath.Base(id))
		if d == nil { // it was refused, too late for the browser
			_ = os.Remove(from)
			return
		}
		if err := f.keep(d, from); err != nil {
			_ = os.Remove(from)
			f.refuse(d, err.Error())
			return
		}
		f.report(d)
	})
}

func (f *Folder) take(id string) *browserv1.Download {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.open[id]
	delete(f.open, id)
	return d
}

// keep moves a file to where it is to be found.
func (f *Folder) keep(d *browserv1.Download, from string) error {
	f.moving.Lock()
	defer f.moving.Unlock()
	info, err := os.Lstat(from)
	if err != nil || !info.Mode().IsRegular() {
		return errors.New("the browser has not written it")
	}
	if size := uint64(info.Size()); size > f.store.MaxSize { //nolint:gosec // G115: no size is negative
		return errors.New(f.tooLarge(float64(size)))
	}
	if err := os.Chmod(from, 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	for n := 0; ; n++ {
		to := filepath.Join(f.dir, numbered(d.GetName(), n))
		if _, err := os.Lstat(to); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
		d.Path, d.Size = to, uint64(info.Size()) //nolint:gosec // G115: no size is negative
		return nil
	}
}

// refuse reports a download of which there is no file.
func (f *Folder) refuse(d *browserv1.Download, why string) {
	d.Error = why
	f.report(d)
}

// Close removes what is partial, once the browser writes no more. Files that are
// whole stay.
func (f *Folder) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.moves.Wait()
	if f.partial == "" {
		return nil
	}
	return os.RemoveAll(f.partial)
}
