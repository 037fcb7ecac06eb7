package jail

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many links a path may go through, as on Linux.
const maxLinks = 40

// Resolve returns the path, without links, of what a clean path leads to. Parts
// of it need not exist, unless it is a link that says them: ErrDangling.
func (r *Root) Resolve(path string) (string, error) {
	done, links := ".", 0
	said := 0 // parts at the start of rest that a link has said
	for rest := path; rest != "."; {
		var name string
		name, rest = cut(rest)
		bySomeLink := said > 0
		said = max(said-1, 0)
		if name == ".." {
			if done == "." {
				return "", ErrEscape
			}
			done, _ = Split(done)
			continue
		}
		target, err := r.readlink(done, name)
		switch {
		case errors.Is(err, unix.EINVAL): // no link
			done = Join(done, name)
			continue
		case errors.Is(err, unix.ENOENT) && bySomeLink:
			return "", ErrDangling
		case errors.Is(err, unix.ENOENT):
			return cleanTarget(done + "/" + name + "/" + rest), nil
		case err != nil:
			return "", err
		}
		if links++; links > maxLinks {
			return "", ErrLoop
		}
		if strings.HasPrefix(target, "/") {
			return "", ErrEscape
		}
		target = cleanTarget(target)
		if target != "." {
			said += strings.Count(target, "/") + 1
			rest = cleanTarget(target + "/" + rest)
		}
		if len(rest) > MaxPath {
			return "", unix.ENAMETOOLONG
		}
	}
	return done, nil
}

// ResolveParent resolves all of a path but its last part, which may be a link
// that is meant itself.
func (r *Root) ResolveParent(path string) (string, error) {
	if path == "." {
		return ".", nil
	}
	dir, name := Split(path)
	dir, err := r.Resolve(dir)
	if err != nil {
		return "", err
	}
	return Join(dir, name), nil
}

// readlink reads the link name in dir, a path without links: EINVAL if it is
// none.
func (r *Root) readlink(dir, name string) (string, error) {
	fd, err := r.openDir(dir)
	if errors.Is(err, unix.ELOOP) {
		err = ErrMoving
	}
	if err != nil {
		return "", err
	}
	defer closeFD(fd)
	return Dir{fd: fd}.Readlink(name)
}

// cut takes the first part off a path; the rest is "." when nothing is left.
func cut(path string) (first, rest string) {
	first, rest, more := strings.Cut(path, "/")
	if !more {
		return first, "."
	}
	return first, rest
}

// cleanTarget drops the empty and "." parts of what a link says.
func cleanTarget(target string) string {
	var kept []string
	for part := range strings.SplitSeq(target, "/") {
		if part != "" && part != "." {
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 {
		return "."
	}
	return strings.Join(kept, "/")
}
