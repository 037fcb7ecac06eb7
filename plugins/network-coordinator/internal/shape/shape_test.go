package shape

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

const mb = 1000 * 1000

// run has each flow take chunks of want bytes for that long, on the clock of
// synctest, and returns the bytes that each has moved.
func run(t *testing.T, flows []*Flow, want int, lasts time.Duration) []float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	moved := make([]float64, len(flows))
	for i, f := range flows {
		go func() {
			for {
				n, err := f.Down.Take(ctx, want)
				if err != nil {
					return
				}
				moved[i] += float64(n)
			}
		}()
	}
	<-ctx.Done()
	synctest.Wait()
	return moved
}

// jain is 1 when all are equal, 1/n when one has all.
func jain(of []float64) float64 {
	var sum, squares float64
	for _, x := range of {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(of)) * squares)
}

func sum(of []float64) float64 {
	var all float64
	for _, x := range of {
		all += x
	}
	return all
}

func within(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*want {
		t.Errorf("%s: got %.0f, want %.0f ± %.1f %%", what, got, want, share*100)
	}
}

// N1: a limit of 1 MB/s let 51 MB/s pass when 50 connections sent.
func TestFiftyConnectionsTogetherKeepOneLimit(t *testing.T) {
	for _, seconds := range []time.Duration{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			s := New()
			s.Set(Rules{Total: Limits{Down: 1 * mb}})
			var flows []*Flow
			for range 50 {
				flows = append(flows, s.Join("", "h"))
			}
			moved := run(t, flows, 64<<10, seconds*time.Second)
			within(t, "bytes", sum(moved), float64(seconds)*mb, 0.05)
			if j := jain(moved); j < 0.95 {
				t.Errorf("got a Jain index of %.3f, want 0.95: %v", j, moved)
			}
		})
	}
}
