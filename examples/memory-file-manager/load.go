package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
	"unicode/utf8"
)

// load reads a directory into memory. Symbolic links and devices are left out. A
// directory that is not there is empty.
func load(ctx context.Context, dir string, quota int64) (*node, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return newDir(0o755, time.Now()), nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%q is not a directory", dir)
	}
	files, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer files.Close() //nolint:errcheck // it was only read
	return loader{files.FS(), quota}.directory(ctx, ".", info)
}

type loader struct {
	files fs.FS
	quota int64 // bytes
}

func (l loader) directory(ctx context.Context, at string, info fs.FileInfo) (*node, error) {
	n := newDir(uint32(info.Mode().Perm()), info.ModTime())
	entries, err := fs.ReadDir(l.files, at)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		// What the shipped manager keeps, and what no message can carry.
		if at == "." && e.Name() == ".gaia" || !utf8.ValidString(e.Name()) {
			continue
		}
		child, err := l.entry(ctx, path.Join(at, e.Name()), e)
		if err != nil {
			return nil, err
		}
		if child == nil {
			continue
		}
		n.dir[e.Name()] = child
		n.size, n.files, n.nodes = n.size+child.size, n.files+child.files, n.nodes+child.nodes
		if n.nodes > maxNodes {
			return nil, fmt.Errorf("%s holds more than %d files and directories", at, maxNodes)
		}
		if n.size > l.quota {
			return nil, fmt.Errorf("%s holds more than %d bytes, which are all that may be in memory; raise quota", at, l.quota)
		}
	}
	return n, ctx.Err()
}

func (l loader) entry(ctx context.Context, at string, e fs.DirEntry) (*node, error) {
	info, err := e.Info()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // it has just gone
	case err != nil:
		return nil, err
	case e.IsDir():
		return l.directory(ctx, at, info)
	case !e.Type().IsRegular():
		return nil, nil
	}
	f, err := l.files.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()                                          //nolint:errcheck // it was only read
	content, err := io.ReadAll(io.LimitReader(f, l.quota+1)) // the directory counts it
	return newFile(content, uint32(info.Mode().Perm()), info.ModTime()), err
}
