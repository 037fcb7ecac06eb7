package files

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/quota"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// copier copies a tree of files from one place to another that nobody sees yet.
type copier struct {
	from, to *tree
	room     *quota.Reservation
	sync     bool
	all      bool         // what callers do not see, too
	seen     *fingerprint // nil if nobody wants to know

	done usage
}

// newMover returns a copier for what only changes its place within a tree: there is
// room for it, and nothing more to count.
func newMover(t *tree) *copier {
	return &copier{from: t, to: t, room: quota.NewAccount(0).Reserve(), all: true}
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
