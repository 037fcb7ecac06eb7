// Package files works on files below configured roots: it is the service
// gaia.file.v1.FileManager.
//
// A call finds its root and enters the root's tree, which is the directory held
// open (tree.go). Reads go to the jail at once. Changes are prepared beside what
// is there, in the state directory .gaia of the root (state.go), and put in place
// by a rename under locks that are held for that moment only (draft.go).
package files

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/watch"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Manager is the service. It is safe for concurrent use.
type Manager struct {
	filev1.UnimplementedFileManagerServer

	metrics *metrics

	mu         sync.RWMutex
	roots      map[string]*root
	maxContent int64
	closed     bool

	encoders encoders
	chunks   chunks
	watches  *watch.Hub
	searches searchMetrics
}

// New returns a manager without roots. The caller closes it.
func New() *Manager {
	m := &Manager{metrics: newMetrics(), maxContent: defaultMaxContent, watches: watch.New(defaultMaxWatched)}
	m.searches = newSearchMetrics(m.metrics.registry)
	registerWatches(m.metrics.registry, m.watches)
	return m
}

// Configure opens the roots. A root whose directory is not there is no fault: it
// answers Unavailable until it is. With an error, what was in force stays so.
func (m *Manager) Configure(_ context.Context, config *filev1.Config) error {
	all, err := settingsFrom(config)
	if err != nil {
		return err
	}
	roots := make(map[string]*root, len(all))
	for _, s := range all {
		roots[s.name] = &root{settings: s, metrics: m.metrics}
	}
	m.mu.Lock()
	old, closed := m.roots, m.closed
	if !closed {
		m.roots = roots
		m.maxContent = defaultMaxContent
		if n := bound(config.GetMaxContent()); n > 0 {
			m.maxContent = n
		}
	}
	m.mu.Unlock()
	if closed {
		return errClosed()
	}
	m.watches.Limit(cmp.Or(int(config.GetMaxWatched()), defaultMaxWatched))
	m.metrics.use(slices.Collect(maps.Values(roots)))
	faults := make([]error, 0, len(old))
	for _, r := range old {
		faults = append(faults, r.close())
	}
	for _, r := range roots {
		r.warm()
	}
	return errors.Join(faults...)
}

// Shutdown refuses new calls and closes the roots. It does not wait: a tree that a
// call still works on is closed when that ends.
func (m *Manager) Shutdown(context.Context) error {
	m.mu.Lock()
	roots := m.roots
	m.roots, m.closed = nil, true
	m.mu.Unlock()
	faults := []error{m.watches.Close()}
	for _, r := range roots {
		faults = append(faults, r.close())
	}
	return errors.Join(faults...)
}

// Exclusive is true: two instances would each keep half of the account of the
// quota, and of the locks.
func (m *Manager) Exclusive() bool { return true }

// Metrics are the manager's own, listed in the plugin's README.
func (m *Manager) Metrics() prometheus.Gatherer { return m.metrics.registry }

// enter finds a root and counts the call in at its tree, which the caller leaves.
func (m *Manager) enter(ctx context.Context, name string) (*tree, error) {
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	m.mu.RLock()
	r, known := m.roots[name]
	closed := m.closed
	m.mu.RUnlock()
	switch {
	case closed:
		return nil, errClosed()
	case known:
		return r.enter()
	case name == "":
		return nil, status.Errorf(codes.InvalidArgument, "root is not set; the roots are %s", m.names())
	}
	return nil, status.Errorf(codes.NotFound, "there is no root %.100q; the roots are %s", name, m.names())
}

// enterToChange is enter for calls that need a root with mode "rw".
func (m *Manager) enterToChange(ctx context.Context, name string) (*tree, error) {
	t, err := m.enter(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := t.toChange(); err != nil {
		t.leave()
		return nil, err
	}
	return t, nil
}

// names lists the roots, shortened.
func (m *Manager) names() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	names := slices.Sorted(maps.Keys(m.roots))
	if len(names) == 0 {
		return "not configured"
	}
	if len(names) > 20 {
		names = append(names[:20], "…")
	}
	return strings.Join(names, ", ")
}

func (m *Manager) contentLimit() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.maxContent
}

func errClosed() error {
	return status.Error(codes.Unavailable, "the file manager is closed")
}
