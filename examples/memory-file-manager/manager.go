package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	defaultMaxContent = 8 << 20   // bytes, as gaia.file.v1.Config promises
	defaultQuota      = 256 << 20 // bytes: memory is not a disk
	// maxNodes bounds the files and directories of a root, and maxTrash those that were
	// removed one by one: also an empty one takes some 300 bytes.
	maxNodes = 1 << 20
	maxTrash = 1 << 16
)

// manager serves gaia.file.v1.FileManager.
type manager struct {
	filev1.UnimplementedFileManagerServer

	roots      map[string]*root // set by Configure, which comes before any call
	maxContent int64
}

// root is a tree of files under a name.
type root struct {
	name     string
	writable bool
	quota    int64
	maxFile  int64 // 0 for no bound but the quota
	trashFor time.Duration
	deny     []*regexp.Regexp

	tree atomic.Pointer[node] // as it is now; who reads needs no lock

	mu       sync.Mutex // held by who changes what follows, or tree
	changed  chan struct{}
	trash    []trashed // the earliest first
	leases   map[string]lease
	fence    uint64
	reserved int64 // bytes of streams that are being received
}

// Configure reads the roots into memory.
func (m *manager) Configure(ctx context.Context, c *filev1.Config) error {
	m.maxContent = cmp.Or(int64(c.GetMaxContent()), defaultMaxContent) //nolint:gosec // G115: at most 32 MiB
	m.roots = make(map[string]*root)
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(c.GetRoot())) {
		r, err := openRoot(ctx, name, c.GetRoot()[name])
		m.roots[name] = r
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

func openRoot(ctx context.Context, name string, c *filev1.Root) (*root, error) {
	field := fmt.Sprintf("root[%q].", name)
	r := &root{
		name:     name,
		writable: c.GetMode() == filev1.Mode_RW,
		quota:    int64(min(cmp.Or(c.GetQuota(), defaultQuota), 1<<60)),
		maxFile:  int64(min(c.GetMaxFileSize(), 1<<60)),
		trashFor: c.GetTrash().AsDuration(),
		changed:  make(chan struct{}),
		leases:   make(map[string]lease),
		fence:    uint64(time.Now().UnixNano()), // above all of an earlier process
	}
	var faults []error
	for i, text := range c.GetDeny() {
		pattern, err := compileGlob(text)
		if err != nil {
			faults = append(faults, sdk.Invalid(fmt.Sprintf("%sdeny[%d]", field, i), "%v", err))
			continue
		}
		r.deny = append(r.deny, pattern)
	}
	tree, err := load(ctx, c.GetPath(), r.quota)
	if err != nil {
		faults = append(faults, sdk.Invalid(field+"path", "%v", err))
	}
	r.tree.Store(tree)
	return r, errors.Join(faults...)
}

// Roots lists the roots with what they hold.
func (m *manager) Roots(context.Context, *filev1.RootsRequest) (*filev1.RootsResponse, error) {
	response := &filev1.RootsResponse{}
	for _, name := range slices.Sorted(maps.Keys(m.roots)) {
		r := m.roots[name]
		r.mu.Lock()
		used, tree := r.used(), r.tree.Load()
		r.mu.Unlock()
		response.Roots = append(response.Roots, &filev1.RootStatus{
			Name: name, Writable: r.writable, CaseSensitive: true,
			Used: uint64(used), Files: uint64(tree.files), Quota: uint64(r.quota), DiskFree: uint64(max(0, r.quota-used)), //nolint:gosec // G115: not negative
		})
	}
	return response, nil
}

// place is a path that was asked for.
type place struct {
	*root

	path string // clean
}

// find returns the place that a request means.
func (m *manager) find(name, path string) (place, error) {
	r := m.roots[name]
	if r == nil {
		return place{}, status.Errorf(codes.NotFound, "no root %.100q; there are %q", name, slices.Sorted(maps.Keys(m.roots)))
	}
	path, err := clean(path)
	if err == nil && r.denies(path) {
		err = status.Errorf(codes.NotFound, "%s: %.100q does not exist", name, path)
	}
	return place{r, path}, err
}

// denies reports whether a path, or a directory above it, is hidden from callers.
func (r *root) denies(path string) bool {
	for i := 0; i <= len(path) && len(r.deny) > 0; i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if slices.ContainsFunc(r.deny, func(p *regexp.Regexp) bool { return p.MatchString(path[:i]) }) {
			return true
		}
	}
	return false
}

// fail is an error about the place.
func (p place) fail(code codes.Code, format string, args ...any) error {
	return status.Errorf(code, "%s: %.100q: %s", p.name, p.path, fmt.Sprintf(format, args...))
}

// look returns what is at the place.
func (p place) look() (*node, error) {
	if n := p.tree.Load().at(p.path); n != nil {
		return n, nil
	}
	return nil, p.fail(codes.NotFound, "does not exist")
}

// file returns the file that is at the place.
func (p place) file() (*node, error) {
	n, err := p.look()
	if err == nil && n.dir != nil {
		err = p.fail(codes.FailedPrecondition, "is a directory, want a file")
	}
	return n, err
}

// directory returns the directory that is at the place.
func (p place) directory() (*node, error) {
	n, err := p.look()
	if err == nil && n.dir == nil {
		err = p.fail(codes.FailedPrecondition, "is a file, want a directory")
	}
	return n, err
}

// change changes the root at a place, or does nothing and says why: it checks mode
// and lock, and then lets act make another tree of the present one.
func (p place) change(lock string, act func(tree *node) (*node, error)) error {
	if !p.writable {
		return p.fail(codes.PermissionDenied, "the root is read-only; its mode is \"ro\" in the config")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkLock(lock); err != nil {
		return err
	}
	tree, err := act(p.tree.Load())
	if err != nil {
		return err
	}
	if err := p.countable(tree); err != nil {
		return err
	}
	p.publish(tree)
	return nil
}

// countable is the error if another tree has more in it than a root may have.
func (p place) countable(tree *node) error {
	if tree.nodes > maxNodes && tree.nodes > p.tree.Load().nodes {
		return p.fail(codes.ResourceExhausted, "the root has %d files and directories, limit %d", p.tree.Load().nodes, maxNodes)
	}
	return nil
}

// publish makes a tree the present one. The caller holds mu.
func (r *root) publish(tree *node) {
	r.tree.Store(tree)
	close(r.changed)
	r.changed = make(chan struct{})
}

// used is the size of all files. The caller holds mu.
func (r *root) used() int64 {
	r.expireTrash(time.Now())
	used := r.tree.Load().size + r.reserved
	for _, t := range r.trash {
		used += t.node.size
	}
	return used
}

// room is the error if a file of a size, by which the root grows by some bytes, does
// not fit. The caller holds mu.
func (p place) room(size, more int64) error {
	switch used := p.used(); {
	case p.maxFile > 0 && size > p.maxFile:
		return p.fail(codes.ResourceExhausted, "%d bytes, max_file_size is %d", size, p.maxFile)
	case more > 0 && used+more > p.quota:
		return p.fail(codes.ResourceExhausted, "%d bytes more do not fit: %d of %d are used (quota)", more, used, p.quota)
	}
	return nil
}
