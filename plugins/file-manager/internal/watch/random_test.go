package watch

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

// mutator changes a tree at random. What cannot be done is not done.
type mutator struct {
	random *rand.Rand
	root   *os.Root
}

// name picks a path of few names, so that things meet.
func (m *mutator) name() string {
	parts := make([]string, 1+m.random.IntN(4))
	for i := range parts {
		parts[i] = string(rune('a' + m.random.IntN(4)))
	}
	return path.Join(parts...)
}

func (m *mutator) change() {
	a, b := m.name(), m.name()
	switch m.random.IntN(12) {
	case 0, 1, 2:
		_ = m.root.MkdirAll(a, 0o755)
	case 3, 4, 5:
		_ = m.root.WriteFile(a, make([]byte, m.random.IntN(100)), 0o644)
	case 6:
		if f, err := m.root.OpenFile(a, os.O_WRONLY|os.O_APPEND, 0); err == nil {
			_, _ = f.Write([]byte("more"))
			f.Close()
		}
	case 7:
		_ = m.root.RemoveAll(a)
	case 8, 9:
		_ = m.root.Rename(a, b)
	case 10:
		_ = m.root.Chmod(a, fs.FileMode(0o700|m.random.IntN(64)))
	case 11:
		_ = m.root.Symlink(path.Base(b), a)
	}
}

// stir changes the tree and takes events meanwhile.
func (v *observer) stir(random *rand.Rand, changes int) {
	v.t.Helper()
	var group sync.WaitGroup
	done := make(chan struct{})
	group.Go(func() {
		defer close(done)
		m := mutator{random, v.root.Root}
		for range changes {
			m.change()
		}
	})
	defer group.Wait()
	for {
		select {
		case r := <-v.events:
			v.apply(r)
		case err := <-v.ended:
			v.t.Fatal(err)
		case <-done:
			return
		}
	}
}

func TestEventsDescribeATreeThatChangesAtRandom(t *testing.T) {
	for _, bound := range []int{defaultPending, 3} { // the latter overflows all the time
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("pending %d seed %d", bound, seed), func(t *testing.T) {
				t.Parallel()
				hub, root := newHub(t, 1000), newRoot(t)
				hub.pending = bound
				random := rand.New(rand.NewPCG(seed, uint64(bound)))
				m := mutator{random, root.Root}
				for range 100 {
					m.change()
				}
				v := observe(t, hub, root, Options{Path: ".", Recursive: true, Existing: true})
				for range 8 {
					v.stir(random, 300)
					v.settle(".")
					v.sameAsDisk(".")
				}
				if overflows := hub.Overflows(); (overflows > 0) != (bound == 3) {
					t.Errorf("%d overflows", overflows)
				}
			})
		}
	}
}

func TestASubtreeOfATreeThatChangesAtRandomIsDescribed(t *testing.T) {
	hub, root := newHub(t, 1000), newRoot(t)
	random := rand.New(rand.NewPCG(7, 7))
	if err := root.MkdirAll("a/b", 0o755); err != nil {
		t.Fatal(err)
	}
	v := observe(t, hub, root, Options{Path: "a/b", Recursive: true, Existing: true})
	for range 8 {
		v.stir(random, 300)
		v.do(root.RemoveAll("a")) // it may have become anything
		v.do(root.MkdirAll("a/b/d", 0o755))
		v.settle("a/b")
		v.sameAsBelow("a/b")
	}
}

// sameAsBelow compares what is at and below a directory.
func (v *observer) sameAsBelow(dir string) {
	v.t.Helper()
	want := 0
	v.do(filepath.WalkDir(filepath.Join(v.root.Name(), dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(v.root.Name(), path)
		if want++; v.tree[name] != v.onDisk(name) {
			v.t.Errorf("%s is %q, on disk %q", name, v.tree[name], v.onDisk(name))
		}
		return nil
	}))
	if want != len(v.tree) {
		v.t.Fatalf("%d paths, on disk %d; last events:\n%s", len(v.tree), want, strings.Join(v.log[max(0, len(v.log)-60):], "\n"))
	}
}

func TestACallerWhoIsSlowIsToldOfTheOverflowAndOfTheLastState(t *testing.T) {
	hub, root := newHub(t, 1000), newRoot(t)
	hub.pending = 50
	v := observe(t, hub, root, Options{Path: ".", Recursive: true})
	v.write("first", "") // the watch waits for somebody to take its event
	for i := range 500 {
		v.write(fmt.Sprintf("f%d", i), "x")
	}
	v.until("OVERFLOW", func(r *filev1.WatchResponse) bool { return r.GetEvent() == filev1.Event_OVERFLOW })
	v.settle(".")
	v.sameAsDisk(".")
}
