package files

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// Remove removes a file, an empty directory, or with recursive a directory with
// what is in it. It is gone at once, whatever its size.
func (m *Manager) Remove(ctx context.Context, request *filev1.RemoveRequest) (*filev1.RemoveResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	target, err := t.target(request.GetPath(), false)
	if err != nil {
		return nil, err
	}
	r := &removal{
		tree: t, asked: request.GetPath(), target: target,
		ifMatch: request.GetIfMatch(), lock: request.GetLock(), recursive: request.GetRecursive(),
		trash: t.settings.trash > 0 && !request.GetPermanent(), sync: t.sync(request.GetDurability()),
	}
	id, err := r.run(ctx)
	if err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	return &filev1.RemoveResponse{TrashId: id}, nil
}

// removal is one thing that is to be removed.
type removal struct {
	tree          *tree
	asked, target string
	ifMatch, lock string
	recursive     bool
	trash, sync   bool
	unchanged     func(dir jail.Dir, name string) error // nil, or a last look at what is going to be removed
}

// run removes it, and says under which id it is in the trash, if it is.
func (r *removal) run(ctx context.Context) (id string, err error) {
	t := r.tree
	parent, name := jail.Split(r.target)
	dir, info, release, err := t.hold(ctx, r.target)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	id, left, err := r.takeAway(ctx, dir, parent, name, info)
	release()
	if err != nil {
		return "", err
	}
	if r.sync {
		err = t.root.metrics.timeSync(dir.Sync)
	}
	if left != "" { // whoever leaves now has it removed all the same
		_, leftErr := t.state.finishRemoval(context.WithoutCancel(ctx), left, "")
		if err == nil {
			err = leftErr
		}
	}
	return id, err
}

// hold opens the directory that a path is in, with nobody else of us changing
// what is there until release. The directory is the caller's to close.
func (t *tree) hold(ctx context.Context, target string) (dir jail.Dir, info jail.Info, release func(), err error) {
	parent, name := jail.Split(target)
	for range 10 {
		dir, err = t.jail.Dir(parent)
		if err != nil {
			return dir, info, nil, err
		}
		if info, err = dir.Stat(name); err != nil {
			dir.Close()
			return dir, info, nil, err
		}
		release, err := t.holdOne(ctx, target, info.IsDir())
		if err != nil {
			dir.Close()
			return dir, info, nil, err
		}
		// While we waited it may have become something else, or gone elsewhere.
		fresh, err := t.jail.Dir(parent)
		if err == nil {
			dir.Close()
			dir = fresh
			wasDir := info.IsDir()
			if info, err = dir.Stat(name); err == nil && info.IsDir() == wasDir {
				return dir, info, release, nil
			}
		}
		release()
		dir.Close()
		if err != nil {
			return dir, info, nil, err
		}
	}
	return dir, info, nil, jail.ErrMoving
}

// holdOne takes all of changes for a directory, else a share and the path.
func (t *tree) holdOne(ctx context.Context, target string, isDir bool) (release func(), err error) {
	if isDir {
		return t.whole(ctx)
	}
	releaseShare, err := t.share(ctx)
	if err != nil {
		return nil, err
	}
	unlock, err := t.paths.Lock(ctx, target)
	if err != nil {
		releaseShare()
		return nil, err
	}
	return func() {
		unlock()
		releaseShare()
	}, nil
}

// takeAway makes the name vanish. What it stood for is then in the trash, under a
// name left in the temporary directory, or gone.
func (r *removal) takeAway(ctx context.Context, dir jail.Dir, parent, name string, info jail.Info) (id, left string, err error) {
	t := r.tree
	if err := r.judge(ctx, dir, name, info); err != nil {
		return "", "", err
	}
	unlock, err := t.dirs.Lock(ctx, parent)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	takeBack := func(in jail.Dir, now string) error {
		if r.ifMatch == "" && r.unchanged == nil {
			return nil
		}
		return t.takeBack(r.asked, r.ifMatch, info, in, now, dir, name)
	}
	if r.trash {
		id, err = t.state.toTrash(ctx, dir, name, r.target, r.sync, takeBack)
		return id, "", err
	}
	if info.IsDir() && !r.recursive {
		return "", "", dir.RemoveDir(name)
	}
	if !info.IsDir() && r.ifMatch == "" && r.unchanged == nil {
		if err := dir.Remove(name); err != nil {
			return "", "", err
		}
		u := usageOf(info)
		t.account.Add(-u.bytes, -u.files)
		return "", "", nil
	}
	left = rand.Text()
	err = dir.Rename(name, t.state.temp, left)
	if errors.Is(err, unix.EXDEV) {
		return "", "", t.state.removeHere(ctx, dir, name)
	}
	if err != nil {
		return "", "", err
	}
	if err := takeBack(t.state.temp, left); err != nil {
		return "", "", err
	}
	return "", left, nil
}

