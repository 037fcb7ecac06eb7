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
	"github.com/gaia-go/gaia/sdk"
	"golang.org/x/sys/unix"
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

// toTrash moves a name of a directory into the trash. path is where that is;
// takeBack sees that it was the right thing, and brings it back if not.
func (s *state) toTrash(ctx context.Context, dir jail.Dir, name, path string, sync bool, takeBack func(in jail.Dir, now string) error) (id string, err error) {
	id = trashID(time.Now())
	item, err := s.newItem(id, path)
	if err != nil {
		return "", err
	}
	defer item.Close()
	if err = dir.Rename(name, item, trashContent); errors.Is(err, unix.EXDEV) {
		err = s.copyToTrash(ctx, dir, name, path, item)
	} else if err == nil {
		err = takeBack(item, trashContent)
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
	c := newMover(s.tree)
	err := c.copy(ctx, dir, name, path, item, trashContent, path)
	if err == nil {
		_, err = removeAll(ctx, dir, name)
	}
	if err != nil {
		_, clearErr := removeAll(context.WithoutCancel(ctx), item, trashContent)
		return errors.Join(err, clearErr)
	}
	return nil
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

// emptyTrash removes the items that were removed before a time. It ends early with
// ctx, but within an item with finish only: half of one would be counted until the
// next start.
func (s *state) emptyTrash(ctx, finish context.Context, before time.Time) (items int, freed usage, err error) {
	ids, err := s.ids()
	if err != nil {
		return 0, freed, err
	}
	for _, id := range ids {
		if when, ok := removedAt(id); !ok || when.After(before) {
			continue
		}
		if ctx.Err() != nil {
			return items, freed, ctx.Err()
		}
		u, err := s.purge(finish, id)
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

// purge removes an item, of which Restore sees all or nothing. It waits for changes
// that are under way: one of them may be about to put the content into the item.
func (s *state) purge(ctx context.Context, id string) (usage, error) {
	release, err := s.tree.whole(ctx)
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
		if _, _, err := s.emptyTrash(ctx, ctx, time.Now().Add(-keep)); err != nil && ctx.Err() == nil {
			sdk.Logger().Warn("the trash is not emptied", "root", s.tree.settings.name, "err", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
