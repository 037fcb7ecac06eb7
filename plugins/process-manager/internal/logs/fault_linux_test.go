package logs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fullDisk is a file system of 4 MiB with a file that fills it.
func fullDisk(t *testing.T) (dir, filler string) {
	t.Helper()
	dir = t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler = filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 3700<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, filler
}

func isFull(l *Log) func() bool {
	return func() bool { return errors.Is(l.Fault(), syscall.ENOSPC) }
}

func TestAFullDiskLosesNothing(t *testing.T) {
	for _, slow := range []Slow{Block, Spill} {
		dir, filler := fullDisk(t)
		l := openLog(t, NewStore(dir, 0), Policy{SegmentSize: 100_000, MaxSize: 1 << 30, WhenSlow: slow})
		w, wait := capturing(t.Context(), t, l)
		want := bytes.Repeat([]byte("0123456789abcde\n"), 800<<10/16)
		written := make(chan error, 1)
		go func() {
			_, err := w.Write(want)
			written <- errors.Join(err, w.Close())
		}()
		waitFor(t, "the fault", isFull(l))
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(<-written, wait()); err != nil {
			t.Fatal(err)
		}
		if got, _ := read(t, l, From{}); got != string(want) {
			t.Errorf("policy %d: read %d bytes of %d", slow, len(got), len(want))
		}
		if err := l.Fault(); err != nil {
			t.Errorf("still: %v", err)
		}
	}
}

func TestAWriteWaitsForAFullDisk(t *testing.T) {
	dir, filler := fullDisk(t)
	l := openLog(t, NewStore(dir, 0), Policy{SegmentSize: 100_000, MaxSize: 1 << 30})
	want := bytes.Repeat([]byte("0123456789abcde\n"), 500<<10/16)
	done := make(chan error, 1)
	go func() {
		_, err := l.Write(want)
		done <- err
	}()
	waitFor(t, "the fault", isFull(l))
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, l, From{}); got != string(want) {
		t.Errorf("read %d bytes of %d", len(got), len(want))
	}
}

// TestWhatAFullDiskDropsIsCountedWhereItIsMissing checks that a process with Drop never
// waits, and that what the log says and what it has add up to what was written.
func TestWhatAFullDiskDropsIsCountedWhereItIsMissing(t *testing.T) {
	dir, filler := fullDisk(t)
	store := NewStore(dir, 0)
	l := openLog(t, store, Policy{SegmentSize: 100_000, MaxSize: 1 << 30, WhenSlow: Drop})
	w, wait := capturing(t.Context(), t, l)
	block := bytes.Repeat([]byte("0123456789abcde\n"), 4096/16)
	blocks := 0
	pour := func(n int) {
		for range n {
			if _, err := w.Write(block); err != nil {
				t.Fatal(err)
			}
			blocks++
		}
	}
	for l.dropSoFar() == 0 || l.Fault() == nil {
		pour(100)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "room", func() bool { return readDropped(l.dir) > 0 })
	pour(1)
	w.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	got, dropped := checkDropped(t, l, blocks*len(block))
	if !strings.HasSuffix(got, string(block)) {
		t.Errorf("the end is missing: %.100q", got[max(0, len(got)-100):])
	}
	l.Close()
	if l = openLog(t, store, Policy{}); l.dropSoFar() != dropped {
		t.Errorf("%d bytes counted after a restart", l.dropSoFar())
	}
}

// checkDropped checks that what a log has, and what it says to have dropped, add up to
// what was written.
func checkDropped(t *testing.T, l *Log, written int) (content string, dropped int64) {
	t.Helper()
	content, _ = read(t, l, From{})
	notice := regexp.MustCompile(`\n\[gaia: (\d+) bytes dropped\]\n`)
	kept := len(notice.ReplaceAllString(content, ""))
	for _, m := range notice.FindAllStringSubmatch(content, -1) {
		n, _ := strconv.ParseInt(m[1], 10, 64)
		dropped += n
	}
	if int64(kept)+dropped != int64(written) || dropped == 0 {
		t.Errorf("%d bytes kept and %d said to be dropped of %d", kept, dropped, written)
	}
	if got := l.dropSoFar(); got != dropped {
		t.Errorf("%d bytes counted, %d said", got, dropped)
	}
	return content, dropped
}

