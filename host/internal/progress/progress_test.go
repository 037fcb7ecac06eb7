package progress

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestShortWorkIsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var terminal bytes.Buffer
		l := Start(&terminal, "call")
		l.Sent(1000)
		<-time.After(patience - time.Millisecond)
		l.Stop()
		if terminal.Len() > 0 {
			t.Errorf("%q, want nothing", &terminal)
		}
	})
}

func TestLongWorkSaysHowFarItIsAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var terminal bytes.Buffer
		l := Start(&terminal, "call")
		l.Total(4 << 20)
		for range 4 {
			if _, err := io.Copy(io.Discard, l.Reader(io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<18))))); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(2*time.Second + time.Millisecond)
		synctest.Wait()
		drawn := terminal.String()
		if want := "call  sent 1.0MiB of 4.0MiB  25%  539KiB/s  6s left  1s"; !strings.Contains(drawn, want) {
			t.Errorf("%q is missing in %q", want, drawn)
		}
		l.Stop()
		if !strings.HasSuffix(terminal.String(), eraseLine) {
			t.Errorf("the line stays: %q", &terminal)
		}
	})
}

func TestWhatIsPrintedAboveStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var terminal bytes.Buffer
		l := Start(&terminal, "bench")
		<-time.After(patience + time.Millisecond)
		synctest.Wait()
		_, _ = io.WriteString(l.Above(), "round 1\n")
		l.Stop()
		if want := eraseLine + noWrap + "bench  0s" + wrap + eraseLine + "round 1\n"; terminal.String() != want {
			t.Errorf("%q, want %q", &terminal, want)
		}
	})
}

func TestALineThatNobodySeesTakesEverything(t *testing.T) {
	t.Parallel()
	var l *Line
	l.Total(1)
	l.Sent(1)
	l.Received(1)
	l.Erase()
	r := io.NopCloser(strings.NewReader(""))
	if l.Reader(r) != r {
		t.Error("the reader is another one")
	}
	l.Stop()
}
