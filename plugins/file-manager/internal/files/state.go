package files

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/lease"
	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/sys/unix"
)

// The state directory of a root, which callers do not see:
//
//	.gaia/lock       flocked by the instance that works on the root
//	.gaia/locks      the leases, JSON
//	.gaia/tmp/*      what is on its way; of a crashed instance, what never arrived
//	.gaia/trash/ID/  what was removed, and where it was (trash.go)
const (
	stateDir   = ".gaia"
	lockFile   = "lock"
	leasesFile = "locks"
	tempDir    = "tmp"
	trashDir   = "trash"
)

// A directory below the root may be another file system, to which nothing can be
// renamed from the state directory. What goes there is prepared beside its place,
// under a name that callers do not see either.
const (
	besidePrefix = ".gaia-"
	besideSuffix = ".tmp"
)

func isBeside(name string) bool {
	return len(name) >= len(besidePrefix)+len(besideSuffix) &&
		strings.EqualFold(name[:len(besidePrefix)], besidePrefix) && strings.EqualFold(name[len(name)-len(besideSuffix):], besideSuffix)
}

// errBusy is of a root on which another instance works.
var errBusy = errors.New("another gaia works on this root")

// state is the open state directory.
type state struct {
	tree   *tree
	dir    jail.Dir
	temp   jail.Dir
	trash  jail.Dir
	lock   *os.File
	leases *lease.Table

	stop context.CancelFunc // of the work behind the calls
	work sync.WaitGroup

	storing sync.Mutex // one writer of leasesFile at a time
}

// openState makes and opens the state directory, and clears away what a crash has
// left.
func openState(t *tree) (*state, error) {
	top, err := t.jail.Dir(".")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	s := &state{tree: t}
	if s.dir, err = ensureDir(top, stateDir); err != nil {
		return nil, err
	}
	directories, err := s.open()
	if err != nil {
		s.closeFiles()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	// The count begins before the first change, and holds up all of them.
	counting := t.settings.quota > 0 && t.changes.TryAcquire(all)
	s.work.Go(func() {
		if counting {
			s.count(ctx)
			t.changes.Release(all)
		}
		s.sweepDirectories(ctx, directories)
		s.expireTrash(ctx)
	})
	return s, nil
}

// open opens what is in the state directory. The result is directories that are to
// be swept.
func (s *state) open() (directories []string, err error) {
	if s.lock, err = s.dir.OpenOrCreate(lockFile, 0o600); err != nil {
		return nil, err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errBusy
		}
		return nil, err
	}
	if s.temp, err = ensureDir(s.dir, tempDir); err != nil {
		return nil, err
	}
	if s.trash, err = ensureDir(s.dir, trashDir); err != nil {
		return nil, err
	}
	if s.leases, err = s.loadLeases(); err != nil {
		return nil, err
	}
	return s.sweep(), nil
}

// ensureDir opens a directory of ours, and makes it if it is not there. It is
// nobody else's to look into.
func ensureDir(in jail.Dir, name string) (jail.Dir, error) {
	if err := in.Mkdir(name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return jail.Dir{}, err
	}
	return in.Dir(name)
}

// close ends the work behind the calls and lets others have the root.
func (s *state) close() {
	s.stop()
	s.work.Wait()
	s.closeFiles()
}

func (s *state) closeFiles() {
	for _, d := range []jail.Dir{s.trash, s.temp, s.dir} {
		if d != (jail.Dir{}) {
			d.Close()
		}
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// loadLeases reads the leases; what is not readable counts as none.
func (s *state) loadLeases() (*lease.Table, error) {
	f, err := s.dir.Open(leasesFile)
	if errors.Is(err, unix.ENOENT) {
		return lease.NewTable(lease.State{}), nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var stored lease.State
	if err := json.NewDecoder(io.LimitReader(f, 64<<20)).Decode(&stored); err != nil {
		sdk.Logger().Warn("locks are lost", "root", s.tree.settings.name, "err", err)
		return lease.NewTable(lease.State{}), nil
	}
	return lease.NewTable(stored), nil
}

// storeLeases writes the leases down, so that they outlive this instance. They
// are not brought to the disk: who loses power loses them.
func (s *state) storeLeases() error {
	s.storing.Lock()
	defer s.storing.Unlock()
	text, err := json.Marshal(s.leases.State(time.Now()))
	if err != nil {
		return err
	}
	f, name, err := s.tempFile()
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = s.temp.Rename(name, s.dir, leasesFile)
	}
	if err != nil {
		return errors.Join(err, s.temp.Remove(name))
	}
	return nil
}

// tempFile makes a file in the temporary directory. The caller closes it, and
// renames or removes it.
func (s *state) tempFile() (*os.File, string, error) {
	name := rand.Text()
	f, err := s.temp.Create(name, 0o600)
	return f, name, err
}

// sweep removes what an instance that crashed had on its way, and takes back half
// of an append. Directories, which may be large, are returned: they are removed
// behind the calls.
func (s *state) sweep() (later []string) {
	names, err := s.temp.Names()
	if err != nil {
		sdk.Logger().Warn("temporary files stay", "root", s.tree.settings.name, "err", err)
		return nil
	}
	for _, name := range names {
		if info, err := s.temp.Stat(name); err == nil && info.IsDir() {
			later = append(later, name)
			continue
		}
		err := s.undo(name)
		if err == nil {
			err = s.temp.Remove(name)
		}
		s.swept(name, err)
	}
	s.sweepTrash()
	return later
}

func (s *state) swept(name string, err error) {
	if err != nil {
		sdk.Logger().Warn("a temporary file stays", "root", s.tree.settings.name, "name", name, "err", err)
		return
	}
	s.tree.root.metrics.swept.Inc()
}

// sweepDirectories removes directories that sweep has left.
func (s *state) sweepDirectories(ctx context.Context, names []string) {
	for _, name := range names {
		if _, err := removeAll(ctx, s.temp, name); ctx.Err() == nil {
			s.swept(name, err)
		}
	}
}
