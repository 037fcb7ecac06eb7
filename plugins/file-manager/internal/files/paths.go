package files

import (
	"strings"
	"unicode/utf8"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Hidden reports whether callers do not get to see what is at a clean path, as if
// it did not exist: our own state, and what the operator denies.
func (t *tree) Hidden(path string) bool { return isOurs(path) || t.denied(path) }

// isOurs reports whether a path is part of our state, or below a part of it. Upper and lower case are
// not told apart, because some file systems do not.
func isOurs(path string) bool {
	top := true
	for part := range strings.SplitSeq(path, "/") {
		if top && strings.EqualFold(part, stateDir) || isBeside(part) {
			return true
		}
		top = false
	}
	return false
}

// denied reports whether the operator denies a path, or a directory it is in.
func (t *tree) denied(path string) bool {
	patterns := t.settings.deny
	if len(patterns) == 0 {
		return false
	}
	if t.folds {
		path, patterns = strings.ToLower(path), t.settings.denyFolded
	}
	for i := range len(path) + 1 {
		if i < len(path) && path[i] != '/' {
			continue
		}
		for _, p := range patterns {
			if p.Match(path[:i]) {
				return true
			}
		}
	}
	return false
}

// find finds what is at a path, links followed. The caller closes it.
func (t *tree) find(path string) (jail.Found, error) {
	clean, err := jail.Clean(path)
	if err != nil {
		return jail.Found{}, t.explain(path, err)
	}
	if t.Hidden(clean) {
		return jail.Found{}, t.notThere(path)
	}
	found, err := t.jail.Lookup(clean)
	if err != nil {
		return jail.Found{}, t.explain(path, err)
	}
	if found.Path != clean && t.Hidden(found.Path) {
		found.Close()
		return jail.Found{}, t.notThere(path)
	}
	return found, nil
}

// findFile is find for what has to be a regular file.
func (t *tree) findFile(path string) (jail.Found, error) {
	found, err := t.find(path)
	if err == nil {
		if err = t.wantFile(path, found.Info); err != nil {
			found.Close()
		}
	}
	return found, err
}

// target is the path without links of what is to be made or changed, and need not
// exist. With follow, a link in its last part leads on.
func (t *tree) target(path string, follow bool) (string, error) {
	clean, err := jail.Clean(path)
	if err != nil {
		return "", t.explain(path, err)
	}
	if clean == "." {
		return "", status.Errorf(codes.InvalidArgument, "path is the root itself, which stays as it is")
	}
	if t.Hidden(clean) {
		return "", t.forbidden(path)
	}
	resolved, err := t.resolve(clean, follow)
	if err != nil {
		return "", t.explain(path, err)
	}
	if resolved == "." {
		return "", status.Errorf(codes.InvalidArgument, "%q leads to the root itself, which stays as it is", path)
	}
	if resolved != clean && t.Hidden(resolved) {
		return "", t.forbidden(path)
	}
	if !utf8.ValidString(resolved) { // our notes, which are JSON, would have another name
		return "", t.failf(codes.FailedPrecondition, path, "a symbolic link leads to a name that is not UTF-8, which can be read and not changed")
	}
	return resolved, nil
}

// resolve is the path without links. In most paths there are none, which one look
// at the directory tells.
func (t *tree) resolve(clean string, follow bool) (string, error) {
	dir, name := jail.Split(clean)
	d, err := t.jail.Dir(dir)
	if err == nil {
		leadsOn := follow && isLink(d, name)
		d.Close()
		if !leadsOn {
			return clean, nil
		}
	}
	if follow {
		return t.jail.Resolve(clean)
	}
	return t.jail.ResolveParent(clean)
}

func isLink(dir jail.Dir, name string) bool {
	info, err := dir.Stat(name)
	return err == nil && info.IsLink()
}
