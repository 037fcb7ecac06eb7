package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
)

func TestEveryFileIsOldOrNewAfterAKill(t *testing.T) { crash(t, 10) }

func TestSlowEveryFileIsOldOrNewAfterAThousandKills(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("a thousand kills: GAIA_SLOW=1")
	}
	crash(t, 1000)
}

// crash lets callers write files in all ways, kills the plugin at a random moment,
// and looks at what is there; round after round over the same files.
func crash(t *testing.T, rounds int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the plugin's process is found in /proc")
	}
	dir, binary := t.TempDir(), build(t)
	config := &filev1.Config{Root: map[string]*filev1.Root{"r": {Path: dir, Mode: filev1.Mode_RW, Quota: 1 << 30}}}
	w := &writers{dir: dir, acknowledged: map[string]uint64{}, appended: map[string]int{}}
	for round := range rounds {
		t.Run(strconv.Itoa(round), func(t *testing.T) {
			plugin := plugintest.Start(t, plugintest.Binary(binary), plugintest.Config(config))
			client := filev1.NewFileManagerClient(plugin.Conn())
			w.check(t, client)
			pid := processOf(t, binary)
			w.writeUntil(t, client, func() {
				moment := time.NewTimer(time.Duration(rand.IntN(60_000)) * time.Microsecond)
				<-moment.C
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			})
		})
		if t.Failed() {
			return
		}
	}
	plugin := plugintest.Start(t, plugintest.Binary(binary), plugintest.Config(config))
	w.check(t, filev1.NewFileManagerClient(plugin.Conn()))
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gaia-file-manager")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	return binary
}

// processOf is the child that runs a binary.
func processOf(t *testing.T, binary string) int {
	t.Helper()
	processes, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if exe, err := os.Readlink("/proc/" + p.Name() + "/exe"); err == nil && exe == binary {
			pid, err := strconv.Atoi(p.Name())
			if err == nil {
				return pid
			}
		}
	}
	t.Fatal("the plugin's process is not there")
	return 0
}

// writers write files whose content says whether it is whole: a number and a
// length, again and again.
type writers struct {
	dir string

	mu           sync.Mutex
	acknowledged map[string]uint64 // the last number of each file whose write was answered
	appended     map[string]int    // records whose append was answered
	next         uint64
}

const (
	perKind    = 4  // files of each kind
	recordSize = 16 // of content
)

// pattern is content of some records, all of them the same.
func pattern(number uint64, records int) []byte {
	record := binary.BigEndian.AppendUint64(nil, number)
	return bytes.Repeat(binary.BigEndian.AppendUint64(record, uint64(records)), records)
}

// number reads the number of a pattern: an error if the pattern is not whole.
func number(content []byte) (uint64, error) {
	if len(content) < recordSize {
		return 0, fmt.Errorf("%d bytes", len(content))
	}
	n, records := binary.BigEndian.Uint64(content), binary.BigEndian.Uint64(content[8:])
	if !bytes.Equal(content, pattern(n, int(records))) {
		return 0, fmt.Errorf("%d bytes that begin as number %d with %d records are torn", len(content), n, records)
	}
	return n, nil
}

func (w *writers) number() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	return w.next
}

// writeUntil lets writers of each kind write until their calls fail, which kill
// sees to.
func (w *writers) writeUntil(t *testing.T, client filev1.FileManagerClient, kill func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range perKind {
		for kind, write := range map[string]func(context.Context, filev1.FileManagerClient, string, uint64) error{
			"small": w.small, "cond": w.conditional, "stream": w.stream, "append": w.append, "copy": w.copyAndMove, "gone": w.remove,
		} {
			path := fmt.Sprintf("%s%d", kind, i)
			all.Go(func() {
				for n := w.number(); write(ctx, client, path, n) == nil; n = w.number() {
					if kind != "append" && kind != "gone" {
						w.mu.Lock()
						w.acknowledged[path] = n
						w.mu.Unlock()
					}
				}
			})
		}
	}
	kill()
	all.Wait()
	if ctx.Err() != nil {
		t.Error("calls did not end with the plugin")
	}
}

func (w *writers) small(ctx context.Context, client filev1.FileManagerClient, path string, n uint64) error {
	durability := filev1.Durability(1 + n%2)
	_, err := client.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: path, Content: pattern(n, rand.IntN(1000)+1), Options: &filev1.WriteOptions{Durability: durability}})
	return err
}

func (w *writers) conditional(ctx context.Context, client filev1.FileManagerClient, path string, n uint64) error {
	options := &filev1.WriteOptions{Durability: filev1.Durability_NONE}
	if found, err := client.Stat(ctx, &filev1.StatRequest{Root: "r", Path: path}); err == nil {
		options.IfMatch = found.GetEntry().GetEtag()
	}
	_, err := client.WriteFile(ctx, &filev1.WriteFileRequest{Root: "r", Path: path, Content: pattern(n, rand.IntN(1000)+1), Options: options})
	return err
}

