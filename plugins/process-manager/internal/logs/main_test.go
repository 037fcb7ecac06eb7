package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the processes that the tests start: the variable
// LOGS_TEST says which.
func TestMain(m *testing.M) {
	role, args, _ := strings.Cut(os.Getenv("LOGS_TEST"), " ")
	switch role {
	case "":
		os.Exit(m.Run())
	case "pour":
		pour(args)
	case "count":
		count()
	case "capture":
		capture(args == "buffered")
	}
}

// self is a command that runs this binary in a role.
func self(t testing.TB, role string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append(os.Environ(), "LOGS_TEST="+role)
	return cmd
}

// pour writes lines of 100 bytes to its output, so many bytes in all and at once, and
// tells on its standard error how many seconds that took.
func pour(args string) {
	var total, atOnce int
	if _, err := fmt.Sscan(args, &total, &atOnce); err != nil {
		panic(err)
	}
	line := append(bytes.Repeat([]byte("x"), 99), '\n')
	block := bytes.Repeat(line, atOnce/100+1)[:atOnce]
	began := time.Now()
	for n := 0; n < total; n += atOnce {
		if _, err := os.Stdout.Write(block); err != nil {
			panic(err)
		}
	}
	fmt.Fprint(os.Stderr, strconv.FormatFloat(time.Since(began).Seconds(), 'f', 6, 64))
}

// count writes numbered lines to its output until its input ends: at times one by
// one, at times many at once.
func count() {
	end := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	random := rand.New(rand.NewPCG(1, 2))
	for n, block := 0, []byte(nil); ; {
		block = block[:0]
		for range []int{1, 1, 1, 1, 1000, 10000}[random.IntN(6)] {
			block = appendLine(block, n)
			n++
		}
		select {
		case <-end:
			return
		default:
		}
		if _, err := os.Stdout.Write(block); err != nil {
			panic(err)
		}
	}
}

// appendLine appends the line of a number: its length depends on the number, and any
// byte that is missing or too much spoils it.
func appendLine(b []byte, n int) []byte {
	b = fmt.Appendf(b, "%d ", n)
	return append(append(b, "abcdefghijklmnopqrstuvwxyz"[:n%27]...), '\n')
}

// capture captures the pipe that it has as descriptor 3, through the buffer that it may
// have as 4 and 5, into the log "p" of the store in its working directory, as the
// plugin does, and tells on its output when it begins.
func capture(buffered bool) {
	l, err := NewStore(".", 0).Open("p", testPolicy())
	if err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("ready\n")
	pipe := os.NewFile(3, "pipe")
	if buffered {
		err = l.CaptureThrough(context.Background(), pipe, Buffer{os.NewFile(4, "buffer"), os.NewFile(5, "buffer")})
	} else {
		err = l.Capture(context.Background(), pipe)
	}
	if err := errors.Join(err, l.Close()); err != nil {
		panic(err)
	}
}

// testPolicy has small segments.
func testPolicy() Policy { return Policy{SegmentSize: 1_000_003, MaxSize: 1 << 30} }
