package files

import (
	"context"
	"errors"
	"io"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestSearchesAndWatchesAreCounted(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "d/f", "needle")
	put(t, dir, "d/binary", "needle\x00")
	b := serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW}}})
	search, err := b.Search(t.Context(), &filev1.SearchRequest{Root: "r", Content: "needle"})
	for err == nil {
		_, err = search.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	watch, err := b.Watch(ctx, &filev1.WatchRequest{Root: "r", Recursive: true, Existing: true})
	for range 4 { // d, d/binary, d/f and READY
		if err == nil {
			_, err = watch.Recv()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	got := gather(t, b.manager)
	for name, want := range map[string]float64{
		"gaia_file_searched_total": 1, "gaia_file_search_skipped_total": 1,
		"gaia_file_watched_directories": 2, "gaia_file_watch_events_total": 4, "gaia_file_watch_overflows_total": 0,
	} {
		if got[name] != want {
			t.Errorf("%s: got %v, want %v", name, got[name], want)
		}
	}
	leave()
	if _, err := watch.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("after leaving: got %v, want Canceled", err)
	}
}
