package registry

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

const (
	// cacheHeader starts each entry; a change of format changes it, and old
	// entries are then dropped like corrupt ones.
	cacheHeader = "gaia description 1\n"
	cacheSuffix = ".description"
	// maxCacheEntries is far more than one host has plugins: each rebuild of a
	// plugin under development leaves an entry of some 10 KiB behind.
	maxCacheEntries = 256
)

// Cache keeps descriptions on disk by the SHA-256 of the plugin's executable,
// so that validating a config or showing a plugin starts no process. Safe for
// concurrent use, also by several processes.
type Cache struct {
	dir string
}

// OpenCache opens a cache in dir, which is created when it is missing, for the
// owner only.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("description cache: %w", err)
	}
	return &Cache{dir: dir}, nil
}

// Load returns the description of the executable with that SHA-256, in lower
// case hexadecimal, if there is one. An entry that cannot be read or does not
// check out is removed: the price is one start of the plugin.
func (c *Cache) Load(sum string) (*Description, bool) {
	if c == nil {
		return nil, false
	}
	if !isSHA256(sum) {
		return nil, false
	}
	d, err := c.read(c.path(sum))
	switch {
	case err == nil:
		return d, true
	case !errors.Is(err, fs.ErrNotExist):
		_ = os.Remove(c.path(sum)) // best effort: a Store replaces it anyway
	}
	return nil, false
}

func (c *Cache) read(path string) (*Description, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxDescribeBytes {
		return nil, fmt.Errorf("entry of %d bytes, limit %d", info.Size(), maxDescribeBytes)
	}
	entry, err := os.ReadFile(path) //nolint:gosec // path is made of the cache's directory and a checked sum
	if err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(entry, []byte(cacheHeader))
	if !ok || len(rest) < sha256.Size {
		return nil, errors.New("not an entry of this format")
	}
	body := rest[sha256.Size:]
	if sha256.Sum256(body) != [sha256.Size]byte(rest) {
		return nil, errors.New("checksum differs")
	}
	response := new(pluginv1.DescribeResponse)
	if err := proto.Unmarshal(body, response); err != nil {
		return nil, err
	}
	return NewDescription(response)
}

// Store keeps a description for the executable with that SHA-256. A reader
// sees the old entry or the new one, never a part of it. When there are too
// many entries, the ones written first are removed.
func (c *Cache) Store(sum string, d *Description) error {
	if c == nil {
		return nil
	}
	if !isSHA256(sum) {
		return fmt.Errorf("description cache: %q is not a SHA-256 in lower case hexadecimal", sum)
	}
	body, err := proto.Marshal(d.response())
	if err != nil {
		return fmt.Errorf("description cache: %w", err)
	}
	check := sha256.Sum256(body)
	entry := slices.Concat([]byte(cacheHeader), check[:], body)
	if err := writeFile(c.path(sum), entry); err != nil {
		return fmt.Errorf("description cache: %w", err)
	}
	return c.evict()
}

func (c *Cache) path(sum string) string { return filepath.Join(c.dir, sum+cacheSuffix) }

// writeFile writes a file under another name and renames it. It does not
// sync: an entry that a power cut tore fails its checksum.
func writeFile(path string, content []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name()) // the error that matters is err
		}
	}()
	_, err = temp.Write(content)
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// evict removes the oldest entries beyond the limit, and with them what
// interrupted writers left behind.
func (c *Cache) evict() error {
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("description cache: %w", err)
	}
	if len(files) <= maxCacheEntries {
		return nil
	}
	type entry struct {
		name    string
		written time.Time
	}
	var entries []entry
	for _, f := range files {
		info, err := f.Info()
		if err != nil { // removed meanwhile
			continue
		}
		if strings.HasSuffix(f.Name(), cacheSuffix) || strings.HasPrefix(f.Name(), ".new-") {
			entries = append(entries, entry{name: f.Name(), written: info.ModTime()})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(a.written.Compare(b.written), strings.Compare(a.name, b.name)) })
	for len(entries) > maxCacheEntries {
		if err := os.Remove(filepath.Join(c.dir, entries[0].name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("description cache: %w", err)
		}
		entries = entries[1:]
	}
	return nil
}

// isSHA256 keeps anything else out of file names.
func isSHA256(sum string) bool {
	decoded, err := hex.DecodeString(sum)
	return err == nil && len(decoded) == sha256.Size && strings.ToLower(sum) == sum
}
