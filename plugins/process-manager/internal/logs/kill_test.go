package logs

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// TestNoKillLosesOrDoublesAByte has a process write numbered lines, and kills the
// process that captures them at random moments, again and again, as a crash of the
// plugin does: the pipe stays open here, as it does in the host.
func TestNoKillLosesOrDoublesAByte(t *testing.T) {
	pipe, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	testKills(t, "capture", out, pipe)
}

// testKills kills the captures of what is written to out, of which they get files.
func testKills(t *testing.T, role string, out *os.File, files ...*os.File) {
	t.Helper()
	rounds := 20
	if os.Getenv("GAIA_SLOW") != "" {
		rounds = 1000
	}
	writer := self(t, "count")
	writer.Stdout, writer.Stderr = out, os.Stderr
	stop, err := writer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	out.Close()
	store := NewStore(t.TempDir(), 0)
	var lines lineChecker
	for range rounds {
		killCapture(t, role, store.dir, files)
		lines.read(t, store)
	}
	if err := stop.Close(); err != nil {
		t.Fatal(err)
	}
	last := self(t, role)
	last.Dir, last.ExtraFiles, last.Stderr = store.dir, files, os.Stderr
	if err := last.Run(); err != nil {
		t.Fatal(err)
	}
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
	lines.read(t, store)
	if len(lines.rest) != 0 {
		t.Errorf("the log ends with %q, which is no line", lines.rest)
	}
	for _, f := range files {
		f.Close()
	}
	t.Logf("%d kills, %d lines, %d bytes", rounds, lines.next, lines.offset)
}

// killCapture lets a process capture and kills it after a while.
func killCapture(t *testing.T, role, dir string, files []*os.File) {
	t.Helper()
	cmd := self(t, role)
	cmd.Dir, cmd.ExtraFiles, cmd.Stderr = dir, files, os.Stderr
	ready, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(ready).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	<-time.After(rand.N(20 * time.Millisecond))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

// lineChecker reads a log of numbered lines, and holds what it knows of the next.
type lineChecker struct {
	offset int64
	next   int
	rest   []byte
}

// read reads what the log holds beyond what was read before.
func (c *lineChecker) read(t *testing.T, store *Store) {
	t.Helper()
	l, err := store.Open("p", testPolicy())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Read(t.Context(), From{Offset: c.offset}, false, func(chunk Chunk) error {
		if chunk.Offset != c.offset || chunk.Missing != 0 {
			t.Fatalf("the chunk at %d begins at %d, %d missing", c.offset, chunk.Offset, chunk.Missing)
		}
		c.offset += int64(len(chunk.Content))
		c.check(t, chunk.Content)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (c *lineChecker) check(t *testing.T, content []byte) {
	t.Helper()
	c.rest = append(c.rest, content...)
	var want []byte
	for {
		end := bytes.IndexByte(c.rest, '\n') + 1
		if end == 0 {
			return
		}
		want = appendLine(want[:0], c.next)
		if !bytes.Equal(c.rest[:end], want) {
			t.Fatalf("after line %d comes %q", c.next-1, c.rest[:end])
		}
		c.rest = c.rest[end:]
		c.next++
	}
}
