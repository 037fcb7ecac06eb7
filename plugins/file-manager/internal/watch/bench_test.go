package watch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

var errEnd = errors.New("end")

// BenchmarkReady starts watches of a tree of 1,000 directories and 20,000 files.
func BenchmarkReady(b *testing.B) {
	dir := b.TempDir()
	for d := range 1000 {
		sub := filepath.Join(dir, fmt.Sprint(d%10), fmt.Sprint(d))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 20 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint(f)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	root, err := jail.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	hub := New(10_000)
	defer hub.Close()
	b.ReportAllocs()
	for b.Loop() {
		err := hub.Watch(b.Context(), root, Options{Path: ".", Recursive: true, Entry: entryOf}, func(*filev1.WatchResponse) error { return errEnd })
		if !errors.Is(err, errEnd) {
			b.Fatal(err)
		}
	}
}

// BenchmarkEvent changes a file and waits for the event, of which 10 ms are the time
// in which changes are collected.
func BenchmarkEvent(b *testing.B) {
	root, err := jail.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	hub := New(10)
	defer hub.Close()
	ctx, cancel := context.WithCancel(b.Context())
	events, ended := make(chan *filev1.WatchResponse), make(chan error, 1)
	go func() {
		ended <- hub.Watch(ctx, root, Options{Path: ".", Entry: entryOf}, func(r *filev1.WatchResponse) error {
			select {
			case events <- r:
			case <-ctx.Done():
			}
			return ctx.Err()
		})
	}()
	<-events
	for b.Loop() {
		if err := root.OS().WriteFile("f", []byte("x"), 0o644); err != nil {
			b.Fatal(err)
		}
		<-events
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		b.Error(err)
	}
}
