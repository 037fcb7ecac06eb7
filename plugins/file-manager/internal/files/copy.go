package files

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/quota"
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
	s, err := c.to.newStage(target, near, c.makeParents)
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
	dir, made, err := c.to.parent(target, c.makeParents)
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

// copier copies a tree of files from one place to another that nobody sees yet.
type copier struct {
	from, to *tree
	room     *quota.Reservation
	sync     bool
	all      bool         // what callers do not see, too
	seen     *fingerprint // nil if nobody wants to know

	done usage
}

// copyPath copies what is at a path to a stage. target is where it will be.
func (c *copier) copyPath(ctx context.Context, path string, s *stage, target string) error {
	if path == "." {
		return c.copyRoot(ctx, s, target)
	}
	parent, name := jail.Split(path)
	dir, err := c.from.jail.Dir(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	return c.copy(ctx, dir, name, path, s.place, s.name, target)
}

// copyRoot copies the whole of a root.
func (c *copier) copyRoot(ctx context.Context, s *stage, target string) error {
	dir, err := c.from.jail.Dir(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return c.copyDir(ctx, dir, ".", 0o755, s.place, s.name, target)
}

// copy copies a name, and all below it, to another name. path and target are what
// the two are called in their roots.
func (c *copier) copy(ctx context.Context, in jail.Dir, name, path string, to jail.Dir, toName, target string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := in.Stat(name)
	if err != nil {
		return err
	}
	if c.seen != nil {
		c.seen.add(path, info)
	}
	switch info.Type() {
	case unix.S_IFREG:
		return c.copyFile(ctx, in, name, info, to, toName)
	case unix.S_IFLNK:
		return c.copyLink(in, name, path, to, toName, target)
	case unix.S_IFDIR:
		dir, err := in.Dir(name)
		if err != nil {
			return err
		}
		defer dir.Close()
		return c.copyDir(ctx, dir, path, info.Permissions(), to, toName, target)
	}
	return c.from.failf(codes.FailedPrecondition, path, "is a device, socket or FIFO, which is never opened; remove it, or copy what is beside it by itself")
}

func (c *copier) copyDir(ctx context.Context, dir jail.Dir, path string, mode uint32, to jail.Dir, toName, target string) error {
	if err := to.Mkdir(toName, mode|0o700); err != nil {
		return err
	}
	made, err := to.Dir(toName)
	if err != nil {
		return err
	}
	defer made.Close()
	names, err := dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		child, childTarget := jail.Join(path, name), jail.Join(target, name)
		if !c.all && c.from.Hidden(child) {
			continue
		}
		if !c.all && c.to.Hidden(childTarget) {
			return c.to.forbidden(childTarget)
		}
		if err := c.copy(ctx, dir, name, child, made, name, childTarget); err != nil && !errors.Is(err, unix.ENOENT) { // it has vanished
			return err
		}
	}
	if c.sync {
		if err := c.to.root.metrics.timeSync(made.Sync); err != nil {
			return err
		}
	}
	if mode&0o700 == 0o700 {
		return nil
	}
	return to.Chmod(toName, mode)
}

func (c *copier) copyFile(ctx context.Context, in jail.Dir, name string, info jail.Info, to jail.Dir, toName string) error {
	if err := errors.Join(c.to.fits(info.Size), c.room.Cover(c.done.bytes+info.Size)); err != nil {
		return err
	}
	source, err := in.Open(name)
	if err != nil {
		return err
	}
	defer source.Close()
	file, err := to.Create(toName, 0o600)
	if err != nil {
		return err
	}
	n, err := copyContent(ctx, file, source, info.Size)
	c.done.add(usage{bytes: n, files: 1})
	if err == nil {
		err = file.Chmod(os.FileMode(info.Permissions()))
	}
	if err == nil && c.sync {
		err = c.to.root.metrics.timeSync(file.Sync)
	}
	return errors.Join(err, file.Close())
}

// copyLink copies a link as a link, if it leads to a place within the root from
// where it will be.
func (c *copier) copyLink(in jail.Dir, name, path string, to jail.Dir, toName, target string) error {
	link, err := in.Readlink(name)
	if err != nil {
		return err
	}
	if !c.all && leadsOut(target, link) {
		return c.from.failf(codes.PermissionDenied, path, "is a symbolic link that would lead out of the root")
	}
	return to.Symlink(link, toName)
}

// leadsOut reports whether a link at a path leaves the root, by its text.
func leadsOut(path, link string) bool {
	if strings.HasPrefix(link, "/") {
		return true
	}
	depth := strings.Count(path, "/")
	for part := range strings.SplitSeq(link, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// fingerprint tells whether a tree of files is still as it was: the sum of a number
// for each of its files, in whatever order they are met.
type fingerprint struct {
	sum, files uint64
}

func (f *fingerprint) add(path string, info jail.Info) {
	h := uint64(len(path))
	for i := range len(path) {
		h = (h ^ uint64(path[i])) * 0x100000001b3 // FNV-1a
	}
	numbers := []uint64{info.Inode, uint64(info.Mode)}
	if !info.IsDir() { // one that is looked at more than once may have other times
		numbers = append(numbers, uint64(info.Size), uint64(info.Modified), uint64(info.Changed)) //nolint:gosec // bits, not numbers
	}
	for _, n := range numbers {
		h = mix(h ^ n)
	}
	f.sum += h
	f.files++
}
