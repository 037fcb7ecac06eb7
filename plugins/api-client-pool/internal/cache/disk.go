package cache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// disk keeps entries as files of one directory, one each:
//
//	<SHA-256 of the key>-<of the variant, half>   an entry, see encode
//	<random>.tmp                                  one on its way
//
// A file is written under a temporary name and renamed, so that a killed process
// leaves whole entries and temporary files; the next one removes the latter. No
// fsync: after a loss of power, a torn entry is told by its checksum.
//
// Two processes may use the directory at once, as they do while one replaces the
// other. They do not see each other's entries until they scan, and whose file is
// gone has a miss.
type disk struct {
	root  *os.Root
	limit int64 // bytes
	warn  func(text string, fields ...any)

	mu      sync.Mutex
	files   *sieve[string] // their names, by the first part and the second
	written int64          // bytes since the last scan
	warned  bool           // of a disk that takes nothing
}

const (
	temporary = ".tmp"
	keyHex    = 2 * sha256.Size
	nameHex   = keyHex + 1 + sha256.Size
)

// openDisk opens the directory, which belongs to its owner alone.
func openDisk(dir string, limit int64, warn func(string, ...any)) (*disk, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil { //nolint:gosec // G703: the operator says where
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &disk{root: root, limit: limit, warn: warn, files: newSieve[string](limit)}
	if err := d.check(dir); err != nil {
		_ = root.Close()
		return nil, err
	}
	d.sweep()
	d.scan()
	return d, nil
}

// check refuses a directory in which others could read or plant responses.
func (d *disk) check(dir string) error {
	info, err := d.root.Stat(".")
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s is open to others (mode %04o); name a directory of your own, or chmod 700 this one", dir, mode)
	}
	return nil
}

// sweep removes temporary files. One that another process is writing may be
// among them; it then does not keep that response.
func (d *disk) sweep() {
	for _, file := range d.list() {
		if strings.HasSuffix(file.Name(), temporary) {
			_ = d.root.Remove(file.Name())
		}
	}
}

// list returns the files, none if the directory cannot be read.
func (d *disk) list() []fs.DirEntry {
	files, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		d.fail(err)
	}
	return files
}

// scan brings the index up to the directory, oldest files first, so that what
// is over the bound goes by age.
func (d *disk) scan() {
	type file struct {
		name string
		size int64
		when time.Time
	}
	var found []file
	for _, entry := range d.list() {
		if len(entry.Name()) != nameHex || entry.Name()[keyHex] != '-' {
			continue // not ours
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			found = append(found, file{entry.Name(), onDisk(info.Size()), info.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b file) int { return a.when.Compare(b.when) })
	d.mu.Lock()
	d.files = newSieve[string](d.limit)
	d.written = 0
	var gone []string
	for _, f := range found {
		gone = append(gone, d.index(f.name, f.size)...)
	}
	d.mu.Unlock()
	d.delete(gone)
}

// index notes a file and returns the names of those that must go. d.mu is held.
func (d *disk) index(name string, size int64) (gone []string) {
	for _, e := range d.files.put(name[:keyHex], name[keyHex+1:], name, size) {
		gone = append(gone, e.value)
	}
	return gone
}

func (d *disk) delete(names []string) {
	for _, name := range names {
		_ = d.root.Remove(name) // gone is gone, whoever it was
	}
}

// onDisk is the space of a file of size bytes, in blocks of 4 KiB.
func onDisk(size int64) int64 { return (size + 4095) &^ 4095 }

func hexOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func nameOf(key, variant string) string {
	return hexOf(key) + "-" + hexOf(variant)[:sha256.Size]
}

// find returns the newest entry that answers request, or nil.
func (d *disk) find(key string, request *http.Request) *entry {
	var best *entry
	for _, name := range d.names(hexOf(key)) {
		e, err := d.read(name)
		if err != nil || e.Key != key {
			d.drop(name)
			if !errors.Is(err, fs.ErrNotExist) {
				d.delete([]string{name})
			}
			continue
		}
		if e.matches(request) && (best == nil || e.Received.After(best.Received)) {
			best = e
		}
	}
	return best
}

// names returns the files of a key, and notes that they were used.
func (d *disk) names(key string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for _, e := range d.files.keys[key] {
		e.used = true
		names = append(names, e.value)
	}
	return names
}

func (d *disk) read(name string) (*entry, error) {
	data, err := d.root.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return decode(data)
}

func (d *disk) drop(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files.remove(name[:keyHex], name[keyHex+1:])
}

// put writes an entry. A disk that takes nothing is told of once, until it takes
// something again.
func (d *disk) put(e *entry) {
	data, err := encode(e)
	if err != nil {
		d.fail(err)
		return
	}
	name := nameOf(e.Key, e.Variant)
	size := onDisk(int64(len(data)))
	if size > d.limit {
		return
	}
	if err := d.write(name, data); err != nil {
		d.fail(err)
		return
	}
	d.mu.Lock()
	d.warned = false
	gone := d.index(name, size)
	d.written += size
	again := d.written > d.limit/8
	d.mu.Unlock()
	d.delete(gone)
	if again { // what other processes have written counts, too
		d.scan()
	}
}

func (d *disk) write(name string, data []byte) error {
	temp := rand.Text() + temporary
	err := d.root.WriteFile(temp, data, 0o600)
	if err == nil {
		err = d.root.Rename(temp, name)
	}
	if err != nil {
		_ = d.root.Remove(temp)
	}
	return err
}

func (d *disk) fail(err error) {
	d.mu.Lock()
	first := !d.warned
	d.warned = true
	d.mu.Unlock()
	if first {
		d.warn("the cache's directory takes nothing; responses are kept in memory only", "err", err)
	}
}

func (d *disk) remove(key, variant string) {
	name := nameOf(key, variant)
	d.drop(name)
	d.delete([]string{name})
}

// forget removes all variants.
func (d *disk) forget(key string) {
	for _, name := range d.names(hexOf(key)) {
		d.drop(name)
		d.delete([]string{name})
	}
}

func (d *disk) size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files.size
}

func (d *disk) close() error { return d.root.Close() }