// takeBack is the error if what was renamed from name in dir, to now in another
// directory, is not the file that was looked at: another program may have put
// something else there in between. That goes back, unless there is something yet
// newer in its place.
func (t *tree) takeBack(asked, ifMatch string, looked jail.Info, in jail.Dir, now string, dir jail.Dir, name string) error {
	out, err := in.Stat(now)
	if err != nil || looked.IsDir() || out.SameContent(looked) {
		return err
	}
	if err = in.RenameNew(now, dir, name); errors.Is(err, unix.EEXIST) {
		err = in.Remove(now)
	}
	if err != nil {
		return err
	}
	if err := t.matches(asked, ifMatch, out); err != nil {
		return err
	}
	return jail.ErrMoving
}

// judge says whether it may be removed.
func (r *removal) judge(ctx context.Context, dir jail.Dir, name string, info jail.Info) error {
	t := r.tree
	if err := t.state.leases.Check(r.target, r.lock, info.IsDir(), time.Now()); err != nil {
		return err
	}
	if r.ifMatch != "" {
		if err := t.wantFile(r.asked, info); err != nil {
			return err
		}
		if err := t.matches(r.asked, r.ifMatch, info); err != nil {
			return err
		}
	}
	if info.IsDir() {
		if err := t.mayTake(ctx, r.asked, r.target, r.recursive); err != nil {
			return err
		}
	}
	if r.unchanged != nil {
		return r.unchanged(dir, name)
	}
	return nil
}

// mayTake is the error if a directory is not empty and has to be, or has something
// in it that the configuration denies: a caller cannot take away, or bring to
// light under another name, what it does not see.
func (t *tree) mayTake(ctx context.Context, asked, path string, recursive bool) error {
	if recursive && len(t.settings.deny) == 0 {
		return nil
	}
	dir, err := t.jail.Dir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return walk(ctx, dir, path, func(_ jail.Dir, path string, _ jail.Info) (bool, error) {
		switch {
		case !recursive:
			return false, unix.ENOTEMPTY
		case t.denied(path):
			return false, t.failf(codes.PermissionDenied, asked, "there is something in the directory that the configuration of the root keeps from being used")
		}
		return true, nil
	})
}

// mayBring is the error if what is in a directory would be denied where it is going
// to be: a caller cannot make it there, and does not bring it there with what it is
// in either.
func (t *tree) mayBring(ctx context.Context, asked string, in jail.Dir, name, target string) error {
	if len(t.settings.deny) == 0 {
		return nil
	}
	dir, err := in.Dir(name)
	if err != nil {
		return err
	}
	defer dir.Close()
	return walk(ctx, dir, target, func(_ jail.Dir, path string, _ jail.Info) (bool, error) {
		if t.denied(path) {
			return false, t.failf(codes.PermissionDenied, asked, "something in the directory would have a path there that the configuration of the root keeps from being used")
		}
		return true, nil
	})
}

// finishRemoval removes what was renamed into the temporary directory, of which the
// files count; with only, those below that name.
func (s *state) finishRemoval(ctx context.Context, name, only string) (freed usage, err error) {
	if only != "" {
		item, err := s.temp.Dir(name)
		if err != nil {
			return freed, err
		}
		freed, err = removeAll(ctx, item, only)
		item.Close()
		s.tree.account.Add(-freed.bytes, -freed.files)
		if err != nil {
			return freed, err
		}
		_, err = removeAll(ctx, s.temp, name)
		return freed, err
	}
	freed, err = removeAll(ctx, s.temp, name)
	s.tree.account.Add(-freed.bytes, -freed.files)
	return freed, err
}

// removeHere removes what lies on another file system, where it is.
func (s *state) removeHere(ctx context.Context, dir jail.Dir, name string) error {
	u, err := removeAll(ctx, dir, name)
	s.tree.account.Add(-u.bytes, -u.files)
	return err
}
