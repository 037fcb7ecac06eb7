package files

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// An item of the trash is a directory that has for its name the id, which begins
// with the time so that names sort by it. In it are what was removed and a note of
// where it was. The note is there first: an item without content is one whose
// removal never happened.
const (
	trashContent = "content"
	trashNote    = "note"
)

type trashedFrom struct {
	Path string `json:"path"`
}

// trashID makes an id: nanoseconds since 1970 and what makes it the only one, in
// hexadecimal and base 32.
func trashID(now time.Time) string { return fmt.Sprintf("%016x-%s", now.UnixNano(), rand.Text()[:8]) }

// removedAt is the time in an id, which may be a caller's: false if it is none.
func removedAt(id string) (time.Time, bool) {
	stamp, rest, _ := strings.Cut(id, "-")
	nanos, err := strconv.ParseInt(stamp, 16, 64)
	if err != nil || len(stamp) != 16 || len(rest) != 8 || strings.ContainsAny(rest, "/.\x00") {
		return time.Time{}, false
	}
	return time.Unix(0, nanos), true
}

// toTrash moves a name of a directory into the trash. path is where that is.
func (s *state) toTrash(ctx context.Context, dir jail.Dir, name, path string, sync bool) (id string, err error) {
	id = trashID(time.Now())
	item, err := s.newItem(id, path)
	if err != nil {
		return "", err
	}
	defer item.Close()
	if err = dir.Rename(name, item, trashContent); errors.Is(err, unix.EXDEV) {
		err = s.copyToTrash(ctx, dir, name, path, item)
	}
	if err == nil && sync {
		metrics := s.tree.root.metrics
		err = errors.Join(metrics.timeSync(item.Sync), metrics.timeSync(s.trash.Sync))
	}
	if err != nil {
		s.dropItem(item, id)
		return "", err
	}
	return id, nil
}

// newItem makes an item without content. The caller closes it.
func (s *state) newItem(id, path string) (jail.Dir, error) {
	item, err := ensureDir(s.trash, id)
	if err != nil {
		return item, err
	}
	text, err := json.Marshal(trashedFrom{Path: path})
	if err != nil {
		return item, err
	}
	f, err := item.Create(trashNote, 0o600)
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.dropItem(item, id)
		item.Close()
	}
	return item, err
}

// dropItem removes an item that has no content. One that has stays.
func (s *state) dropItem(item jail.Dir, id string) {
	if _, err := item.Stat(trashContent); errors.Is(err, unix.ENOENT) {
		_ = item.Remove(trashNote) // sweepTrash tries again
		_ = s.trash.RemoveDir(id)
	}
}

// copyToTrash is for what lies on another file system than the trash.
func (s *state) copyToTrash(ctx context.Context, dir jail.Dir, name, path string, item jail.Dir) error {
	c := &copier{from: s.tree, to: s.tree, room: s.tree.account.Reserve(), all: true}
	defer c.room.Release()
	err := c.copy(ctx, dir, name, path, item, trashContent, path)
	if err == nil {
		_, err = removeAll(ctx, dir, name)
	}
	if err != nil {
		_, clearErr := removeAll(context.WithoutCancel(ctx), item, trashContent)
		return errors.Join(err, clearErr)
	}
	return nil // what was counted at one place counts at the other
}

// sweepTrash removes items without content.
func (s *state) sweepTrash() {
	names, err := s.trash.Names()
	if err != nil {
		return // the next call says so
	}
	for _, id := range names {
		if item, err := s.trash.Dir(id); err == nil {
			s.dropItem(item, id)
			item.Close()
		}
	}
}

// ids lists the items, the latest first.
func (s *state) ids() ([]string, error) {
	names, err := s.trash.Names()
	slices.Sort(names)
	slices.Reverse(names)
	return names, err
}

