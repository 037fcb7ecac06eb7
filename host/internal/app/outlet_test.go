package app

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gated is a terminal that was stopped, until it is opened.
type gated struct {
	open chan struct{}
	got  bytes.Buffer
}

func (g *gated) Write(b []byte) (int, error) {
	<-g.open
	return g.got.Write(b)
}

// say writes a line, which never fails.
func say(t *testing.T, to io.Writer, line string) {
	t.Helper()
	if n, err := io.WriteString(to, line); n != len(line) || err != nil {
		t.Errorf("got %d, %v, want the whole line", n, err)
	}
}

func TestALogThatNobodyReadsHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &gated{open: make(chan struct{})}
		var o *outlet
		o = openOutlet(to, func(lines int) { say(t, o, fmt.Sprintf("%d lines were dropped\n", lines)) })
		line := strings.Repeat("x", 1023) + "\n"
		say(t, o, "first\n")
		synctest.Wait() // it is being written
		for range 3000 {
			say(t, o, line)
		}
		close(to.open)
		o.close()
		want := "first\n" + strings.Repeat(line, 1024) + "1976 lines were dropped\n"
		if got := to.got.String(); got != want {
			t.Errorf("got %d bytes, want %d; the end is %q", len(got), len(want), got[max(0, len(got)-60):])
		}
	})
}

func TestTheEndDoesNotWaitForWhoDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &gated{open: make(chan struct{})}
		o := openOutlet(to, func(int) {})
		say(t, o, "line\n")
		began := time.Now()
		o.close()
		if took := time.Since(began); took != outletGrace {
			t.Errorf("got %v, want %v", took, outletGrace)
		}
		close(to.open) // else its goroutine stays
	})
}
