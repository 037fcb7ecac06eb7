package client_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/gaia-go/gaia/sdk/client"
	"github.com/gaia-go/gaia/sdk/internal/peercred"
	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

const nobody = 65534

// Who puts a socket where a host's is expected would be told all that callers
// say.
func TestASocketOfAnotherUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	dir := proctest.LeavesNothing(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	lis, err := listenAs(nobody, path)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	for _, options := range [][]client.Option{nil, {client.WithoutLink()}} {
		conn, err := client.Dial(t.Context(), path, options...)
		if err == nil {
			conn.Close()
		}
		if want := fmt.Sprintf("belongs to user %d", nobody); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want that it %s", err, want)
		}
	}
}

// listenAs opens a socket as another user. The kernel keeps users by thread;
// this one ends with its goroutine.
func listenAs(uid int, path string) (lis net.Listener, err error) {
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		runtime.LockOSThread() // and never unlocked
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			err = errno
			return
		}
		lis, err = net.Listen("unix", path) //nolint:noctx // at once
	}()
	<-opened
	return lis, err
}

func TestHostsOfOurUserAndOfRootAreTrusted(t *testing.T) {
	for uid, want := range map[int]bool{os.Geteuid(): true, 0: true, os.Geteuid() + 1: false} {
		if err := (peercred.Peer{PID: 7, UID: uid}).SameUserOrRoot(); (err == nil) != want {
			t.Errorf("user %d: got %v", uid, err)
		}
	}
}
