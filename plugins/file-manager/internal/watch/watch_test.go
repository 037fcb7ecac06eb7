package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// patience is how long a test waits for what has to happen.
const patience = 20 * time.Second

func entryOf(path string, info jail.Info) *filev1.Entry {
	e := &filev1.Entry{Path: path, Type: filev1.Type_OTHER, Mode: info.Permissions()}
	switch {
	case info.IsDir():
		e.Type = filev1.Type_DIRECTORY
		return e
	case info.IsFile():
		e.Type = filev1.Type_FILE
	case info.IsLink():
		e.Type = filev1.Type_SYMLINK
	}
	e.Size = uint64(info.Size)
	e.Modified = timestamppb.New(time.Unix(0, info.Modified))
	return e
}

// observer is a watch that runs, and the tree that its events describe.
type observer struct {
	t      *testing.T
	root   testRoot
	hub    *Hub
	events chan *filev1.WatchResponse
	cancel context.CancelFunc
	ended  chan error

	sequence uint64
	tree     map[string]string
	log      []string
}

// observe starts a watch and waits until it is ready.
func observe(t *testing.T, hub *Hub, root testRoot, o Options) *observer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v := &observer{
		t: t, root: root, hub: hub, events: make(chan *filev1.WatchResponse), cancel: cancel,
		ended: make(chan error, 1), tree: map[string]string{},
	}
	o.Entry = entryOf
	var group sync.WaitGroup
	group.Go(func() {
		v.ended <- hub.Watch(ctx, root.jail, o, func(r *filev1.WatchResponse) error {
			select {
			case v.events <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		group.Wait()
	})
	v.until("ready", func(r *filev1.WatchResponse) bool { return r.GetEvent() == filev1.Event_READY })
	return v
}

func newHub(t *testing.T, directories int) *Hub {
	t.Helper()
	hub := New(directories)
	t.Cleanup(func() {
		if hub.Watched() != 0 || hub.entries.Load() != 0 {
			t.Errorf("%d directories and %d entries are left", hub.Watched(), hub.entries.Load())
		}
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
	return hub
}

// testRoot is a directory, as it is watched and as a test changes it.
type testRoot struct {
	*os.Root

	jail *jail.Root
}

func openRoot(t *testing.T, dir string) testRoot {
	t.Helper()
	root, err := jail.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return testRoot{root.OS(), root}
}

func newRoot(t *testing.T) testRoot {
	t.Helper()
	return openRoot(t, t.TempDir())
}

// until takes events until one is as wanted.
func (v *observer) until(what string, wanted func(*filev1.WatchResponse) bool) {
	v.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case r := <-v.events:
			v.apply(r)
			if wanted(r) {
				return
			}
		case err := <-v.ended:
			v.t.Fatalf("the watch has ended before %s: %v\n%s", what, err, strings.Join(v.log, "\n"))
		case <-timeout.C:
			v.t.Fatalf("nothing more comes before %s; so far:\n%s", what, strings.Join(v.log, "\n"))
		}
	}
}

// apply does to the tree what an event says, and checks that it can be.
func (v *observer) apply(r *filev1.WatchResponse) {
	v.t.Helper()
	if v.sequence++; r.GetSequence() != v.sequence {
		v.t.Fatalf("sequence %d, want %d", r.GetSequence(), v.sequence)
	}
	v.log = append(v.log, fmt.Sprintf("%v %s", r.GetEvent(), r.GetPath()))
	_, there := v.tree[r.GetPath()]
	switch r.GetEvent() {
	case filev1.Event_CREATED, filev1.Event_CHANGED:
		if (r.GetEvent() == filev1.Event_CREATED) == there {
			v.t.Errorf("%v of %q, which was there: %v", r.GetEvent(), r.GetPath(), there)
		}
		v.tree[r.GetPath()] = describe(r.GetEntry())
	case filev1.Event_REMOVED:
		if !there {
			v.t.Errorf("REMOVED of %q, which was not there", r.GetPath())
		}
		delete(v.tree, r.GetPath())
	default:
	}
}

func describe(e *filev1.Entry) string {
	return fmt.Sprintf("%v %o %d %v", e.GetType(), e.GetMode(), e.GetSize(), e.GetModified().AsTime())
}

// expect waits for events such as "CREATED a", in any order and others between
// them allowed.
func (v *observer) expect(want ...string) {
	v.t.Helper()
	v.until(strings.Join(want, " and "), func(r *filev1.WatchResponse) bool {
		want = slices.DeleteFunc(want, func(one string) bool { return fmt.Sprintf("%v %s", r.GetEvent(), r.GetPath()) == one })
		return len(want) == 0
	})
}

// settle waits until all that was done before has been reported: the second file
// cannot be reported before what was done before the first.
func (v *observer) settle(dir string) {
	v.t.Helper()
	for i := range 2 {
		name := filepath.Join(dir, fmt.Sprintf("settle%d", i))
		v.write(name, "")
		v.expect("CREATED " + name)
	}
	for i := range 2 {
		name := filepath.Join(dir, fmt.Sprintf("settle%d", i))
		v.do(v.root.Remove(name))
		v.expect("REMOVED " + name)
	}
}

func (v *observer) do(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func (v *observer) write(name, text string) {
	v.t.Helper()
	v.do(v.root.WriteFile(name, []byte(text), 0o644))
}

// sameAsDisk compares what the events describe with what is there.
func (v *observer) sameAsDisk(below string) {
	v.t.Helper()
	want := map[string]string{}
	v.do(filepath.WalkDir(filepath.Join(v.root.Name(), below), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(v.root.Name(), path)
		if name != "." {
			want[name] = v.onDisk(name)
		}
		return nil
	}))
	if diff := cmp.Diff(want, v.tree); diff != "" {
		v.t.Fatalf("tree (-disk +events):\n%s\nlast events:\n%s", diff, strings.Join(v.log[max(0, len(v.log)-60):], "\n"))
	}
}

func (v *observer) onDisk(name string) string {
	v.t.Helper()
	parent, base := jail.Split(name)
	dir, err := v.root.jail.Dir(parent)
	v.do(err)
	defer dir.Close()
	info, err := dir.Stat(base)
	v.do(err)
	return describe(entryOf(name, info))
}

func TestChangesAreReported(t *testing.T) {
	v := observe(t, newHub(t, 100), newRoot(t), Options{Path: ".", Recursive: true})
	v.write("a", "1")
	v.expect("CREATED a")
	v.write("a", "22")
	v.expect("CHANGED a")
	v.do(v.root.Chmod("a", 0o600))
	v.expect("CHANGED a")
	v.do(v.root.Mkdir("d", 0o755))
	v.expect("CREATED d")
	v.do(v.root.Rename("a", "d/b"))
	v.expect("REMOVED a", "CREATED d/b")
	v.write("new", "3")
	v.expect("CREATED new")
	v.do(v.root.Rename("new", "d/b")) // as editors replace a file
	v.expect("CHANGED d/b")
	v.do(v.root.Symlink("..", "d/loop"))
	v.expect("CREATED d/loop")
	v.do(v.root.RemoveAll("d"))
	v.expect("REMOVED d/b", "REMOVED d/loop", "REMOVED d")
	v.settle(".")
	v.sameAsDisk(".")
}

func TestWhatIsThereIsReportedFirstOnRequest(t *testing.T) {
	hub, root := newHub(t, 100), newRoot(t)
	if err := errors.Join(root.MkdirAll("a/b", 0o755), root.WriteFile("a/b/c", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	v := observe(t, hub, root, Options{Path: ".", Recursive: true, Existing: true})
	want := []string{"CREATED a", "CREATED a/b", "CREATED a/b/c", "READY "}
	if diff := cmp.Diff(want, v.log); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if v := observe(t, hub, root, Options{Path: ".", Recursive: true}); len(v.log) != 1 {
		t.Errorf("without existing: %q", v.log)
	}
	if v := observe(t, hub, root, Options{Path: ".", Existing: true}); !slices.Equal(v.log, []string{"CREATED a", "READY "}) {
		t.Errorf("not recursive: %q", v.log)
	}
}

func TestDirectoriesThatAreNotRecursiveStayShut(t *testing.T) {
	v := observe(t, newHub(t, 1), newRoot(t), Options{Path: "."})
	v.do(v.root.Mkdir("d", 0o755))
	v.write("d/x", "")
	v.settle(".")
	if want := map[string]string{"d": v.tree["d"]}; !cmp.Equal(v.tree, want) {
		t.Errorf("tree %v, want d alone", v.tree)
	}
}

func TestAFileIsWatchedThroughReplacementAndRemoval(t *testing.T) {
	hub, root := newHub(t, 100), newRoot(t)
	if err := errors.Join(root.MkdirAll("a/b", 0o755), root.WriteFile("a/b/f", nil, 0o644), root.WriteFile("a/b/g", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	v := observe(t, hub, root, Options{Path: "a/b/f", Existing: true})
	v.write("a/b/f", "1")
	v.expect("CHANGED a/b/f")
	v.write("a/b/g", "other")
	v.do(root.Rename("a/b/g", "a/b/f"))
	v.expect("CHANGED a/b/f")
	v.do(root.RemoveAll("a"))
	v.expect("REMOVED a/b/f")
	v.do(root.MkdirAll("a/b", 0o755))
	v.write("a/b/f", "again")
	v.expect("CREATED a/b/f")
	v.do(root.Rename("a", "z"))
	v.expect("REMOVED a/b/f")
	v.do(root.Rename("z", "a"))
	v.expect("CREATED a/b/f")
}

func TestLinksAreReportedAndNotFollowed(t *testing.T) {
	hub, root := newHub(t, 100), newRoot(t)
	if err := errors.Join(root.Symlink(t.TempDir(), "out"), root.Symlink(".", "loop")); err != nil {
		t.Fatal(err)
	}
	v := observe(t, hub, root, Options{Path: ".", Recursive: true, Existing: true})
	if want := []string{"CREATED loop", "CREATED out", "READY "}; !slices.Equal(v.log, want) {
		t.Errorf("events %q, want %q", v.log, want)
	}
	if hub.Watched() != 1 {
		t.Errorf("%d directories are watched, want the root alone", hub.Watched())
	}
}

func TestAPathThatIsNotThereIsAnError(t *testing.T) {
	for _, path := range []string{"missing", "a/b"} {
		err := newHub(t, 100).Watch(t.Context(), newRoot(t).jail, Options{Path: path, Entry: entryOf}, nil)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want %v", path, err, fs.ErrNotExist)
		}
	}
}

func TestHiddenPathsAreNotReported(t *testing.T) {
	v := observe(t, newHub(t, 100), newRoot(t), Options{Path: ".", Recursive: true, Hidden: func(path string) bool { return filepath.Base(path) == "secret" }})
	v.do(v.root.MkdirAll("secret/deep", 0o755))
	v.do(v.root.MkdirAll("d", 0o755))
	v.write("secret/deep/f", "")
	v.write("d/secret", "")
	v.settle("d")
	if len(v.tree) != 1 {
		t.Errorf("tree %v, want d alone", v.tree)
	}
}

func TestTooManyDirectoriesEndAWatch(t *testing.T) {
	hub, root := newHub(t, 3), newRoot(t)
	if err := root.MkdirAll("a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	v := observe(t, hub, root, Options{Path: ".", Recursive: true})
	v.do(root.Mkdir("a/c", 0o755))
	v.expect("CREATED a/c")
	if err := <-v.ended; status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "max_watched") {
		t.Errorf("error %v, want one that names max_watched", err)
	}
}

func TestARootThatVanishesEndsAWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := openRoot(t, dir)
	check := func() error {
		if info, err := root.jail.Info(); err != nil || info.Links == 0 {
			return errVanished()
		}
		return nil
	}
	v := observe(t, newHub(t, 100), root, Options{Path: ".", Recursive: true, Check: check})
	v.do(os.RemoveAll(dir))
	if err := <-v.ended; status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want Unavailable", err)
	}
}

func TestAFileWrittenOftenIsReportedSeldomAndInItsLastState(t *testing.T) {
	v := observe(t, newHub(t, 100), newRoot(t), Options{Path: "."})
	file, err := v.root.Create("f")
	v.do(err)
	defer file.Close()
	for i := range 5000 {
		_, err := fmt.Fprintln(file, i)
		v.do(err)
	}
	v.settle(".")
	v.sameAsDisk(".")
	if len(v.log) > 1000 {
		t.Errorf("%d events for 5000 writes", len(v.log))
	}
}

func TestWatchesOfOneDirectoryDoNotDependOnEachOther(t *testing.T) {
	hub, root := newHub(t, 100), newRoot(t)
	if err := root.Mkdir("d", 0o755); err != nil {
		t.Fatal(err)
	}
	first := observe(t, hub, root, Options{Path: ".", Recursive: true})
	second := observe(t, hub, root, Options{Path: "d"})
	first.write("d/a", "")
	first.expect("CREATED d/a")
	second.expect("CREATED d/a")
	first.cancel()
	if err := <-first.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	second.write("d/b", "")
	second.expect("CREATED d/b")
}

func TestAnErrorOfTheCallerEndsAWatch(t *testing.T) {
	full := errors.New("full")
	err := newHub(t, 100).Watch(t.Context(), newRoot(t).jail, Options{Path: ".", Entry: entryOf}, func(*filev1.WatchResponse) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("error %v, want %v", err, full)
	}
}

func TestADirectoryThatMayNotBeReadLooksEmptyUntilItMay(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read all")
	}
	hub, root := newHub(t, 100), newRoot(t)
	if err := errors.Join(root.Mkdir("d", 0o755), root.WriteFile("d/f", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	v := observe(t, hub, root, Options{Path: ".", Recursive: true, Existing: true})
	v.do(root.Chmod("d", 0))
	v.expect("CHANGED d", "REMOVED d/f")
	if err := hub.Watch(t.Context(), root.jail, Options{Path: "d", Entry: entryOf}, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("watch it: %v, want %v", err, fs.ErrPermission)
	}
	v.do(root.Chmod("d", 0o755))
	v.expect("CHANGED d", "CREATED d/f")
	v.write("d/g", "")
	v.expect("CREATED d/g")
}
