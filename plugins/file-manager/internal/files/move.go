package files

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Move renames a file or directory. Between two roots or file systems it copies,
// and removes what it has copied unless that has changed meanwhile.
func (m *Manager) Move(ctx context.Context, request *filev1.MoveRequest) (*filev1.MoveResponse, error) {
	from, to, err := m.enterBoth(ctx, request.GetRoot(), request.GetToRoot(), true)
	if err != nil {
		return nil, err
	}
	defer from.leave()
	defer to.leave()
	mv := &moving{request: request, from: from, to: to, sync: to.sync(request.GetDurability())}
	if mv.source, err = from.target(request.GetPath(), false); err != nil {
		return nil, err
	}
	if mv.target, err = to.target(request.GetToPath(), false); err != nil {
		return nil, err
	}
	var entry *filev1.Entry
	if err = unix.EXDEV; from == to {
		entry, err = mv.rename(ctx)
	}
	if errors.Is(err, unix.EXDEV) {
		entry, err = mv.copy(ctx)
	}
	if err != nil {
		return nil, from.explain(request.GetPath(), err)
	}
	return &filev1.MoveResponse{Entry: entry}, nil
}

// moving is one move.
type moving struct {
	request        *filev1.MoveRequest
	from, to       *tree
	source, target string // paths without links
	sync           bool
}

// rename moves within a root: EXDEV if that lies on two file systems.
func (mv *moving) rename(ctx context.Context) (*filev1.Entry, error) {
	t := mv.from
	switch {
	case mv.source == mv.target:
		return nil, status.Errorf(codes.InvalidArgument, "path and to_path are the same")
	case strings.HasPrefix(mv.target, mv.source+"/"):
		return nil, status.Errorf(codes.InvalidArgument, "to_path is in the directory that path is; it cannot be moved into itself")
	}
	dir, info, release, err := mv.hold(ctx)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	to, made, err := mv.renameHeld(ctx, dir, info)
	release()
	if err != nil {
		return nil, err
	}
	defer to.Close()
	if mv.sync {
		if err := errors.Join(t.syncIn(made), t.root.metrics.timeSync(to.Sync), t.root.metrics.timeSync(dir.Sync)); err != nil {
			return nil, err
		}
	}
	moved, err := to.Stat(lastPart(mv.target))
	return entryOf(mv.target, moved), err
}

// renameHeld renames while nobody of us changes either path. The directory that it
// is in then is the caller's to close.
func (mv *moving) renameHeld(ctx context.Context, dir jail.Dir, info jail.Info) (to jail.Dir, madeIn []string, err error) {
	if err := mv.judge(ctx, info); err != nil {
		return to, nil, err
	}
	if info.IsDir() {
		if err := mv.from.mayBring(ctx, mv.request.GetToPath(), dir, lastPart(mv.source), mv.target); err != nil {
			return to, nil, err
		}
	}
	to, madeIn, err = mv.from.parent(mv.target, mv.request.GetMakeParents(), mv.request.GetToLock())
	if err != nil {
		return to, nil, err
	}
	if err := mv.put(dir, to, info); err != nil {
		to.Close()
		return to, nil, err
	}
	return to, madeIn, nil
}

// hold keeps everybody of us from changing either path. Paths are locked in their
// order, so that two moves the other way round do not wait for each other.
func (mv *moving) hold(ctx context.Context) (dir jail.Dir, info jail.Info, release func(), err error) {
	t := mv.from
	dir, err = t.jail.Dir(mv.parent())
	if err != nil {
		return dir, info, nil, err
	}
	info, err = dir.Stat(lastPart(mv.source))
	dir.Close()
	if err != nil {
		return dir, info, nil, err
	}
	if release, err = mv.lock(ctx, info.IsDir()); err != nil {
		return dir, info, nil, err
	}
	wasDir := info.IsDir()
	if dir, err = t.jail.Dir(mv.parent()); err != nil {
		release()
		return dir, info, nil, err
	}
	if info, err = dir.Stat(lastPart(mv.source)); err == nil && info.IsDir() != wasDir {
		err = jail.ErrMoving
	}
	if err != nil {
		dir.Close()
		release()
	}
	return dir, info, release, err
}

func (mv *moving) parent() string {
	parent, _ := jail.Split(mv.source)
	return parent
}

