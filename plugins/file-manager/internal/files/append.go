package files

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// page is what the kernel writes of a file in one step. An append within a page
// is never cut in two by a kill.
const page = 4096

// Append writes at the end of a file with one write.
func (m *Manager) Append(ctx context.Context, request *filev1.AppendRequest) (*filev1.AppendResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	if size, limit := int64(len(request.GetContent())), m.contentLimit(); size > limit {
		return nil, t.failf(codes.ResourceExhausted, request.GetPath(), "content of %d bytes, limit %d (max_content)", size, limit)
	}
	target, err := t.target(request.GetPath(), true)
	if err != nil {
		return nil, err
	}
	a := &appending{tree: t, request: request, target: target}
	for range 100 {
		response, err := a.toFile(ctx)
		if errors.Is(err, unix.ENOENT) {
			response, err = a.toNothing(ctx)
			if errors.Is(err, unix.EEXIST) {
				continue // somebody was faster
			}
		}
		return response, t.explain(request.GetPath(), err)
	}
	return nil, t.explain(request.GetPath(), jail.ErrMoving)
}

// appending is one append.
type appending struct {
	tree    *tree
	request *filev1.AppendRequest
	target  string
}

// toNothing makes the file: EEXIST if there is one by now.
func (a *appending) toNothing(ctx context.Context) (*filev1.AppendResponse, error) {
	if err := a.checkSize(0); err != nil {
		return nil, err
	}
	d, err := a.tree.newDraft(a.target, conditions{
		createOnly:  true,
		makeParents: a.request.GetMakeParents(),
		sync:        a.tree.sync(a.request.GetDurability()),
		lock:        a.request.GetLock(),
	})
	if err != nil {
		return nil, asExists(err)
	}
	defer d.discard()
	if _, err := d.Write(a.request.GetContent()); err != nil {
		return nil, err
	}
	entry, _, err := d.commit(ctx)
	if err != nil {
		return nil, asExists(err)
	}
	return &filev1.AppendResponse{Entry: entry}, nil
}

// asExists is EEXIST for the error of a draft that wants nothing to be there.
func asExists(err error) error {
	if status.Code(err) == codes.AlreadyExists {
		return unix.EEXIST
	}
	return err
}

// toFile appends to the file that is there: ENOENT if there is none.
func (a *appending) toFile(ctx context.Context) (*filev1.AppendResponse, error) {
	t := a.tree
	f, offset, err := a.write(ctx)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if t.sync(a.request.GetDurability()) {
		if err := t.root.metrics.timeSync(f.Sync); err != nil {
			return nil, err
		}
	}
	info, err := jail.Fstat(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	return &filev1.AppendResponse{Entry: entryOf(a.target, info), Offset: uint64(offset)}, nil //nolint:gosec // not negative
}

// write appends under the lock of the path, and says where. The file is the
// caller's to close.
func (a *appending) write(ctx context.Context) (f *os.File, offset int64, err error) {
	t := a.tree
	release, err := t.share(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer release()
	unlock, err := t.paths.Lock(ctx, a.target)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	parent, name := jail.Split(a.target)
	dir, err := t.jail.Dir(parent)
	if err != nil {
		return nil, 0, err
	}
	defer dir.Close()
	if f, err = dir.OpenToAppend(name); err != nil {
		return nil, 0, err
	}
	if offset, err = a.writeTo(f); err != nil {
		_ = f.Close() // writeTo has said what went wrong
		return nil, 0, err
	}
	return f, offset, nil
}

func (a *appending) writeTo(f *os.File) (offset int64, err error) {
	t, content := a.tree, a.request.GetContent()
	info, err := jail.Fstat(int(f.Fd()))
	if err != nil {
		return 0, err
	}
	if err := t.state.leases.Check(a.target, a.request.GetLock(), false, time.Now()); err != nil {
		return 0, err
	}
	if err := errors.Join(a.checkSize(info.Size), t.fits(info.Size+int64(len(content)))); err != nil {
		return 0, err
	}
	room := t.account.Reserve()
	defer room.Release()
	if err := room.Cover(int64(len(content))); err != nil {
		return 0, err
	}
	note, err := a.noteFor(info.Size)
	if err != nil {
		return 0, err
	}
	if note != "" {
		defer func() { err = errors.Join(err, t.state.temp.Remove(note)) }()
	}
	if _, err := f.Write(content); err != nil {
		return 0, errors.Join(err, f.Truncate(info.Size))
	}
	t.root.metrics.written.Add(float64(len(content)))
	room.Settle(int64(len(content)), 0)
	return info.Size, nil
}

// checkSize is the error if if_size asks for another size.
func (a *appending) checkSize(size int64) error {
	if a.request.IfSize == nil || int64(a.request.GetIfSize()) == size { //nolint:gosec // one that overflows is not equal to any
		return nil
	}
	a.tree.root.metrics.conflicts.Inc()
	return a.tree.failf(codes.Aborted, a.request.GetPath(), "the file has %d bytes, if_size wants %d", size, a.request.GetIfSize())
}

// Kinds of notes in the temporary directory.
const (
	noteBeside = "beside-"
	noteAppend = "append-"
)

// appendNote says how long a file was before an append that was not done yet.
type appendNote struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Append int64  `json:"append"`
}

// noteFor writes down what is needed to take back half of an append, if a kill can
// cut it in two.
func (a *appending) noteFor(size int64) (name string, err error) {
	n := int64(len(a.request.GetContent()))
	if n == 0 || size/page == (size+n-1)/page {
		return "", nil
	}
	return a.tree.state.note(noteAppend, appendNote{Path: a.target, Size: size, Append: n})
}

// undo does what a note of an instance that crashed says. What is no note needs
// nothing but to be removed.
func (s *state) undo(name string) error {
	switch {
	case strings.HasPrefix(name, noteAppend):
		return withNote(s, name, s.undoAppend)
	case strings.HasPrefix(name, noteBeside):
		return withNote(s, name, s.undoBeside)
	}
	return nil
}

// withNote reads a note. One that is cut short was written before anything else.
func withNote[T any](s *state, name string, undo func(T) error) error {
	f, err := s.temp.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var note T
	if json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(&note) != nil {
		return nil
	}
	if err := undo(note); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// undoAppend cuts off what was appended, unless it is all there.
func (s *state) undoAppend(note appendNote) error {
	parent, name := jail.Split(note.Path)
	dir, err := s.tree.jail.Dir(parent)
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := dir.OpenToAppend(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := jail.Fstat(int(f.Fd()))
	if err != nil || info.Size <= note.Size || info.Size >= note.Size+note.Append {
		return err
	}
	return f.Truncate(note.Size)
}

// undoBeside removes a draft that was not in the state directory.
func (s *state) undoBeside(note besideNote) error {
	if !isBeside(note.Name) || strings.Contains(note.Name, "/") {
		return nil
	}
	dir, err := s.tree.jail.Dir(note.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	_, err = removeAll(context.Background(), dir, note.Name) // of a copy it is a directory
	return err
}