func (w *writers) stream(ctx context.Context, client filev1.FileManagerClient, path string, n uint64) error {
	stream, err := client.Write(ctx)
	if err != nil {
		return err
	}
	content := pattern(n, 20_000)
	first := &filev1.WriteRequest{Root: "r", Path: path, Options: &filev1.WriteOptions{Durability: filev1.Durability_NONE}}
	for len(content) > 0 {
		size := min(len(content), 50_000)
		first.Content = content[:size]
		if err := stream.Send(first); err != nil {
			break
		}
		content, first = content[size:], &filev1.WriteRequest{}
	}
	_, err = stream.CloseAndRecv()
	return err
}

// append appends the same block each time, large enough to be cut in two by a kill.
func (w *writers) append(ctx context.Context, client filev1.FileManagerClient, path string, _ uint64) error {
	_, err := client.Append(ctx, &filev1.AppendRequest{Root: "r", Path: path, Content: pattern(7, 3000), Durability: filev1.Durability_NONE})
	if err == nil {
		w.mu.Lock()
		w.appended[path]++
		w.mu.Unlock()
	}
	return err
}

func (w *writers) copyAndMove(ctx context.Context, client filev1.FileManagerClient, path string, n uint64) error {
	if err := w.small(ctx, client, path+"-source", n); err != nil {
		return err
	}
	_, err := client.Copy(ctx, &filev1.CopyRequest{Root: "r", Path: path + "-source", ToPath: path + "-copy", Overwrite: true, Durability: filev1.Durability_NONE})
	if err != nil {
		return err
	}
	_, err = client.Move(ctx, &filev1.MoveRequest{Root: "r", Path: path + "-copy", ToPath: path, Overwrite: true, Durability: filev1.Durability_NONE})
	return err
}

// remove makes a directory with files, and removes it.
func (w *writers) remove(ctx context.Context, client filev1.FileManagerClient, path string, n uint64) error {
	for _, name := range []string{"/a", "/b/c"} {
		_, err := client.WriteFile(ctx, &filev1.WriteFileRequest{
			Root: "r", Path: path + name, Content: pattern(n, 100),
			Options: &filev1.WriteOptions{MakeParents: true, Durability: filev1.Durability_NONE},
		})
		if err != nil {
			return err
		}
	}
	_, err := client.Remove(ctx, &filev1.RemoveRequest{Root: "r", Path: path, Recursive: true, Durability: filev1.Durability_NONE})
	return err
}

// check looks at all files, and at what the plugin says of their size.
func (w *writers) check(t *testing.T, client filev1.FileManagerClient) {
	t.Helper()
	roots, err := client.Roots(t.Context(), &filev1.RootsRequest{}) // after this the files are counted
	if err != nil {
		t.Fatal(err)
	}
	w.awaitSweep(t)
	var bytes, count uint64
	err = filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(w.dir, path)
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasPrefix(name, ".gaia") {
			return nil
		}
		content, err := os.ReadFile(path) //nolint:gosec // G122: the test's own directory
		bytes, count = bytes+uint64(len(content)), count+1
		if err == nil {
			err = w.checkFile(name, content)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if r := roots.GetRoots()[0]; r.GetUsed() != bytes || r.GetFiles() != count {
		t.Errorf("used: got %d bytes in %d files, want %d in %d", r.GetUsed(), r.GetFiles(), bytes, count)
	}
	for path := range w.acknowledged {
		if _, err := os.Stat(filepath.Join(w.dir, path)); errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was written, and is gone", path)
		}
	}
}

// awaitSweep waits until nothing is left in the temporary directory: directories are
// removed behind the calls.
func (w *writers) awaitSweep(t *testing.T) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(10 * time.Second); ; <-ticker.C {
		left, err := os.ReadDir(filepath.Join(w.dir, ".gaia/tmp"))
		if err != nil || len(left) > 0 && time.Now().After(end) {
			t.Fatalf("left over: %v, %v", left, err)
		}
		if len(left) == 0 {
			return
		}
	}
}

func (w *writers) checkFile(name string, content []byte) error {
	if strings.HasPrefix(name, "append") {
		block := pattern(7, 3000)
		whole := len(content) / len(block)
		if len(content)%len(block) != 0 || !bytes.Equal(content, bytes.Repeat(block, whole)) || whole < w.appended[name] {
			return fmt.Errorf("%s has %d bytes, want at least %d whole blocks of %d", name, len(content), w.appended[name], len(block))
		}
		delete(w.appended, name)
		return os.Remove(filepath.Join(w.dir, name)) // so that it does not grow without end
	}
	n, err := number(content)
	if err == nil && n < w.acknowledged[name] {
		err = fmt.Errorf("has number %d, %d was written", n, w.acknowledged[name])
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
