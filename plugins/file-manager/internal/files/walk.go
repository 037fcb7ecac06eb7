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
		return usageOf(info), ignore(in.Remove(name), unix.ENOENT)
	}
	var total usage
	for range 10 { // others may put something into it meanwhile
		u, err := removeContent(ctx, in, name)
		total.add(u)
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
// What vanishes meanwhile is left out. A directory for which visit says false is
// not looked into. path is that of the directory; paths longer than any caller can
// ask for are left out.
func walk(ctx context.Context, dir jail.Dir, path string, visit func(in jail.Dir, path string, info jail.Info) (bool, error)) error {
	if len(path) > jail.MaxPath {
		return nil
	}
	names, err := dir.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := dir.Stat(name)
		if err != nil {
			continue // it has vanished
		}
		into, err := visit(dir, jail.Join(path, name), info)
		if err != nil {
			return err
		}
		if !into || !info.IsDir() {
			continue
		}
		child, err := dir.Dir(name)
		if err != nil {
			continue // it has vanished, or is something else now
		}
		err = walk(ctx, child, jail.Join(path, name), visit)
		child.Close()
		if err != nil && !errors.Is(err, unix.EACCES) { // what we may not read, no caller may either
			return err
		}
	}
	return nil
}