// openItem opens an item and reads its note: ENOENT if there is no such item. The
// caller closes it.
func (s *state) openItem(id string) (item jail.Dir, from trashedFrom, info jail.Info, err error) {
	if _, ok := removedAt(id); !ok {
		return item, from, info, unix.ENOENT
	}
	if item, err = s.trash.Dir(id); err != nil {
		return item, from, info, err
	}
	if info, err = item.Stat(trashContent); err == nil {
		from, err = readNote(item)
	}
	if err != nil {
		item.Close()
	}
	return item, from, info, err
}

func readNote(item jail.Dir) (from trashedFrom, err error) {
	f, err := item.Open(trashNote)
	if err != nil {
		return from, err
	}
	defer f.Close()
	return from, json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(&from)
}

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
	item, from, _, err := t.state.openItem(request.GetId())
	if err != nil {
		return nil, t.failf(codes.NotFound, request.GetId(), "is not in the trash; ListTrash says what is")
	}
	defer item.Close()
	path := request.GetToPath()
	if path == "" {
		path = from.Path
	}
	entry, err := t.restore(ctx, item, request.GetId(), path)
	if err != nil {
		return nil, t.explain(path, err)
	}
	return &filev1.RestoreResponse{Entry: entry}, nil
}

func (t *tree) restore(ctx context.Context, item jail.Dir, id, path string) (*filev1.Entry, error) {
	target, err := t.target(path, false)
	if err != nil {
		return nil, err
	}
	if err := t.state.leases.Check(target, "", true, time.Now()); err != nil {
		return nil, err
	}
	dir, made, err := t.parent(target, true)
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
	t.state.dropItem(item, id)
	if t.settings.sync {
		if err := errors.Join(t.syncIn(made), t.root.metrics.timeSync(dir.Sync), t.root.metrics.timeSync(t.state.trash.Sync)); err != nil {
			return nil, err
		}
	}
	info, err := dir.Stat(name)
	return entryOf(target, info), err
}

// copyBack is for a place on another file system than the trash.
func (t *tree) copyBack(ctx context.Context, item, dir jail.Dir, name, target string) error {
	c := &copier{from: t, to: t, room: t.account.Reserve(), all: true}
	defer c.room.Release()
	s, err := t.newStage(target, dir, false)
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
	before := time.Now().Add(-request.GetOlderThan().AsDuration())
	items, freed, err := t.state.emptyTrash(ctx, before)
	if err != nil {
		return nil, t.explain(".", err)
	}
	return &filev1.EmptyTrashResponse{Items: uint64(items), Bytes: uint64(freed.bytes)}, nil //nolint:gosec // not negative
}

// emptyTrash removes the items that were removed before a time.
func (s *state) emptyTrash(ctx context.Context, before time.Time) (items int, freed usage, err error) {
	ids, err := s.ids()
	if err != nil {
		return 0, freed, err
	}
	for _, id := range ids {
		if when, ok := removedAt(id); !ok || when.After(before) {
			continue
		}
		u, err := s.purge(ctx, id)
		freed.add(u)
		if errors.Is(err, unix.ENOENT) {
			continue // restored, or removed by somebody else
		}
		if err != nil {
			return items, freed, err
		}
		items++
	}
	return items, freed, nil
}

// purge removes an item, of which Restore sees all or nothing.
func (s *state) purge(ctx context.Context, id string) (usage, error) {
	release, err := s.tree.share(ctx)
	if err != nil {
		return usage{}, err
	}
	name := rand.Text()
	err = s.trash.Rename(id, s.temp, name)
	release()
	if err != nil {
		return usage{}, err
	}
	return s.finishRemoval(ctx, name, trashContent)
}

// expireTrash removes what has been in the trash for as long as the configuration
// says, until ctx ends.
func (s *state) expireTrash(ctx context.Context) {
	keep := s.tree.settings.trash
	if keep == 0 {
		return
	}
	ticker := time.NewTicker(min(max(keep/10, time.Second), time.Hour))
	defer ticker.Stop()
	for {
		if _, _, err := s.emptyTrash(ctx, time.Now().Add(-keep)); err != nil && ctx.Err() == nil {
			sdk.Logger().Warn("the trash is not emptied", "root", s.tree.settings.name, "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
