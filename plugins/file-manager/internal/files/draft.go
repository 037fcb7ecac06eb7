package files

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"hash"
	"os"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/quota"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// draft is the new content of a file, written beside what is there. Either commit
// puts it in place, or nothing has happened.
type draft struct {
	tree   *tree
	asked  string // the path as the caller wrote it, for errors
	target string // the path without links
	conditions

	stage *stage
	file  *os.File
	room  *quota.Reservation
	old   *jail.Info // what was there when it was begun; nil for nothing
	size  int64
	hash  hash.Hash // nil unless a digest is wanted
}

// newDraft begins a draft, unless it is clear by now that it could not be put in
// place. The caller discards it, whatever happens.
func (t *tree) newDraft(path string, c conditions) (*draft, error) {
	target, err := t.target(path, true)
	if err != nil {
		return nil, err
	}
	d := &draft{tree: t, asked: path, target: target, conditions: c, room: t.account.Reserve()}
	if err := d.begin(); err != nil {
		d.discard()
		return nil, t.explain(path, err)
	}
	if len(c.sha256) > 0 {
		d.hash = sha256.New()
	}
	return d, nil
}

// begin looks at what is there now, and makes the file. What commit would refuse
// is refused before anything is written.
func (d *draft) begin() error {
	dir, exact, err := d.tree.nearest(d.target, d.makeParents)
	if err != nil {
		return err
	}
	defer dir.Close()
	if exact {
		d.old, err = d.inTheWay(dir, lastPart(d.target))
	} else {
		err = d.judge(nil)
	}
	if err != nil {
		return err
	}
	if d.stage, err = d.tree.newStage(d.target, dir, d.makeParents, d.lock); err != nil {
		return err
	}
	d.file, err = d.stage.place.Create(d.stage.name, 0o600)
	return err
}

// discard removes what commit has not put in place. It may be called after commit.
func (d *draft) discard() {
	if d.file != nil {
		_ = d.file.Close() // commit has looked at what may go wrong
	}
	if d.stage != nil {
		d.stage.close()
	}
	d.room.Release()
}

// Write adds content, as long as there is room for it.
func (d *draft) Write(p []byte) (int, error) {
	if err := d.reserve(int64(len(p))); err != nil {
		return 0, err
	}
	n, err := d.file.Write(p)
	d.size += int64(n)
	d.tree.root.metrics.written.Add(float64(n))
	if d.hash != nil {
		d.hash.Write(p[:n])
	}
	return n, err
}

// reserve makes sure that there is room for more bytes.
func (d *draft) reserve(more int64) error {
	size := d.size + more
	if err := d.tree.fits(size); err != nil {
		return err
	}
	if d.old != nil {
		size -= d.old.Size
	}
	return d.room.Cover(size)
}

// fits is the error if a file may not be as large.
func (t *tree) fits(size int64) error {
	if limit := t.settings.maxFileSize; limit > 0 && size > limit {
		return status.Errorf(codes.ResourceExhausted, "a file of more than %d bytes, which is the limit of the root %q (max_file_size)", limit, t.settings.name)
	}
	return nil
}

// commit puts the draft in the place of what is there, and says whether that was
// nothing.
func (d *draft) commit(ctx context.Context) (entry *filev1.Entry, created bool, err error) {
	if err := d.finish(); err != nil {
		return nil, false, d.tree.explain(d.asked, err)
	}
	dir, created, err := d.put(ctx)
	if err != nil {
		return nil, false, d.tree.explain(d.asked, err)
	}
	defer dir.Close()
	if d.sync {
		if err := d.tree.root.metrics.timeSync(dir.Sync); err != nil {
			return nil, false, d.tree.explain(d.asked, err)
		}
	}
	info, err := jail.Fstat(int(d.file.Fd()))
	if err != nil {
		return nil, false, d.tree.explain(d.asked, err)
	}
	return entryOf(d.target, info), created, nil
}

// finish makes the draft all that the file is going to be, on the disk if that is
// wanted. It takes long, and no lock.
func (d *draft) finish() error {
	if d.hash != nil && subtle.ConstantTimeCompare(d.hash.Sum(nil), d.sha256) != 1 {
		return d.tree.failf(codes.DataLoss, d.asked, "the content has the SHA-256 %x, the caller says %x; nothing was written", d.hash.Sum(nil), d.sha256)
	}
	if err := d.attributes(); err != nil {
		return err
	}
	// The clock of the file system stands still for some milliseconds, in which an
	// inode may be used twice: ours does not, and makes the etag another one.
	if err := d.stage.place.SetModified(d.stage.name, time.Now()); err != nil {
		return err
	}
	if !d.sync {
		return nil
	}
	return d.tree.root.metrics.timeSync(d.file.Sync)
}

