package files

import (
	"context"
	"errors"
	"math"
	"os"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/keyed"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/quota"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tree is a root's directory, held open.
//
// Who changes something takes, in this order: for an edit, the edits of the path; a
// share of changes, or all of it if a directory is moved or removed with what is in
// it; the path; and, for the moment of a rename, the directory. Reads take nothing.
type tree struct {
	root     *root
	settings *settings
	jail     *jail.Root
	folds    bool // "a" and "A" are the same file
	account  *quota.Account

	changes *semaphore.Weighted
	edits   keyed.Locks // of files that are being edited, which takes a read and a write
	paths   keyed.Locks // of files that are being changed
	dirs    keyed.Locks // of directories in which something is being renamed; see draft.rename

	// Guarded by the root's mu.
	users   int // calls that have entered
	retired bool

	mu    sync.Mutex
	state *state // nil until it could be opened, which is before the first change

	counting  sync.Mutex // one count at a time
	countedAt time.Time
}

// all is all shares of changes.
const all = math.MaxInt32

// openTree opens the directory of a root, and its state directory if the root may
// be changed. Without the latter it can still be read.
func openTree(r *root) (*tree, error) {
	dir, err := jail.Open(r.settings.path)
	if err != nil {
		return nil, err
	}
	t := &tree{
		root:     r,
		settings: &r.settings,
		jail:     dir,
		account:  quota.NewAccount(r.settings.quota),
		changes:  semaphore.NewWeighted(all),
	}
	if r.settings.writable {
		_ = t.toChange() // the first change tries again, and says why not
	}
	t.folds = !t.caseSensitive()
	return t, nil
}

// leave counts a call out.
func (t *tree) leave() {
	t.root.mu.Lock()
	t.users--
	last := t.retired && t.users == 0
	t.root.mu.Unlock()
	if last {
		t.close()
	}
}

// close ends what works on the tree. No call is in it any more.
func (t *tree) close() {
	t.mu.Lock()
	s := t.state
	t.mu.Unlock()
	if s != nil {
		s.close()
	}
	_ = t.jail.Close() // nothing was written to it
}

// isAt reports whether the directory is the one that has this path now.
func (t *tree) isAt(path string) bool {
	mine, err := t.jail.OS().Stat(".")
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

// toChange makes sure that the tree may be changed, and its state is open.
func (t *tree) toChange() error {
	if !t.settings.writable {
		return status.Errorf(codes.PermissionDenied, "root %q is read-only; its mode in the configuration is not \"rw\"", t.settings.name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != nil {
		return nil
	}
	s, err := openState(t)
	if err != nil {
		code, text := reason(err)
		if !t.isAt(t.settings.path) {
			return t.vanished()
		}
		return status.Errorf(code, "root %q cannot be changed: %s", t.settings.name, text)
	}
	t.state = s
	return nil
}

// keepsState reports whether the state directory, once opened, is still where it was:
// whoever clears up a directory may take it for rubbish.
func (t *tree) keepsState() bool {
	t.mu.Lock()
	s := t.state
	t.mu.Unlock()
	if s == nil {
		return true
	}
	return t.leadsTo(stateDir+"/"+tempDir, s.temp) && t.leadsTo(stateDir+"/"+trashDir, s.trash)
}

// leadsTo reports whether a path is the directory that is held, also where it cannot
// be looked at now, as with too many open files.
func (t *tree) leadsTo(path string, held jail.Dir) bool {
	dir, err := t.jail.Dir(path)
	if err != nil {
		return !isGone(err) && !errors.Is(err, jail.ErrMoving)
	}
	defer dir.Close()
	there, err := dir.Info()
	info, heldErr := held.Info()
	return err != nil || heldErr != nil || info.Inode == there.Inode && info.Device == there.Device
}

func (t *tree) hasState() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state != nil
}

// share takes a share of changes: something small is put in place. The caller
// calls release.
func (t *tree) share(ctx context.Context) (release func(), err error) { return t.take(ctx, 1) }

// whole takes all of changes: while it is held, nobody else changes anything.
func (t *tree) whole(ctx context.Context) (release func(), err error) { return t.take(ctx, all) }

func (t *tree) take(ctx context.Context, n int64) (release func(), err error) {
	if err := t.changes.Acquire(ctx, n); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	return func() { t.changes.Release(n) }, nil
}

// OS is the root's directory for packages that walk it. It belongs to the tree.
func (t *tree) OS() *os.Root { return t.jail.OS() }