// TestAStalledDiskHoldsUpNobodyWithDrop has a disk that does not answer: what writes to
// it holds the pen, and so does the test.
func TestAStalledDiskHoldsUpNobodyWithDrop(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{WhenSlow: Drop})
	w, wait := capturing(t.Context(), t, l)
	l.pen.Lock()
	const written = 8 << 20
	_, err := w.Write(make([]byte, written))
	l.pen.Unlock()
	w.Close()
	if err := errors.Join(err, wait()); err != nil {
		t.Fatal(err)
	}
	checkDropped(t, l, written)
}

func (l *Log) dropSoFar() int64 {
	_, _, dropped := l.Bounds()
	return dropped
}

func TestADeletedDirectoryIsMadeAgain(t *testing.T) {
	root := filepath.Join(t.TempDir(), "logs")
	l := openLog(t, NewStore(root, 0), Policy{})
	write(t, l, "gone\n")
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	w, wait := capturing(t.Context(), t, l)
	waitFor(t, "the directory", func() bool {
		if _, err := w.WriteString("x\n"); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(l.dir)
		return err == nil
	})
	if _, err := w.WriteString("end\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	got, first := read(t, l, From{})
	if !strings.HasSuffix(got, "x\nend\n") || first.Missing < 5 || first.Missing != first.Offset {
		t.Errorf("read %q, %d missing before %d", got, first.Missing, first.Offset)
	}
	l.Close()
	if l = openLog(t, NewStore(root, 0), Policy{}); l.size != first.Offset+int64(len(got)) {
		t.Errorf("opened again it ends at %d", l.size)
	}
}

// TestADirectoryThatCannotBeUsedIsTriedAgain puts a file in its place.
func TestADirectoryThatCannotBeUsedIsTriedAgain(t *testing.T) {
	root := filepath.Join(t.TempDir(), "logs")
	l := openLog(t, NewStore(root, 0), Policy{})
	write(t, l, "gone\n")
	if err := errors.Join(os.RemoveAll(root), os.WriteFile(root, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	w, wait := capturing(t.Context(), t, l)
	waitFor(t, "the fault", func() bool {
		if l.Fault() != nil {
			return true
		}
		_, err := w.WriteString("x\n")
		return err != nil
	})
	if _, err := w.WriteString("kept\n"); err != nil {
		t.Fatal(err)
	}
	var got []byte
	done := make(chan error, 1)
	go func() { // a follower spins not, and ends not
		done <- l.Read(t.Context(), From{}, true, func(c Chunk) error {
			got = append(got, c.Content...)
			return nil
		})
	}()
	if err := os.Remove(root); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.HasSuffix(got, []byte("kept\n")) {
		t.Errorf("read %q", got)
	}
}

// TestACaptureOfAFullDiskEndsAtOnce as the plugin does that is told to end.
func TestACaptureOfAFullDiskEndsAtOnce(t *testing.T) {
	for _, slow := range []Slow{Block, Drop, Spill} {
		dir, _ := fullDisk(t)
		l := openLog(t, NewStore(dir, 0), Policy{SegmentSize: 100_000, MaxSize: 1 << 30, WhenSlow: slow})
		ctx, cancel := context.WithCancel(t.Context())
		w, wait := capturing(ctx, t, l)
		go func() { _, _ = io.Copy(w, zeros{}) }()
		waitFor(t, "the fault", isFull(l))
		cancel()
		if err := wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("policy %d: %v", slow, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestALogOfADiskThatTakesNothingIsOpenedAndWrittenWhenItDoes(t *testing.T) {
	dir, _ := fullDisk(t)
	store := NewStore(dir, 0)
	l := openLog(t, store, Policy{})
	write(t, l, "before\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, store, Policy{})
	w, wait := capturing(t.Context(), t, l)
	if _, err := w.WriteString("meanwhile\n"); err != nil {
		t.Fatal(err)
	}
	if err := l.Fault(); !errors.Is(err, syscall.EROFS) {
		t.Errorf("fault: %v", err)
	}
	if got, _ := read(t, l, From{}); got != "before\n" {
		t.Errorf("read %q", got)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), wait()); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, l, From{}); got != "before\nmeanwhile\n" || l.Fault() != nil {
		t.Errorf("read %q, fault %v", got, l.Fault())
	}
}
