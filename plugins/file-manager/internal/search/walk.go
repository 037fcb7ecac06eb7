package search

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"golang.org/x/sys/unix"
)

const (
	maxDepth     = 256     // directories below each other, as each is held open
	maxGitignore = 1 << 20 // bytes
)

// walk goes through a tree in the order of paths, part by part.
type walk struct {
	query *Query
	base  int // length of the path of the directory searched
	// visit is called for all that is looked for. It may hold the directory.
	visit   func(d *directory, e entry) error
	skipped uint64
}

// start opens the directory searched and walks through it.
func (w *walk) start(ctx context.Context, root *jail.Root) error {
	d, err := openStart(root, w.query.Dir)
	if err != nil {
		return err
	}
	defer d.release()
	w.base = len(d.path)
	var ignore *rules
	if w.query.gitignore {
		ignore = rulesAbove(root, d.path)
	}
	return w.directory(ctx, d, ignore, 1)
}

// directory walks through what is in d, which it does not release.
func (w *walk) directory(ctx context.Context, d *directory, ignore *rules, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := d.list()
	if isFatal(err) {
		return err
	}
	if err != nil {
		w.skipped++
		return nil //nolint:nilerr // it is counted, and the search goes on without it
	}
	if w.query.gitignore {
		ignore = w.rules(d, entries, ignore)
	}
	for _, e := range entries {
		full := d.path + e.name
		if w.leftOut(full, e, ignore) {
			continue
		}
		if !utf8.ValidString(e.name) {
			w.skipped++ // no message can carry it
			continue
		}
		if w.query.wants(full[w.base:]) {
			if err := w.visit(d, e); err != nil {
				return err
			}
		}
		if e.kind.IsDir() && w.query.wantsBelow(full[w.base:]) {
			if err := w.below(ctx, d, e.name, ignore, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// below walks through a directory in d.
func (w *walk) below(ctx context.Context, d *directory, name string, ignore *rules, depth int) error {
	if depth == maxDepth {
		w.skipped++
		return nil
	}
	sub, err := d.openDirectory(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case isFatal(err):
		return err
	case err != nil:
		w.skipped++
		return nil
	}
	defer sub.release()
	return w.directory(ctx, sub, ignore, depth+1)
}

// isFatal reports whether an error says nothing of the file that it was met with.
func isFatal(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

func (w *walk) leftOut(full string, e entry, ignore *rules) bool {
	return w.query.Hidden != nil && w.query.Hidden(full) ||
		matchAny(w.query.excludes, full[w.base:]) ||
		w.query.gitignore && (e.name == ".git" || ignore.ignored(full, e.kind.IsDir()))
}

// rules adds what the .gitignore of a directory says. Where a repository begins,
// what is above it does not count.
func (w *walk) rules(d *directory, entries []entry, above *rules) *rules {
	if hasName(entries, ".git") {
		above = nil
	}
	if hasName(entries, ".gitignore") {
		return readRules(d, above)
	}
	return above
}

func hasName(entries []entry, name string) bool {
	_, ok := slices.BinarySearchFunc(entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
	return ok
}

// rulesAbove reads the .gitignore files of the directories that a path, seen from
// the root, is in.
func rulesAbove(root *jail.Root, dir string) *rules {
	var above *rules
	for i := range len(dir) {
		if i > 0 && dir[i] != '/' {
			continue
		}
		if i == len(dir)-1 {
			break // the walk reads that of the directory itself
		}
		d, err := openStart(root, cmp.Or(dir[:i], "."))
		if err != nil {
			return above
		}
		if _, err := d.dir.Stat(".git"); err == nil {
			above = nil
		}
		above = readRules(d, above)
		d.release()
	}
	return above
}

// readRules reads a .gitignore file. Where that fails it is as if it were not
// there, as for git.
func readRules(d *directory, above *rules) *rules {
	file, err := d.openFile(".gitignore")
	if err != nil {
		return above
	}
	defer file.close()
	text, err := io.ReadAll(io.LimitReader(file, maxGitignore))
	if err != nil {
		return above
	}
	return parseRules(text, d.path, above)
}
