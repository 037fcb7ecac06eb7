package logs

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a terminal that changes nothing.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no terminals: %v", err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	mode, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err == nil {
		mode.Oflag &^= unix.OPOST
		err = unix.IoctlSetTermios(int(terminal.Fd()), unix.TCSETS, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

func TestATerminalIsCaptured(t *testing.T) {
	master, terminal := openTerminal(t)
	cmd := self(t, "pour 100000 1000")
	var told bytes.Buffer
	cmd.Stdout, cmd.Stderr = terminal, &told
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	terminal.Close()
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{})
	if err := l.Capture(t.Context(), master); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	got, _ := read(t, l, From{})
	if want := strings.Repeat(strings.Repeat("x", 99)+"\n", 1000); got != want {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
}

func TestNoKillLosesOrDoublesAByteOfATerminal(t *testing.T) {
	master, terminal := openTerminal(t)
	buffer := openBuffer(t)
	testKills(t, "capture buffered", terminal, master, buffer.Reader, buffer.Writer)
}

func TestNoKillLosesOrDoublesAByteInABuffer(t *testing.T) {
	pipe, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	buffer := openBuffer(t)
	testKills(t, "capture buffered", out, pipe, buffer.Reader, buffer.Writer)
}

func openBuffer(t *testing.T) Buffer {
	t.Helper()
	b, err := NewBuffer()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWhatIsLeftInABufferComesFirst as after a crash of the plugin, when the host has
// kept a buffer.
func TestWhatIsLeftInABufferComesFirst(t *testing.T) {
	b := openBuffer(t)
	if _, err := b.Writer.WriteString("first\n"); err != nil {
		t.Fatal(err)
	}
	// The host holds the write end, so the buffer itself does not end.
	held, err := unix.Dup(int(b.Writer.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString("second\n"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{WhenSlow: Drop})
	if err := l.CaptureThrough(t.Context(), r, b); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, l, From{}); got != "first\nsecond\n" {
		t.Errorf("read %q", got)
	}
}
