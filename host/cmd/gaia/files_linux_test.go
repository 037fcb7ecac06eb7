package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestEveryFileIsOldOrNewAfterAKillOfHostOrPlugin(t *testing.T) { killWriters(t, 6) }

func TestSlowEveryFileIsOldOrNewAfterThreeHundredKillsOfHostOrPlugin(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("three hundred kills: GAIA_SLOW=1")
	}
	killWriters(t, 300)
}

// killWriters kills the host, or the plugin, while files are written, round after
// round over the same files.
func killWriters(t *testing.T, rounds int) {
	t.Helper()
	dir := newHouse(t)
	files := make([]file, 6)
	for i := range files {
		files[i].name = "f" + strconv.Itoa(i)
	}
	hosts := 0
	for round := range rounds {
		victim := "plugin"
		if rand.IntN(2) == 0 {
			victim = "host"
			hosts++
		}
		t.Run(fmt.Sprintf("%d-%s", round, victim), func(t *testing.T) { killOnce(t, dir, victim, files) })
		if t.Failed() {
			return
		}
	}
	t.Logf("%d kills, %d of them of the host", rounds, hosts)
}

// file is one that is written again and again: a number, in decimal, a line each.
type file struct {
	name  string
	acked int // the last number whose write was answered
	tried int // the last that was sent
}

// content of a number has up to 200 KB.
func (f *file) content(number int) []byte {
	return bytes.Repeat([]byte(strconv.Itoa(number)+"\n"), 1+number*7919%30_000)
}

// check compares the file with what may be there.
func (f *file) check(t *testing.T, root string) {
	t.Helper()
	got, err := os.ReadFile(filepath.Join(root, f.name))
	if os.IsNotExist(err) && f.acked == 0 {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := bytes.Cut(got, []byte("\n"))
	number, err := strconv.Atoi(string(first))
	if err != nil || !bytes.Equal(got, f.content(number)) {
		t.Fatalf("%s is torn: %d bytes that begin with %.20q", f.name, len(got), got)
	}
	if number < f.acked || number > f.tried {
		t.Fatalf("%s has number %d, want one from %d, which was answered, to %d", f.name, number, f.acked, f.tried)
	}
}

// killOnce runs a host, looks at the files, and kills while they are written.
func killOnce(t *testing.T, dir, victim string, files []file) {
	t.Helper()
	root := filepath.Join(dir, "root")
	h := open(t, dir, fmt.Sprintf(`
host { http = "127.0.0.1:0" }
subsystem "files" {
  plugin = "gaia-file-manager"
  config {
    root "r" {
      path   = %q
      mode   = "rw"
      create = true
    }
  }
}`, root))
	s := h.await(t, "files", func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_READY })
	for i := range files {
		files[i].check(t, root)
	}
	if left, err := os.ReadDir(filepath.Join(root, ".gaia/tmp")); err == nil && len(left) > 0 {
		t.Errorf("%d temporary files are left", len(left))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := filev1.NewFileManagerClient(h.conn)
	var writers sync.WaitGroup
	for i := range files {
		writers.Go(func() { files[i].write(ctx, t, client) })
	}
	moment := time.NewTimer(time.Duration(rand.IntN(40_000)) * time.Microsecond)
	<-moment.C
	pid := int(s.GetPid())
	if victim == "host" {
		pid = h.cmd.Process.Pid
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if victim == "plugin" { // the next instance may have taken all calls
		moment.Reset(time.Duration(rand.IntN(100_000)) * time.Microsecond)
		<-moment.C
		cancel()
	}
	writers.Wait()
	if victim == "host" {
		if err := <-h.ended; err == nil {
			t.Error("the host ended well, and not by the signal")
		}
		if pid := int(s.GetPid()); !eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }) {
			t.Errorf("the plugin, process %d, still runs without its host", pid)
		}
	}
}

// write writes the file until a call is lost or cancelled.
func (f *file) write(ctx context.Context, t *testing.T, client filev1.FileManagerClient) {
	t.Helper()
	for {
		f.tried++
		_, err := client.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: f.name, Content: f.content(f.tried)})
		if err != nil {
			if code := status.Code(err); code != codes.Unavailable && code != codes.Canceled {
				t.Errorf("%s: got %v, want a write that is made, lost or cancelled", f.name, err)
			}
			return
		}
		f.acked = f.tried
	}
}
