package files

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
)

// Every call that takes a path treats a bad one in the same way.
func TestABadPathIsAClearErrorOfEveryCall(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Deny = []string{"**/.env", "secret"} })
	b.put("f", "content")
	b.put(".env", "denied")
	b.put("secret/x", "denied")
	b.put("../outside", "outside")
	for name, target := range map[string]string{"out": "..", "loop": "loop", "dangling": "nothing", "abs": "/etc", "to-env": ".env", "to-state": stateDir} {
		if err := os.Symlink(target, filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(b.dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", shortSocket(t, b.dir))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	device := unix.Mknod(filepath.Join(b.dir, "null"), unix.S_IFCHR|0o666, 1<<8|3) == nil

	type want struct{ read, change codes.Code }
	both := func(c codes.Code) want { return want{c, c} }
	paths := map[string]want{
		"/f":                     both(codes.InvalidArgument),
		"../outside":             both(codes.InvalidArgument),
		"a/../f":                 both(codes.InvalidArgument),
		"a\x00b":                 both(codes.InvalidArgument),
		"a//b":                   both(codes.InvalidArgument),
		strings.Repeat("x", 256): both(codes.InvalidArgument),
		"out/outside":            both(codes.PermissionDenied),
		"abs/passwd":             both(codes.PermissionDenied),
		"loop":                   both(codes.FailedPrecondition),
		"dangling":               both(codes.NotFound),
		"f/x":                    both(codes.FailedPrecondition),
		"no/thing":               both(codes.NotFound),
		".env":                   {codes.NotFound, codes.PermissionDenied},
		"secret/x":               {codes.NotFound, codes.PermissionDenied},
		"to-env":                 {codes.NotFound, codes.PermissionDenied},
		".gaia/lock":             {codes.NotFound, codes.PermissionDenied},
		".GAIA/lock":             {codes.NotFound, codes.PermissionDenied},
		"to-state/lock":          {codes.NotFound, codes.PermissionDenied},
		".gaia-x.tmp":            {codes.NotFound, codes.PermissionDenied},
		"a/.Gaia-x.TMP/y":        {codes.NotFound, codes.PermissionDenied},
		"fifo":                   both(codes.FailedPrecondition),
		"socket":                 both(codes.FailedPrecondition),
		".":                      {codes.FailedPrecondition, codes.InvalidArgument},
	}
	if device {
		paths["null"] = both(codes.FailedPrecondition)
	}
	for path, want := range paths {
		for call, err := range b.reads(path) {
			wantCode(t, call+" "+path, err, want.read, "")
		}
		for call, err := range b.changes(path) {
			wantCode(t, call+" "+path, err, want.change, "")
		}
	}
	b.has("../outside", "outside")
	b.has(".env", "denied")
	b.has("f", "content")
	b.noTemp()
}

func shortSocket(t *testing.T, dir string) string {
	t.Helper()
	short, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(short, "d")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	return filepath.Join(link, "socket")
}

// reads are the errors of all calls that read a file.
func (b *box) reads(path string) map[string]error {
	b.t.Helper()
	ctx, errs := b.t.Context(), map[string]error{}
	_, errs["ReadFile"] = b.ReadFile(ctx, &filev1.ReadFileRequest{Root: "r", Path: path})
	_, errs["Hash"] = b.Hash(ctx, &filev1.HashRequest{Root: "r", Path: path})
	stream, err := b.Read(ctx, &filev1.ReadRequest{Root: "r", Path: path})
	if err == nil {
		_, err = stream.Recv()
	}
	errs["Read"] = err
	return errs
}

// changes are the errors of all calls that change a file.
func (b *box) changes(path string) map[string]error {
	b.t.Helper()
	ctx, errs := b.t.Context(), map[string]error{}
	_, errs["WriteFile"] = b.write(path, "x")
	_, errs["Append"] = b.Append(ctx, &filev1.AppendRequest{Root: "r", Path: path, Content: []byte("x")})
	_, errs["Copy"] = b.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: "f", ToPath: path, Overwrite: true})
	stream, err := b.Write(ctx)
	if err == nil {
		err = stream.Send(&filev1.WriteRequest{Root: "r", Path: path, Content: []byte("x")})
	}
	if err == nil || errors.Is(err, io.EOF) {
		_, err = stream.CloseAndRecv()
	}
	errs["Write"] = err
	return errs
}

func TestARootThatIsNotThereAnswersUnavailableAndHeals(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Create = true }) // only at the start
	b.put("f", "1")
	if err := os.Rename(b.dir, b.dir+"-away"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Unavailable", func() bool {
		_, err := b.Stat(t.Context(), &filev1.StatRequest{Root: "r", Path: "f"})
		return err != nil
	})
	for call, err := range b.reads("f") {
		wantCode(t, call, err, codes.Unavailable, "its directory is not there")
	}
	for call, err := range b.changes("f") {
		wantCode(t, call, err, codes.Unavailable, "its directory is not there")
	}
	roots, err := b.Roots(t.Context(), &filev1.RootsRequest{})
	if err != nil || roots.GetRoots()[0].GetProblem() == "" {
		t.Errorf("Roots: got %v, %v, want a problem", roots, err)
	}
	if err := os.Mkdir(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b.put("f", "2")
	got, err := b.ReadFile(t.Context(), &filev1.ReadFileRequest{Root: "r", Path: "f"})
	if err != nil || string(got.GetContent()) != "2" {
		t.Errorf("after it came back: got %q, %v, want 2", got.GetContent(), err)
	}
	b.mustWrite("g", "3")
	b.has("g", "3")
}

func TestARootRemovedForGoodIsUnavailableAtOnce(t *testing.T) {
	b := open(t)
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	for call, err := range b.changes("f") {
		wantCode(t, call, err, codes.Unavailable, "its directory is not there")
	}
	for call, err := range b.reads("f") {
		wantCode(t, call, err, codes.Unavailable, "its directory is not there")
	}
}

func TestAReadOnlyRootIsReadAndNotChanged(t *testing.T) {
	b := open(t, func(r *filev1.Root) { r.Mode = filev1.Mode_RO })
	b.put("f", "1")
	for call, err := range b.reads("f") {
		wantCode(t, call, err, codes.OK, "")
	}
	for call, err := range b.changes("f") {
		wantCode(t, call, err, codes.PermissionDenied, "read-only")
	}
	b.lacks(stateDir)
}
