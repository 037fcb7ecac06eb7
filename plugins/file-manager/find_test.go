package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// startWith starts the plugin with a root that has some files.
func startWith(t *testing.T, files map[string]string) (client filev1.FileManagerClient, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plugin := plugintest.Start(t, plugintest.Config(&filev1.Config{
		Root:       map[string]*filev1.Root{"w": {Path: dir, Mode: filev1.Mode_RW, Deny: []string{"**/.env"}}},
		MaxWatched: 4,
	}))
	return filev1.NewFileManagerClient(plugin.Conn()), dir
}

// search returns "path:line:column:text" of the matches, and the summary.
func search(t *testing.T, client filev1.FileManagerClient, request *filev1.SearchRequest) ([]string, *filev1.SearchSummary, error) {
	t.Helper()
	request.Root = "w"
	stream, err := client.Search(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	var summary *filev1.SearchSummary
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return found, summary, nil
		}
		if err != nil {
			return found, nil, err
		}
		if summary != nil {
			t.Error("the summary was not in the last message")
		}
		if summary = response.GetSummary(); summary == nil {
			m := response.GetMatch()
			found = append(found, fmt.Sprintf("%s:%d:%d:%s", m.GetEntry().GetPath(), m.GetLine(), m.GetColumn(), m.GetText()))
		}
	}
}

func TestSearchFindsLinesThatCallersMaySee(t *testing.T) {
	client, _ := startWith(t, map[string]string{
		"a.go": "package a\n\nfunc Needle() {}\n", "sub/b.go": "needle", "sub/.env": "needle", "sub/b.log": "needle",
		".gitignore": "*.log", "bin": "needle\x00",
	})
	found, summary, err := search(t, client, &filev1.SearchRequest{Content: "needle", IgnoreCase: true, Gitignore: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a.go:3:6:func Needle() {}", "sub/b.go:1:1:needle"}, found); diff != "" {
		t.Errorf("matches (-want +got):\n%s", diff)
	}
	if summary.GetFiles() != 3 || summary.GetSkipped() != 1 || summary.GetTruncated() {
		t.Errorf("summary %v, want 3 files, 1 skipped", summary)
	}
	found, _, err = search(t, client, &filev1.SearchRequest{Path: "sub", Glob: []string{"*.{go,env}", ".env"}})
	if err != nil || !cmp.Equal(found, []string{"sub/b.go:0:0:"}) {
		t.Errorf("names: %q, %v", found, err)
	}
}

func TestWhereToSearchAndWatchIsChecked(t *testing.T) {
	client, dir := startWith(t, map[string]string{"f": "", "d/.env": ""})
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]codes.Code{
		"missing": codes.NotFound, "../x": codes.InvalidArgument, "out": codes.PermissionDenied, "d/.env": codes.NotFound,
	} {
		if _, _, err := search(t, client, &filev1.SearchRequest{Path: path}); status.Code(err) != want {
			t.Errorf("search %s: %v, want %v", path, err, want)
		}
		stream, err := client.Watch(t.Context(), &filev1.WatchRequest{Root: "w", Path: path})
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != want {
			t.Errorf("watch %s: %v, want %v", path, err, want)
		}
	}
	if _, _, err := search(t, client, &filev1.SearchRequest{Path: "f"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("search in a file: %v, want FailedPrecondition", err)
	}
	if _, _, err := search(t, client, &filev1.SearchRequest{Content: "("}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("bad content: %v, want InvalidArgument", err)
	}
}

// events is a watch that takes events one at a time.
type events struct {
	t      *testing.T
	stream interface {
		Recv() (*filev1.WatchResponse, error)
	}
	sequence uint64
}

func watchAll(ctx context.Context, t *testing.T, client filev1.FileManagerClient) *events {
	t.Helper()
	stream, err := client.Watch(ctx, &filev1.WatchRequest{Root: "w", Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	e := &events{t: t, stream: stream}
	e.next("READY ")
	return e
}

// next takes events until one is as wanted.
func (e *events) next(want string) *filev1.WatchResponse {
	e.t.Helper()
	for {
		got, err := e.stream.Recv()
		if err != nil {
			e.t.Fatalf("before %s: %v", want, err)
		}
		if e.sequence++; got.GetSequence() != e.sequence {
			e.t.Errorf("sequence %d, want %d", got.GetSequence(), e.sequence)
		}
		if fmt.Sprintf("%v %s", got.GetEvent(), got.GetPath()) == want {
			return got
		}
	}
}

func TestWatchReportsWhatCallersDoWithItsEtag(t *testing.T) {
	client, dir := startWith(t, map[string]string{"d/f": "old"})
	watch := watchAll(t.Context(), t, client)
	written, err := client.WriteFile(t.Context(), &filev1.WriteFileRequest{Root: "w", Path: "d/f", Content: []byte("new")})
	if err != nil {
		t.Fatal(err)
	}
	if got := watch.next("CHANGED d/f"); got.GetEntry().GetEtag() != written.GetEntry().GetEtag() {
		t.Errorf("etag %q, want %q as the write has returned", got.GetEntry().GetEtag(), written.GetEntry().GetEtag())
	}
	if _, err := client.Move(t.Context(), &filev1.MoveRequest{Root: "w", Path: "d", ToPath: "e"}); err != nil {
		t.Fatal(err)
	}
	watch.next("REMOVED d")
	if err := os.WriteFile(filepath.Join(dir, "e", ".env"), nil, 0o600); err != nil { // which nobody is told of
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "e", "g"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	watch.next("CREATED e/g")
}

func TestDirectoriesAreFreeWhenAWatcherLeaves(t *testing.T) {
	client, dir := startWith(t, map[string]string{"a/f": "", "b/f": ""})
	ctx, leave := context.WithCancel(t.Context())
	first := watchAll(ctx, t, client) // three directories of four
	stream, err := client.Watch(t.Context(), &filev1.WatchRequest{Root: "w", Recursive: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "max_watched") {
		t.Errorf("second watch: %v, want ResourceExhausted that names max_watched", err)
	}
	leave()
	if _, err := first.stream.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("after leaving: %v", err)
	}
	for { // until the plugin has seen that the caller is gone
		stream, err := client.Watch(t.Context(), &filev1.WatchRequest{Root: "w", Recursive: true})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Recv(); err == nil && got.GetEvent() == filev1.Event_READY {
			break
		} else if status.Code(err) != codes.ResourceExhausted {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestAWatchEndsWhenTheRootVanishes(t *testing.T) {
	client, dir := startWith(t, map[string]string{"f": ""})
	watch := watchAll(t.Context(), t, client)
	if err := os.Rename(dir, dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir + "-moved") })
	if _, err := watch.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("error %v, want Unavailable", err)
	}
}
