package files

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// stage is a name under which something new is made before a rename puts it in
// its place: in the state directory if a rename leads from there, else beside the
// place.
type stage struct {
	tree  *tree
	place jail.Dir
	name  string
	note  string // in the state directory, if the stage is not
	empty bool   // nothing is left under the name
}

// besideNote says where a stage is that is not in the state directory.
type besideNote struct {
	Dir  string `json:"dir"`
	Name string `json:"name"`
}

// newStage finds a stage for what is to be at target, of which dir is the nearest
// directory that is there. lock is the caller's token. The caller closes it.
func (t *tree) newStage(target string, dir jail.Dir, makeParents bool, lock string) (*stage, error) {
	s := &stage{tree: t, place: t.state.temp, name: rand.Text()}
	if t.state.temp.SameMount(dir) {
		return s, nil
	}
	place, _, err := t.parent(target, makeParents, lock)
	if err != nil {
		return nil, err
	}
	s.place, s.name = place, besidePrefix+s.name+besideSuffix
	parent, _ := jail.Split(target)
	if s.note, err = t.state.note(noteBeside, besideNote{Dir: parent, Name: s.name}); err != nil {
		place.Close()
		return nil, err
	}
	return s, nil
}

// close removes what is left under the name.
func (s *stage) close() {
	if !s.empty {
		// The name is swept at the next start if this fails.
		_, _ = removeAll(context.Background(), s.place, s.name)
	}
	if s.note != "" {
		_ = s.tree.state.temp.Remove(s.note)
		s.place.Close()
	}
}

// note writes something down in the state directory that is needed after a crash,
// under a name with the prefix of its kind. The caller removes it.
func (s *state) note(kind string, what any) (name string, err error) {
	text, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	name = kind + rand.Text()
	f, err := s.temp.Create(name, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, s.temp.Remove(name))
	}
	return name, nil
}

// nearest opens the directory that a path is in, or with makeParents the nearest
// one above that is there. The caller closes it.
func (t *tree) nearest(path string, makeParents bool) (dir jail.Dir, exact bool, err error) {
	parent, _ := jail.Split(path)
	dir, err = t.jail.Dir(parent)
	if errors.Is(err, unix.ENOENT) && !makeParents {
		return dir, false, t.noParent(parent)
	}
	exact = err == nil
	for errors.Is(err, unix.ENOENT) && parent != "." {
		parent, _ = jail.Split(parent)
		dir, err = t.jail.Dir(parent)
	}
	return dir, exact, err
}

// parent opens the directory that a path is in. With makeParents it makes those
// that are missing, unless they are locked and lock is not the token, and says in
// which directories it has made one. The caller closes the directory.
func (t *tree) parent(path string, makeParents bool, lock string) (dir jail.Dir, madeIn []string, err error) {
	parent, _ := jail.Split(path)
	dir, err = t.jail.Dir(parent)
	if !errors.Is(err, unix.ENOENT) {
		return dir, nil, err
	}
	if !makeParents || parent == "." {
		return dir, nil, t.noParent(parent)
	}
	if err := t.state.leases.Enter(parent, lock, false, time.Now()); err != nil {
		return dir, nil, err
	}
	above, madeIn, err := t.parent(parent, true, lock)
	if err != nil {
		return dir, nil, err
	}
	defer above.Close()
	name := lastPart(parent)
	if err := above.Mkdir(name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return dir, nil, err
	}
	grand, _ := jail.Split(parent)
	dir, err = above.Dir(name)
	return dir, append(madeIn, grand), err
}

func (t *tree) noParent(parent string) error {
	if parent == "." || !t.isAt(t.settings.path) {
		return unix.ENOENT // explain says that the root has vanished
	}
	return t.failf(codes.NotFound, parent, "the directory does not exist; make it first, or set make_parents")
}

// syncIn brings what was made in directories to the disk.
func (t *tree) syncIn(paths []string) error {
	for _, path := range paths {
		dir, err := t.jail.Dir(path)
		if err != nil {
			return err
		}
		err = t.root.metrics.timeSync(dir.Sync)
		dir.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func lastPart(path string) string {
	_, name := jail.Split(path)
	return name
}
