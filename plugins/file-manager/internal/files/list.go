package files

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/glob"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Bounds of a list.
const (
	maxDepth        = 64
	defaultPageSize = 1000
	maxPageSize     = 10_000
)

// List lists a directory, or a tree, in the order of paths, a page at a time. A
// page token is the last path of the page before: what is made or removed between
// two pages is seen or not, and nothing else is left out or comes twice.
func (m *Manager) List(ctx context.Context, request *filev1.ListRequest) (*filev1.ListResponse, error) {
	t, err := m.enter(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	l, err := newListing(t, request)
	if err != nil {
		return nil, err
	}
	found, err := t.find(request.GetPath())
	if err != nil {
		return nil, err
	}
	found.Close()
	if !found.Info.IsDir() {
		return nil, t.failf(codes.FailedPrecondition, request.GetPath(), "is not a directory; use Stat")
	}
	dir, err := t.jail.Dir(found.Path)
	if err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	defer dir.Close()
	l.base = found.Path
	if err := l.list(ctx, dir, ".", l.depth); err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	return l.page(), nil
}

// listing is one page in the making. Paths in it are seen from the directory that
// is listed.
type listing struct {
	tree  *tree
	base  string // path of the directory, without links
	after string // path that the page comes after; "" for the first page
	depth int
	size  int
	glob  *glob.Pattern // nil for all

	entries []*filev1.Entry // at most one more than size
	last    string          // path of the last entry of the page
}

func newListing(t *tree, request *filev1.ListRequest) (*listing, error) {
	l := &listing{tree: t, depth: int(request.GetDepth()), size: int(request.GetPageSize())}
	if l.depth > maxDepth || l.size > maxPageSize {
		return nil, status.Errorf(codes.InvalidArgument, "depth is %d and page_size %d; they are at most %d and %d", l.depth, l.size, maxDepth, maxPageSize)
	}
	l.depth = max(l.depth, 1)
	l.size = cmp.Or(l.size, defaultPageSize)
	after, err := base64.RawURLEncoding.DecodeString(request.GetPageToken())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "page_token %.100q is not one that List has returned", request.GetPageToken())
	}
	l.after = string(after)
	if request.GetGlob() != "" {
		pattern, err := glob.Compile(request.GetGlob())
		if err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		l.glob = &pattern
	}
	return l, nil
}

// list adds what is in a directory, down to a depth, until the page is full.
func (l *listing) list(ctx context.Context, dir jail.Dir, path string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := dir.Names()
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return l.isPassed(jail.Join(path, name)) })
	slices.Sort(names)
	for _, name := range names {
		child := jail.Join(path, name)
		if l.tree.Hidden(jail.Join(l.base, child)) {
			continue
		}
		isDir := l.add(dir, name, child)
		if isDir && depth > 1 && len(l.entries) <= l.size {
			if err := l.descend(ctx, dir, name, child, depth-1); err != nil {
				return err
			}
		}
		if len(l.entries) > l.size {
			return nil
		}
	}
	return nil
}

// descend lists a directory in the one that is being listed. What vanishes, or may
// not be read, has nothing in it.
func (l *listing) descend(ctx context.Context, in jail.Dir, name, path string, depth int) error {
	dir, err := in.Dir(name)
	if err == nil {
		err = l.list(ctx, dir, path, depth)
		dir.Close()
	}
	if isGone(err) {
		return nil
	}
	return err
}

// add adds an entry unless it was on a page before, and reports whether it is a
// directory.
func (l *listing) add(dir jail.Dir, name, path string) (isDir bool) {
	entry, err := entryIn(dir, name, jail.Join(l.base, path))
	if err != nil {
		return false // it has vanished
	}
	isDir = entry.GetType() == filev1.Type_DIRECTORY
	if l.after != "" && comparePaths(path, l.after) <= 0 {
		return isDir // it is the last one of the page before, or above it
	}
	if l.glob != nil && !l.glob.Match(path) {
		return isDir
	}
	l.entries = append(l.entries, entry)
	if len(l.entries) <= l.size {
		l.last = path
	}
	return isDir
}

// isPassed reports whether a path, and all below it, was on a page before.
func (l *listing) isPassed(path string) bool {
	return l.after != "" && comparePaths(path, l.after) < 0 && !strings.HasPrefix(l.after, path+"/")
}

func (l *listing) page() *filev1.ListResponse {
	if len(l.entries) <= l.size {
		return &filev1.ListResponse{Entries: l.entries}
	}
	return &filev1.ListResponse{
		Entries:       l.entries[:l.size],
		NextPageToken: base64.RawURLEncoding.EncodeToString([]byte(l.last)),
	}
}

// comparePaths orders paths part by part, so that a directory is followed by what
// is in it.
func comparePaths(a, b string) int {
	for {
		partA, restA, moreA := strings.Cut(a, "/")
		partB, restB, moreB := strings.Cut(b, "/")
		if c := strings.Compare(partA, partB); c != 0 {
			return c
		}
		if !moreA || !moreB {
			return cmp.Compare(len(restA), len(restB))
		}
		a, b = restA, restB
	}
}
