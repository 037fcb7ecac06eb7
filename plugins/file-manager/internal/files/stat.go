package files

import (
	"context"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Stat says what is at a path.
func (m *Manager) Stat(ctx context.Context, request *filev1.StatRequest) (*filev1.StatResponse, error) {
	t, err := m.enter(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if request.GetNoFollow() {
		entry, err := t.statLink(request.GetPath())
		return &filev1.StatResponse{Entry: entry}, err
	}
	found, err := t.find(request.GetPath())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	return &filev1.StatResponse{Entry: entryOf(found.Path, found.Info)}, nil
}

// statLink is what is at a path, and if that is a link, the link.
func (t *tree) statLink(path string) (*filev1.Entry, error) {
	clean, err := jail.Clean(path)
	if err != nil {
		return nil, t.explain(path, err)
	}
	if clean == "." {
		info, err := t.jail.Info()
		return entryOf(".", info), t.explain(path, err)
	}
	if t.Hidden(clean) {
		return nil, t.notThere(path)
	}
	resolved, err := t.resolve(clean, false)
	if err != nil {
		return nil, t.explain(path, err)
	}
	if t.Hidden(resolved) {
		return nil, t.notThere(path)
	}
	parent, name := jail.Split(resolved)
	dir, err := t.jail.Dir(parent)
	if err != nil {
		return nil, t.explain(path, err)
	}
	defer dir.Close()
	entry, err := entryIn(dir, name, resolved)
	return entry, t.explain(path, err)
}

// entryIn is the entry of a name in a directory, with the target of a link.
func entryIn(dir jail.Dir, name, path string) (*filev1.Entry, error) {
	info, err := dir.Stat(name)
	if err != nil {
		return nil, err
	}
	entry := entryOf(path, info)
	if info.IsLink() {
		target, err := dir.Readlink(name)
		if err != nil {
			return nil, err
		}
		entry.Target = shown(target)
	}
	return entry, nil
}

// MakeDir makes a directory.
func (m *Manager) MakeDir(ctx context.Context, request *filev1.MakeDirRequest) (*filev1.MakeDirResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if err := checkMode("mode", request.GetMode()); err != nil {
		return nil, err
	}
	if clean, err := jail.Clean(request.GetPath()); err == nil && clean == "." && request.GetParents() {
		info, err := t.jail.Info() // it is there, and that is fine
		return &filev1.MakeDirResponse{Entry: entryOf(".", info)}, t.explain(request.GetPath(), err)
	}
	target, err := t.target(request.GetPath(), request.GetParents())
	if err != nil {
		return nil, err
	}
	entry, err := t.makeDir(ctx, target, request)
	if err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	return &filev1.MakeDirResponse{Entry: entry}, nil
}

func (t *tree) makeDir(ctx context.Context, target string, request *filev1.MakeDirRequest) (*filev1.Entry, error) {
	release, err := t.holdOne(ctx, target, false)
	if err != nil {
		return nil, err
	}
	defer release()
	dir, made, err := t.parent(target, request.GetParents(), request.GetLock())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name := lastPart(target)
	if info, err := dir.Stat(name); err == nil && info.IsDir() && request.GetParents() {
		return entryOf(target, info), nil
	}
	if err := t.state.leases.Check(target, request.GetLock(), false, time.Now()); err != nil {
		return nil, err
	}
	mode := request.GetMode()
	if mode == 0 {
		mode = 0o755
	}
	if err := dir.Mkdir(name, mode); err != nil {
		return nil, err
	}
	if t.sync(request.GetDurability()) {
		parent, _ := jail.Split(target)
		if err := t.syncIn(append(made, parent)); err != nil {
			return nil, err
		}
	}
	return entryIn(dir, name, target)
}

// SetAttributes changes permissions and times.
func (m *Manager) SetAttributes(ctx context.Context, request *filev1.SetAttributesRequest) (*filev1.SetAttributesResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if err := checkMode("mode", request.GetMode()); err != nil {
		return nil, err
	}
	if modified := request.GetModified(); modified != nil && (modified.CheckValid() != nil || !inNanoseconds(modified.AsTime())) {
		return nil, status.Error(codes.InvalidArgument, "modified is not a time between the years 1678 and 2262")
	}
	target, err := t.target(request.GetPath(), true)
	if err != nil {
		return nil, err
	}
	entry, err := t.setAttributes(ctx, target, request)
	if err != nil {
		return nil, t.explain(request.GetPath(), err)
	}
	return &filev1.SetAttributesResponse{Entry: entry}, nil
}

// inNanoseconds reports whether nanoseconds since 1970, as times are kept here, can
// say a time.
func inNanoseconds(t time.Time) bool { return time.Unix(0, t.UnixNano()).Equal(t) }

func (t *tree) setAttributes(ctx context.Context, target string, request *filev1.SetAttributesRequest) (*filev1.Entry, error) {
	release, err := t.holdOne(ctx, target, false)
	if err != nil {
		return nil, err
	}
	defer release()
	parent, name := jail.Split(target)
	dir, err := t.jail.Dir(parent)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	info, err := dir.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsLink() {
		return nil, jail.ErrMoving
	}
	if err := t.state.leases.Check(target, request.GetLock(), false, time.Now()); err != nil {
		return nil, err
	}
	if request.Mode != nil {
		if err := dir.Chmod(name, request.GetMode()); err != nil {
			return nil, err
		}
	}
	if request.GetModified() != nil {
		if err := dir.SetModified(name, request.GetModified().AsTime()); err != nil {
			return nil, err
		}
	}
	return entryIn(dir, name, target)
}