func (mv *moving) lock(ctx context.Context, isDir bool) (release func(), err error) {
	t := mv.from
	if isDir {
		return t.whole(ctx)
	}
	releaseFirst, err := t.holdOne(ctx, min(mv.source, mv.target), false)
	if err != nil {
		return nil, err
	}
	unlock, err := t.paths.Lock(ctx, max(mv.source, mv.target))
	if err != nil {
		releaseFirst()
		return nil, err
	}
	return func() {
		unlock()
		releaseFirst()
	}, nil
}

// judge says whether what is at path may leave there.
func (mv *moving) judge(ctx context.Context, info jail.Info) error {
	t, request := mv.from, mv.request
	if err := t.state.leases.Check(mv.source, request.GetLock(), info.IsDir(), time.Now()); err != nil {
		return err
	}
	if request.GetIfMatch() != "" {
		if err := t.wantFile(request.GetPath(), info); err != nil {
			return err
		}
		if err := t.matches(request.GetPath(), request.GetIfMatch(), info); err != nil {
			return err
		}
	}
	if info.IsDir() {
		return t.mayTake(ctx, request.GetPath(), mv.source, true)
	}
	return nil
}

// put renames it to the place where it is going to be.
func (mv *moving) put(dir, to jail.Dir, info jail.Info) error {
	t, request, toName := mv.from, mv.request, lastPart(mv.target)
	if err := t.state.leases.Check(mv.target, request.GetToLock(), info.IsDir(), time.Now()); err != nil {
		return err
	}
	there, err := to.Stat(toName)
	switch {
	case errors.Is(err, unix.ENOENT):
		err := dir.RenameNew(lastPart(mv.source), to, toName)
		if err == nil && request.GetIfMatch() != "" {
			err = t.takeBack(request.GetPath(), request.GetIfMatch(), info, to, toName, dir, lastPart(mv.source))
		}
		return err
	case err != nil:
		return err
	case !request.GetOverwrite():
		return t.failf(codes.AlreadyExists, request.GetToPath(), "something is there, and overwrite is not set")
	case there.IsDir() || info.IsDir():
		return t.failf(codes.FailedPrecondition, request.GetToPath(), "a directory neither takes the place of anything nor gives it up; remove what is there first")
	case there.Inode == info.Inode && there.Device == info.Device:
		// The system would do nothing, and say that it has.
		return t.failf(codes.FailedPrecondition, request.GetToPath(), "is the same file as path, under another name (a hard link); remove one of them")
	}
	if err := dir.Rename(lastPart(mv.source), to, toName); err != nil {
		return err
	}
	u := usageOf(there)
	t.account.Add(-u.bytes, -u.files)
	return nil
}

// copy moves between two file systems.
func (mv *moving) copy(ctx context.Context) (*filev1.Entry, error) {
	request := mv.request
	c := &copying{
		from: mv.from, to: mv.to, path: request.GetPath(), toPath: request.GetToPath(),
		overwrite: request.GetOverwrite(), recursive: true, makeParents: request.GetMakeParents(),
		sync: mv.sync, lock: request.GetToLock(),
	}
	found, err := mv.from.find(request.GetPath())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	if found.Path != mv.source {
		return nil, mv.from.failf(codes.FailedPrecondition, request.GetPath(), "is a symbolic link, which cannot be moved to another root or file system")
	}
	if err := mv.judge(ctx, found.Info); err != nil {
		return nil, err
	}
	copied, err := c.run(ctx, found)
	if err != nil {
		return nil, err
	}
	r := &removal{
		tree: mv.from, asked: request.GetPath(), target: mv.source, lock: request.GetLock(), recursive: true, sync: mv.sync,
		unchanged: func(dir jail.Dir, name string) error { return c.unchanged(ctx, dir, name, mv.source) },
	}
	if _, err := r.run(ctx); err != nil {
		return nil, err
	}
	return copied.GetEntry(), nil
}

// unchanged is the error if what is at a name is not what was copied.
func (c *copying) unchanged(ctx context.Context, in jail.Dir, name, path string) error {
	info, err := in.Stat(name)
	if err != nil {
		return err
	}
	var now fingerprint
	if !info.IsDir() {
		now.add(".", info)
	} else {
		now.add(path, info)
		dir, err := in.Dir(name)
		if err != nil {
			return err
		}
		defer dir.Close()
		err = walk(ctx, dir, path, func(_ jail.Dir, path string, info jail.Info) (bool, error) {
			if c.from.Hidden(path) {
				return false, nil
			}
			now.add(path, info)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	if now != c.seen {
		return c.from.failf(codes.Aborted, c.path, "somebody has changed it while it was copied; it stays, and the copy is at %q", c.toPath)
	}
	return nil
}