// attributes gives the draft the mode and, where the system lets us, the owner of
// what it replaces.
func (d *draft) attributes() error {
	mode := uint32(0o644)
	if d.old != nil {
		mode = d.old.Permissions()
		mine, err := jail.Fstat(int(d.file.Fd()))
		if err != nil {
			return err
		}
		if mine.Owner != d.old.Owner || mine.Group != d.old.Group {
			_ = d.file.Chown(int(d.old.Owner), int(d.old.Group)) // only root may; the file is then ours
		}
	}
	if d.mode != nil {
		mode = *d.mode
	}
	return d.file.Chmod(os.FileMode(mode))
}

// put renames the draft. The directory is the caller's to close.
func (d *draft) put(ctx context.Context) (dir jail.Dir, created bool, err error) {
	t := d.tree
	release, err := t.share(ctx)
	if err != nil {
		return dir, false, err
	}
	defer release()
	unlock, err := t.paths.Lock(ctx, d.target)
	if err != nil {
		return dir, false, err
	}
	defer unlock()
	dir, made, err := t.parent(d.target, d.makeParents, d.lock)
	if err != nil {
		return dir, false, err
	}
	created, err = d.replace(ctx, dir)
	if err == nil && d.sync {
		err = t.syncIn(made)
	}
	if err != nil {
		dir.Close()
	}
	return dir, created, err
}

// replace renames the draft, with nobody of us changing the path meanwhile. Other
// programs may: if one does, it judges again.
func (d *draft) replace(ctx context.Context, dir jail.Dir) (created bool, err error) {
	name := lastPart(d.target)
	for range 100 {
		old, err := d.inTheWay(dir, name)
		if err != nil {
			return false, err
		}
		delta, files := d.size, int64(1)
		if old != nil {
			delta, files = d.size-old.Size, 0
		}
		if err := d.room.Cover(delta); err != nil {
			return false, err
		}
		again, err := d.rename(ctx, dir, name, old)
		if err != nil {
			return false, err
		}
		if !again {
			d.room.Settle(delta, files)
			return old == nil, nil
		}
	}
	return false, jail.ErrMoving
}

// inTheWay is what is there, if the draft may take its place.
func (d *draft) inTheWay(dir jail.Dir, name string) (*jail.Info, error) {
	info, err := dir.Stat(name)
	if errors.Is(err, unix.ENOENT) {
		return nil, d.judge(nil)
	}
	if err != nil {
		return nil, err
	}
	return &info, d.judge(&info)
}

// rename puts the draft in the place of old. Only one at a time renames in a
// directory: they would wait for each other anyway, in the kernel, with the
// directory locked to all others, while one of them waits for the journal. With 500
// callers in one directory of ext4 the slowest hundredth then takes half as long or
// less, at the same rate; several directories for temporary files gain nothing.
func (d *draft) rename(ctx context.Context, dir jail.Dir, name string, old *jail.Info) (again bool, err error) {
	parent, _ := jail.Split(d.target)
	unlock, err := d.tree.dirs.Lock(ctx, parent)
	if err != nil {
		return false, err
	}
	defer unlock()
	switch {
	case old == nil:
		err = d.stage.place.RenameNew(d.stage.name, dir, name)
		d.stage.empty = err == nil
		return errors.Is(err, unix.EEXIST), ignore(err, unix.EEXIST)
	case d.ifMatch != "" && d.ifMatch != "*":
		return d.exchange(dir, name, *old)
	}
	return false, d.overwrite(dir, name)
}

func (d *draft) overwrite(dir jail.Dir, name string) error {
	err := d.stage.place.Rename(d.stage.name, dir, name)
	d.stage.empty = err == nil
	return err
}

// exchange swaps the draft with the file that if_match means, which is then in the
// stage, to be removed with it. If another program has put a different one there
// since it was looked at, they are swapped back.
func (d *draft) exchange(dir jail.Dir, name string, old jail.Info) (again bool, err error) {
	place := d.stage.place
	err = place.Exchange(d.stage.name, dir, name)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) {
		return false, d.overwrite(dir, name) // where there is no such step, nobody else is guarded against
	}
	if err != nil {
		return errors.Is(err, unix.ENOENT), ignore(err, unix.ENOENT)
	}
	if out, err := place.Stat(d.stage.name); err == nil && out.SameContent(old) {
		return false, nil
	}
	err = place.Exchange(d.stage.name, dir, name)
	if errors.Is(err, unix.ENOENT) {
		// Somebody has removed the draft meanwhile. What is not ours goes back, unless
		// there is something by now.
		err = place.RenameNew(d.stage.name, dir, name)
		d.stage.empty = err == nil
		return false, errors.Join(jail.ErrMoving, ignore(err, unix.EEXIST))
	}
	return true, err
}

// ignore is err unless it is one that the caller deals with.
func ignore(err error, one error) error {
	if errors.Is(err, one) {
		return nil
	}
	return err
}
