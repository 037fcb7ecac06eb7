package files

import (
	"context"
	"errors"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// ListTrash lists what was removed, the latest first. The sizes of directories are
// counted anew each time.
func (m *Manager) ListTrash(ctx context.Context, request *filev1.ListTrashRequest) (*filev1.ListTrashResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	ids, err := t.state.ids()
	if err != nil {
		return nil, t.explain(".", err)
	}
	response := &filev1.ListTrashResponse{}
	for _, id := range ids {
		if ctx.Err() != nil {
			return nil, t.explain(".", ctx.Err())
		}
		item, from, info, err := t.state.openItem(id)
		if err != nil {
			continue // it has just been restored or removed
		}
		size := usageOf(info)
		if info.IsDir() {
			size, err = usageIn(ctx, item, trashContent)
		}
		item.Close()
		if err != nil {
			return nil, t.explain(".", err)
		}
		when, _ := removedAt(id)
		response.Items = append(response.Items, &filev1.TrashItem{
			Id: id, Path: shown(from.Path), Removed: timestamppb.New(when), Size: uint64(size.bytes), Type: typeOf(info), //nolint:gosec // not negative
		})
	}
	return response, nil
}

// usageIn is what a directory has in it.
func usageIn(ctx context.Context, in jail.Dir, name string) (total usage, err error) {
	dir, err := in.Dir(name)
	if err != nil {
		return total, err
	}
	defer dir.Close()
	err = walk(ctx, dir, ".", func(_ jail.Dir, _ string, info jail.Info) (bool, error) {
		total.add(usageOf(info))
		return true, nil
	})
	return total, err
}

// Restore brings something back from the trash.
func (m *Manager) Restore(ctx context.Context, request *filev1.RestoreRequest) (*filev1.RestoreResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	release, err := t.whole(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	item, from, info, err := t.state.openItem(request.GetId())
	if err != nil {
		return nil, t.failf(codes.NotFound, request.GetId(), "is not in the trash; ListTrash says what is")
	}
	defer item.Close()
	path := request.GetToPath()
	if path == "" {
		path = from.Path
	}
	entry, err := t.restore(ctx, item, info, request, path)
	if err != nil {
		return nil, t.explain(path, err)
	}
	return &filev1.RestoreResponse{Entry: entry}, nil
}

func (t *tree) restore(ctx context.Context, item jail.Dir, info jail.Info, request *filev1.RestoreRequest, path string) (*filev1.Entry, error) {
	target, err := t.target(path, false)
	if err != nil {
		return nil, err
	}
	if err := t.state.leases.Check(target, request.GetLock(), true, time.Now()); err != nil {
		return nil, err
	}
	if info.IsDir() {
		if err := t.mayBring(ctx, path, item, trashContent, target); err != nil {
			return nil, err
		}
	}
	dir, made, err := t.parent(target, true, request.GetLock())
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	name := lastPart(target)
	if _, err := dir.Stat(name); err == nil {
		return nil, unix.EEXIST
	}
	if err = item.RenameNew(trashContent, dir, name); errors.Is(err, unix.EXDEV) {
		err = t.copyBack(ctx, item, dir, name, target)
	}
	if err != nil {
		return nil, err
	}
	t.state.dropItem(item, request.GetId())
	if t.settings.sync {
		if err := errors.Join(t.syncIn(made), t.root.metrics.timeSync(dir.Sync), t.root.metrics.timeSync(t.state.trash.Sync)); err != nil {
			return nil, err
		}
	}
	restored, err := dir.Stat(name)
	return entryOf(target, restored), err
}

// copyBack is for a place on another file system than the trash.
func (t *tree) copyBack(ctx context.Context, item, dir jail.Dir, name, target string) error {
	c := newMover(t)
	s, err := t.newStage(target, dir, false, "")
	if err != nil {
		return err
	}
	defer s.close()
	if err := c.copy(ctx, item, trashContent, target, s.place, s.name, target); err != nil {
		return err
	}
	if err := s.place.RenameNew(s.name, dir, name); err != nil {
		return err
	}
	s.empty = true
	_, err = removeAll(context.WithoutCancel(ctx), item, trashContent)
	return err
}

// EmptyTrash removes for good what is in the trash.
func (m *Manager) EmptyTrash(ctx context.Context, request *filev1.EmptyTrashRequest) (*filev1.EmptyTrashResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if request.GetOlderThan().AsDuration() < 0 {
		return nil, status.Error(codes.InvalidArgument, "older_than is negative; write how long ago, or leave it out for all")
	}
	before := time.Now().Add(-request.GetOlderThan().AsDuration())
	items, freed, err := t.state.emptyTrash(ctx, context.WithoutCancel(ctx), before)
	if err != nil {
		return nil, t.explain(".", err)
	}
	return &filev1.EmptyTrashResponse{Items: uint64(items), Bytes: uint64(freed.bytes)}, nil //nolint:gosec // not negative
}
