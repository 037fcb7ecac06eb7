package files

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// box is a manager with one root "r" behind real gRPC.
type box struct {
	filev1.FileManagerClient
	t       testing.TB
	manager *Manager
	dir     string // of the root
}

// open starts a manager whose root "r" is a new directory, read and written.
func open(t testing.TB, change ...func(*filev1.Root)) *box {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	root := &filev1.Root{Path: dir, Mode: filev1.Mode_RW, Durability: filev1.Durability_NONE}
	for _, c := range change {
		c(root)
	}
	return serve(t, dir, &filev1.Config{Root: map[string]*filev1.Root{"r": root}})
}

func serve(t testing.TB, dir string, config *filev1.Config) *box {
	t.Helper()
	m := New()
	if err := m.Configure(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	const large = 64 << 20
	listener := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(large))
	filev1.RegisterFileManagerServer(server, m)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:x", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(large)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return &box{FileManagerClient: filev1.NewFileManagerClient(conn), t: t, manager: m, dir: dir}
}

// put writes a file past the manager.
func (b *box) put(path, content string) {
	b.t.Helper()
	put(b.t, b.dir, path, content)
}

func put(t testing.TB, dir, path, content string) {
	t.Helper()
	full := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// has fails the test unless a file has this content.
func (b *box) has(path, want string) {
	b.t.Helper()
	got, err := os.ReadFile(filepath.Join(b.dir, path))
	if err != nil || string(got) != want {
		b.t.Errorf("%s: got %.60q, %v, want %.60q", path, got, err, want)
	}
}

// lacks fails the test if there is something at a path.
func (b *box) lacks(path string) {
	b.t.Helper()
	if _, err := os.Lstat(filepath.Join(b.dir, path)); !os.IsNotExist(err) {
		b.t.Errorf("%s: got %v, want nothing to be there", path, err)
	}
}

// write writes a file through the manager.
func (b *box) write(path, content string, options ...func(*filev1.WriteOptions)) (*filev1.WriteFileResponse, error) {
	b.t.Helper()
	o := &filev1.WriteOptions{}
	for _, change := range options {
		change(o)
	}
	return b.WriteFile(b.t.Context(), &filev1.WriteFileRequest{Root: "r", Path: path, Content: []byte(content), Options: o})
}

// mustWrite is write that has to succeed.
func (b *box) mustWrite(path, content string, options ...func(*filev1.WriteOptions)) *filev1.Entry {
	b.t.Helper()
	response, err := b.write(path, content, options...)
	if err != nil {
		b.t.Fatal(err)
	}
	return response.GetEntry()
}

// noTemp fails the test if something is left in the temporary directory, or beside
// a target.
func (b *box) noTemp() {
	b.t.Helper()
	leftovers(b.t, b.dir)
}

func leftovers(t testing.TB, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if filepath.Base(filepath.Dir(path)) == tempDir && filepath.Base(filepath.Dir(filepath.Dir(path))) == stateDir || isBeside(filepath.Base(path)) {
			t.Errorf("left over: %s", strings.TrimPrefix(path, dir))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// wantCode fails the test unless err has a code and a text in its message.
func wantCode(t testing.TB, what string, err error, code codes.Code, text string) {
	t.Helper()
	if status.Code(err) != code || !strings.Contains(status.Convert(err).Message(), text) {
		t.Errorf("%s: got %v, want %v with %q", what, err, code, text)
	}
	if dir := os.TempDir(); err != nil && strings.Contains(err.Error(), dir+"/Test") {
		t.Errorf("%s: the error shows a path of this machine: %v", what, err)
	}
}

// usedOnDisk is the bytes and the number of the regular files, as the quota counts
// them.
func usedOnDisk(t testing.TB, dir string) (bytes, files int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, _ := filepath.Rel(dir, path)
		parts := strings.Split(inside, "/")
		if parts[0] == stateDir && (len(parts) < 4 || parts[1] != trashDir || parts[3] != trashContent) {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
			files++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes, files
}
