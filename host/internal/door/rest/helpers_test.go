package rest_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(door.root, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(door.root, name))
	if err != nil {
		t.Error(err)
	}
	return string(content)
}

// fill makes a file of zeros that takes no room.
func fill(t testing.TB, name string, size int64) {
	t.Helper()
	path := filepath.Join(door.root, name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(path) })
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func metrics(t testing.TB) string {
	t.Helper()
	return ask(t, "GET", "/metrics", nil).body
}

// await polls until something holds.
func await(t testing.TB, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(wait)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it has not come to be")
		}
	}
}

// watchHeap looks at the heap until it is asked for the largest that it was.
func watchHeap(t testing.TB) (peak func() uint64) {
	t.Helper()
	var most atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapInuse))
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-stopped
		return most.Load()
	}
}
