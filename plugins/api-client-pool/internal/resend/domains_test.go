package resend

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// However requests and repetitions follow on each other, the repetitions are
// never more than 10 and the share, and never fewer than 10.
func TestABudgetIsExact(t *testing.T) {
	for _, share := range []float64{0, 0.1, 0.25, 1} {
		dice := rand.New(rand.NewPCG(3, 4))
		d := newDomains(share)
		requests, repeated := 0, 0
		for range 100_000 {
			if dice.IntN(2) == 0 {
				d.leave(d.enter("h:80"))
				requests++
				continue
			}
			entered := d.byName["h:80"]
			if entered != nil && entered.Value.(*domain).withdraw() {
				repeated++
			} else if entered != nil && repeated < 10 {
				t.Fatalf("share %v: repetition %d was refused", share, repeated+1)
			}
			if bound := 10 + share*float64(requests); float64(repeated) > bound {
				t.Fatalf("share %v: %d repetitions of %d requests, want %v at most", share, repeated, requests, bound)
			}
		}
		if least := share * float64(requests) * 0.99; share < 1 && float64(repeated) < least {
			t.Errorf("share %v: only %d repetitions of %d requests", share, repeated, requests)
		}
	}
}

func TestDomainsAreForgottenWhenIdleAndAreNeverTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDomains(0.1)
		busy := d.enter("busy:80")
		paused := d.enter("paused:80")
		paused.pause(time.Now().Add(time.Hour))
		d.leave(paused)
		for i := range 3 * most {
			d.leave(d.enter(fmt.Sprintf("h%d:80", i)))
		}
		if n := len(d.byName); n > most || n != d.recent.Len() {
			t.Errorf("%d domains are remembered, want %d at most", n, most)
		}
		time.Sleep(2 * forgetAfter) //nolint:forbidigo // of synctest's clock
		d.leave(d.enter("new:80"))
		if d.enter("busy:80") != busy {
			t.Error("a domain with a request under way was forgotten")
		}
		if got := d.enter("paused:80"); got != paused {
			t.Error("a paused domain was forgotten")
		}
		// The two stand at the end, where they keep the idle ones in front of them.
		d.leave(d.enter("newer:80"))
		if n := len(d.byName); n > 4 {
			t.Errorf("%d domains are remembered after a time without requests, want 4", n)
		}
	})
}

func TestAPauseIsNeverShortened(t *testing.T) {
	d := &domain{}
	later := time.Now().Add(time.Hour)
	d.pause(later)
	d.pause(later.Add(-time.Minute))
	if got := d.pausedUntil(); !got.Equal(later) {
		t.Errorf("paused until %v, want %v", got, later)
	}
}

func TestThePercentileIsOfTheLatestResponses(t *testing.T) {
	d := &domain{}
	for range enough - 1 {
		d.observe(time.Hour)
	}
	if _, known := d.p95(); known {
		t.Error("a percentile of too few")
	}
	for i := range samples {
		d.observe(time.Duration(i+1) * time.Millisecond)
	}
	if got, known := d.p95(); !known || got != 122*time.Millisecond {
		t.Errorf("got %v, %v; want 122ms of 1 to %d ms", got, known, samples)
	}
}
