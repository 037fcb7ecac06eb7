package files

import (
	"context"
	"errors"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"golang.org/x/sys/unix"
)

// usage is what regular files take.
type usage struct {
	bytes, files int64
}

func (u *usage) add(o usage) {
	u.bytes += o.bytes
	u.files += o.files
}

// removeAll removes what is at a name, of a directory all that is in it, and says
// what that was. It ends early with ctx.
func removeAll(ctx context.Context, in jail.Dir, name string) (usage, error) {
	info, err := in.Stat(name)
	if errors.Is(err, unix.ENOENT) {
		return usage{}, nil
	}
	if err != nil {
		return usage{}, err
	}
	if !info.IsDir() {
		if err := ignore(in.Remove(name), unix.ENOENT); err != nil {
			return usage{}, err
		}
		return usageOf(info), nil
	}
	var total usage
	opened := false
	for range 10 { // others may put something into it meanwhile
		u, err := removeContent(ctx, in, name)
		total.add(u)
		if errors.Is(err, unix.EACCES) && !opened && in.Chmod(name, 0o700) == nil {
			opened = true // it was read-only, which does not keep its owner from removing it
			continue
		}
		if err != nil {
			return total, err
		}
		if err = in.RemoveDir(name); !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EEXIST) {
			return total, ignore(err, unix.ENOENT)
		}
	}
	return total, unix.ENOTEMPTY
}

func removeContent(ctx context.Context, in jail.Dir, name string) (usage, error) {
	dir, err := in.Dir(name)
	if err != nil {
		return usage{}, ignore(err, unix.ENOENT)
	}
	defer dir.Close()
	names, err := dir.Names()
	var total usage
	for _, child := range names {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		u, err := removeAll(ctx, dir, child)
		total.add(u)
		if err != nil {
			return total, err
		}
	}
	return total, err
}

func usageOf(info jail.Info) usage {
	if !info.IsFile() {
		return usage{}
	}
	return usage{bytes: info.Size, files: 1}
}

// walk visits all that is below a directory, of a directory before what is in it.
// What vanishes meanwhile is left out, and directories that we may not read. One for
// which visit says false is not looked into. path is that of the directory.
func walk(ctx context.Context, dir jail.Dir, path string, visit func(in jail.Dir, path string, info jail.Info) (bool, error)) error {
	names, err := dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := dir.Stat(name)
		if isGone(err) {
			continue
		}
		if err != nil {
			return err
		}
		into, err := visit(dir, jail.Join(path, name), info)
		if err != nil {
			return err
		}
		if !into || !info.IsDir() {
			continue
		}
		child, err := dir.Dir(name)
		if err == nil {
			err = walk(ctx, child, jail.Join(path, name), visit)
			child.Close()
		}
		if err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}

// isGone reports whether what was to be looked at has vanished, is something else
// now, or may not be looked at, by us or any caller. All else, such as too many open
// files, must not look like that.
func isGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EACCES)
}
