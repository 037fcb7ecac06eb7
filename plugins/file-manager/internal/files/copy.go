package files

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// copyStep is how much is copied before somebody looks whether the caller is still
// there, in bytes.
const copyStep = 64 << 20

// Copy copies a file, or with recursive a directory. The copy appears when it is
// whole.
func (m *Manager) Copy(ctx context.Context, request *filev1.CopyRequest) (*filev1.CopyResponse, error) {
	from, to, err := m.enterBoth(ctx, request.GetRoot(), request.GetToRoot(), false)
	if err != nil {
		return nil, err
	}
	defer from.leave()
	defer to.leave()
	c := &copying{
		from: from, to: to, path: request.GetPath(), toPath: request.GetToPath(),
		overwrite: request.GetOverwrite(), recursive: request.GetRecursive(), makeParents: request.GetMakeParents(),
		sync: to.sync(request.GetDurability()), lock: request.GetLock(),
	}
	found, err := from.find(request.GetPath())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return c.run(ctx, found)
}

// enterBoth enters the trees of a call with two roots, the second of which is the
// first by default. The caller leaves both.
func (m *Manager) enterBoth(ctx context.Context, root, toRoot string, changeBoth bool) (from, to *tree, err error) {
	enterFrom := m.enter
	if changeBoth {
		enterFrom = m.enterToChange
	}
	if from, err = enterFrom(ctx, root); err != nil {
		return nil, nil, err
	}
	if toRoot == "" {
		toRoot = root
	}
	if to, err = m.enterToChange(ctx, toRoot); err != nil {
		from.leave()
		return nil, nil, err
	}
	return from, to, nil
}

// copying is one call that copies.
type copying struct {
	from, to     *tree
	path, toPath string // as the caller wrote them
	overwrite    bool
	recursive    bool
	makeParents  bool
	sync         bool
	lock         string

	seen fingerprint // of what was copied
}

func (c *copying) run(ctx context.Context, found jail.Found) (*filev1.CopyResponse, error) {
	if found.Info.IsDir() {
		return c.directory(ctx, found.Path)
	}
	if err := c.from.wantFile(c.path, found.Info); err != nil {
		return nil, err
	}
	return c.file(ctx, found)
}

// file makes a draft of a file. Where the file system can, both then share their
// blocks.
func (c *copying) file(ctx context.Context, found jail.Found) (*filev1.CopyResponse, error) {
	mode := found.Info.Permissions()
	d, err := c.to.newDraft(c.toPath, conditions{
		createOnly: !c.overwrite, makeParents: c.makeParents, mode: &mode, sync: c.sync, lock: c.lock,
	})
	if err != nil {
		return nil, err
	}
	defer d.discard()
	source, err := found.File()
	if err != nil {
		return nil, c.from.explain(c.path, err)
	}
	defer source.Close()
	if err := d.copyFrom(ctx, source, found.Info.Size); err != nil {
		return nil, c.to.explain(c.toPath, err)
	}
	c.seen.add(".", found.Info)
	entry, _, err := d.commit(ctx)
	if err != nil {
		return nil, err
	}
	return &filev1.CopyResponse{Entry: entry, Files: 1, Bytes: uint64(d.size)}, nil //nolint:gosec // not negative
}

// copyFrom is Write for what is in a file.
func (d *draft) copyFrom(ctx context.Context, source *os.File, size int64) error {
	if err := d.reserve(size); err != nil {
		return err
	}
	n, err := copyContent(ctx, d.file, source, size)
	d.size += n
	return err
}

// copyContent copies up to size bytes, of which fewer may have remained.
func copyContent(ctx context.Context, to, from *os.File, size int64) (done int64, err error) {
	for done < size {
		if err := ctx.Err(); err != nil {
			return done, err
		}
		n, err := io.CopyN(to, from, min(copyStep, size-done))
		done += n
		if errors.Is(err, io.EOF) {
			return done, nil
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// directory copies a tree into the stage, and renames it into its place.
func (c *copying) directory(ctx context.Context, source string) (*filev1.CopyResponse, error) {
	if !c.recursive {
		return nil, c.from.failf(codes.FailedPrecondition, c.path, "is a directory; set recursive to copy it with what is in it")
	}
	target, err := c.to.target(c.toPath, false)
	if err != nil {
		return nil, err
	}
	copier := &copier{from: c.from, to: c.to, room: c.to.account.Reserve(), sync: c.sync, seen: &c.seen}
	defer copier.room.Release()
	entry, err := c.stageDirectory(ctx, copier, source, target)
	if err != nil {
		return nil, c.to.explain(c.toPath, err)
	}
	return &filev1.CopyResponse{Entry: entry, Files: uint64(copier.done.files), Bytes: uint64(copier.done.bytes)}, nil //nolint:gosec // not negative
}

func (c *copying) stageDirectory(ctx context.Context, copier *copier, source, target string) (*filev1.Entry, error) {
	near, exact, err := c.to.nearest(target, c.makeParents)
	if err != nil {
		return nil, err
	}
	defer near.Close()
	if exact {
		if err := c.nothingAt(near, target); err != nil {
			return nil, err
		}
	}
	s, err := c.to.newStage(target, near, c.makeParents, c.lock)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := copier.copyPath(ctx, source, s, target); err != nil {
		return nil, err
	}
	return c.put(ctx, copier, s, target)
}

// nothingAt is the error if something is at the target, into which a directory is
// not merged.
func (c *copying) nothingAt(dir jail.Dir, target string) error {
	if err := c.to.state.leases.Check(target, c.lock, true, time.Now()); err != nil {
		return err
	}
	_, err := dir.Stat(lastPart(target))
	if err == nil {
		return c.to.failf(codes.AlreadyExists, c.toPath, "something is there; a directory takes the place of nothing, even with overwrite")
	}
	return ignore(err, unix.ENOENT)
}

// put renames the stage to the target.
func (c *copying) put(ctx context.Context, copier *copier, s *stage, target string) (*filev1.Entry, error) {
	release, err := c.to.holdOne(ctx, target, false)
	if err != nil {
		return nil, err
	}
	defer release()
	dir, made, err := c.to.parent(target, c.makeParents, c.lock)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := c.nothingAt(dir, target); err != nil {
		return nil, err
	}
	if err := s.place.RenameNew(s.name, dir, lastPart(target)); err != nil {
		return nil, err
	}
	s.empty = true
	copier.room.Settle(copier.done.bytes, copier.done.files)
	if c.sync {
		if err := errors.Join(c.to.syncIn(made), c.to.root.metrics.timeSync(dir.Sync)); err != nil {
			return nil, err
		}
	}
	info, err := dir.Stat(lastPart(target))
	return entryOf(target, info), err
}
