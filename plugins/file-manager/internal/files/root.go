package files

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// checkEvery is how old may be what is known of a root's directory. A look at it
// costs a microsecond, which a small read would notice.
const checkEvery = time.Second

// root is a configured directory. While it is there, a tree holds it open; if it
// vanishes, or another one takes its place, the tree is retired and the next call
// opens what is there now.
type root struct {
	settings settings
	metrics  *metrics

	mu      sync.Mutex // held while the directory is opened, which nobody can do without
	tree    *tree      // nil while there is none
	problem error      // why there is none
	checked time.Time
	opened  bool // it was there once
	closed  bool
}

// enter counts a call in at the tree, which its leave ends.
func (r *root) enter() (*tree, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); r.tree == nil || now.Sub(r.checked) > checkEvery {
		r.check(now)
	}
	if r.tree == nil {
		return nil, status.Errorf(codes.Unavailable, "root %q cannot be used: %v", r.settings.name, r.problem)
	}
	r.tree.users++
	return r.tree, nil
}

// warm opens the directory before a call needs it.
func (r *root) warm() {
	if t, err := r.enter(); err == nil {
		t.leave()
	}
}

// recheck lets the next call look at the directory: this one has seen something
// that a vanished directory would explain.
func (r *root) recheck() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checked = time.Time{}
}

// check makes tree that of the directory which is there now, or nil.
func (r *root) check(now time.Time) {
	r.checked = now
	if r.closed {
		r.problem = errors.New("the file manager is closed")
		return
	}
	if r.tree != nil && r.tree.isAt(r.settings.path) {
		if r.tree.keepsState() {
			return
		}
		sdk.Logger().Warn("somebody has removed the state directory: locks and trash are lost", "root", r.settings.name)
	}
	r.retire()
	// One that was there and has vanished is perhaps a disk that is not mounted: what
	// is written to a new directory would be hidden when it is back.
	if r.settings.create && !r.opened {
		if err := os.MkdirAll(r.settings.path, 0o755); err != nil { //nolint:gosec // the operator's directory, as mkdir makes it
			r.problem = withoutPath(err)
			return
		}
	}
	t, err := openTree(r)
	if err != nil {
		r.problem = withoutPath(err)
		return
	}
	r.tree, r.problem, r.opened = t, nil, true
}

// retire lets the tree be closed when its last call has left.
func (r *root) retire() {
	if t := r.tree; t != nil {
		r.tree = nil
		t.retired = true
		if t.users == 0 {
			t.close()
		}
	}
}

func (r *root) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.retire()
	return nil
}

// withoutPath is the cause of an error without the path of this machine, which is
// the operator's business.
func withoutPath(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("its directory is not there")
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return fmt.Errorf("its directory: %w", errno)
	}
	return errors.New("its directory cannot be opened")
}
