package main

import (
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// node is a file, or a directory with all that is in it. Nobody writes to one: a
// change makes new ones from the changed place up to the root, and shares all
// others. So who reads has a tree that stands still, and needs no lock.
type node struct {
	dir      map[string]*node // nil for a file
	content  []byte
	mode     uint32
	modified time.Time
	etag     string
	size     int64 // of all files in it
	files    int
	nodes    int // it and all that is in it
}

func newFile(content []byte, mode uint32, modified time.Time) *node {
	return &node{content: content, mode: mode, modified: modified, etag: rand.Text(), size: int64(len(content)), files: 1, nodes: 1}
}

func newDir(mode uint32, modified time.Time) *node {
	return &node{dir: map[string]*node{}, mode: mode, modified: modified, nodes: 1}
}

// at returns what is at a clean path, or nil.
func (n *node) at(path string) *node {
	if path == "." {
		return n
	}
	for part := range strings.SplitSeq(path, "/") {
		if n = n.dir[part]; n == nil {
			return nil
		}
	}
	return n
}

// with returns a tree that has child at a path, whose directory is there; nil
// removes what is there.
func (n *node) with(path string, child *node) *node {
	if path == "." {
		return child
	}
	name, rest, deeper := strings.Cut(path, "/")
	if deeper {
		child = n.dir[name].with(rest, child)
	}
	c := *n
	c.dir = maps.Clone(n.dir)
	if old := n.dir[name]; old != nil {
		c.size, c.files, c.nodes = c.size-old.size, c.files-old.files, c.nodes-old.nodes
		delete(c.dir, name)
	}
	if child != nil {
		c.size, c.files, c.nodes = c.size+child.size, c.files+child.files, c.nodes+child.nodes
		c.dir[name] = child
	}
	if (child == nil) != (n.dir[name] == nil) {
		c.modified = time.Now()
	}
	return &c
}

// walk calls visit for all that is below a directory, in the order of paths: part
// by part, a directory before what is in it. It does not go into a directory for
// which visit returns false.
func (n *node) walk(path string, visit func(path string, n *node) (enter bool)) {
	for _, name := range slices.Sorted(maps.Keys(n.dir)) {
		child := n.dir[name]
		at := join(path, name)
		if visit(at, child) {
			child.walk(at, visit)
		}
	}
}

// entry is what callers see.
func (n *node) entry(path string) *filev1.Entry {
	e := &filev1.Entry{Path: path, Type: filev1.Type_DIRECTORY, Mode: n.mode, Modified: timestamppb.New(n.modified)}
	if n.dir == nil {
		e.Type, e.Size, e.Etag = filev1.Type_FILE, uint64(n.size), n.etag //nolint:gosec // G115: not negative
	}
	return e
}
