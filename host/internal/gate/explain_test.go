package gate

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
)

// lines writes explanations one a line.
func lines(all []Explanation) []string {
	var text []string
	for _, e := range all {
		settings := make([]string, len(e.Settings))
		for i, s := range e.Settings {
			settings[i] = s.Path + "=" + s.Value
		}
		line := e.Policy + " [" + strings.Join(settings, " ") + "]"
		if e.State != "" {
			line += " " + e.State
		}
		if !e.Applies {
			line += " not: " + e.Why
		}
		text = append(text, line)
	}
	return text
}

func TestEachPolicyIsExplainedForACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{
			Limits: Limits{Timeout: 90 * time.Second, Concurrency: 1000, Queue: 2000},
			PerKey: []KeyLimit{{Key: "domain", Concurrency: 10, Queue: 5}},
			Rates: []Rate{
				{Name: "global", Quota: Quota{1000, time.Second, 20}},
				{Name: "domain", Key: "domain", Quota: Quota{100, time.Minute, 20}, Wait: 5 * time.Second, Overrides: []Override{
					{"*.x.com", Quota{5000, time.Hour, 3}},
				}},
			},
			Breakers: []Breaker{{Key: "domain", Failures: 3, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
			Retry:    Retry{Attempts: 2, Budget: 0.125},
		}, nil)
		release := hold(t, g, callFor("a.x.com"))
		_ = do(t, g, "a.x.com", codes.Internal)
		trip(t, g, "b.com")
		pause(t.Context(), 1800*time.Microsecond)

		deadlineLine := "deadline [limits.timeout=1m30s]"
		global := "rate.global [rate[\"global\"].limit=1000/s rate[\"global\"].burst=20 rate[\"global\"].wait=0s] "
		bulkheadLine := "bulkhead [limits.concurrency=1000 limits.queue=2000] 1 in flight of 1000, 0 of 2000 queued"
		retryLine := "retry [retry.attempts=2 retry.budget=12.5%] budget for 10 repeats"
		breakerLine := "breaker.domain [breaker[\"domain\"].failures=3 breaker[\"domain\"].within=10s breaker[\"domain\"].open_for=5s] "
		perKey := "bulkhead.domain [limits.per_key[\"domain\"].concurrency=10 limits.per_key[\"domain\"].queue=5] "
		for _, c := range []struct {
			given string
			call  *Call
			want  []string
		}{
			{"an overridden value", callFor("a.x.com"), []string{
				deadlineLine,
				breakerLine + `for domain "a.x.com": ` + "closed, 1 failures in the last 10s",
				global + "16 of 20 tokens left, none waiting",
				`rate.domain [rate["domain"].override["*.x.com"].limit=5000/h rate["domain"].override["*.x.com"].burst=3 rate["domain"].wait=5s] for domain "a.x.com": 1 of 3 tokens left, none waiting`,
				perKey + `for domain "a.x.com": ` + "1 in flight of 10, 0 of 5 queued",
				bulkheadLine, retryLine,
			}},
			{"a value that failed", callFor("b.com"), []string{
				deadlineLine,
				breakerLine + `for domain "b.com": ` + "open for another 5s",
				global + "16 of 20 tokens left, none waiting",
				`rate.domain [rate["domain"].limit=100/min rate["domain"].burst=20 rate["domain"].wait=5s] for domain "b.com": 17 of 20 tokens left, none waiting`,
				perKey + `for domain "b.com": ` + "0 in flight of 10, 0 of 5 queued",
				bulkheadLine, retryLine,
			}},
			{"a value that nobody has called for", callFor("c.com"), []string{
				deadlineLine,
				breakerLine + `for domain "c.com": ` + "closed, 0 failures in the last 10s",
				global + "16 of 20 tokens left, none waiting",
				`rate.domain [rate["domain"].limit=100/min rate["domain"].burst=20 rate["domain"].wait=5s] for domain "c.com": 20 of 20 tokens left, none waiting`,
				perKey + `for domain "c.com": ` + "0 in flight of 10, 0 of 5 queued",
				bulkheadLine, retryLine,
			}},
			{"a stream without the key", &Call{Method: "/s/Watch", Stream: true}, []string{
				deadlineLine + " not: /s/Watch is a stream, which has its caller's deadline only",
				`breaker.domain [] not: /s/Watch has no key "domain"`,
				global + "16 of 20 tokens left, none waiting",
				`rate.domain [] not: /s/Watch has no key "domain"`,
				`bulkhead.domain [] not: /s/Watch has no key "domain"`,
				bulkheadLine, retryLine,
			}},
		} {
			if diff := cmp.Diff(c.want, lines(g.Explain(c.call))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.given, diff)
			}
		}
		for i, step := range g.chain.Load().steps[2:4] {
			var n int64
			switch p := step.policy.(type) {
			case *rate:
				n = p.keyed.size.Load()
			case *bulkhead:
				n = p.keyed.size.Load()
			}
			if n != 2 {
				t.Errorf("policy %d has %d states, want those of the two values that were called", i, n)
			}
		}
		release()
	})
}

func TestStatesInWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{
			Limits:   Limits{Adaptive: &Adaptive{Min: 2, Max: 7}, Queue: 3},
			Rates:    []Rate{{Name: "r", Quota: Quota{1, time.Second, 1}, Wait: time.Minute}},
			Breakers: []Breaker{{Failures: 3, Within: time.Minute, OpenFor: 5 * time.Second}},
		}, nil)
		for range 2 {
			_ = do(t, g, "", codes.Internal)
		}
		go func() { _ = do(t, g, "", codes.Internal) }()
		synctest.Wait()
		want := []string{
			"deadline [limits.timeout=0s] not: limits.timeout is not set",
			"breaker [breaker.failures=3 breaker.within=1m breaker.open_for=5s] closed, 2 failures in the last 1m",
			`rate.r [rate["r"].limit=1/s rate["r"].burst=1 rate["r"].wait=1m] 0 of 1 tokens left, 1 waiting`,
			"bulkhead [limits.concurrency=adaptive limits.min=2 limits.max=7 limits.queue=3] limit now 7 (adaptive), 0 in flight, 0 of 3 queued",
			"retry [retry.attempts=1 retry.budget=0%] budget for 0 repeats not: retry.attempts is 1",
		}
		if diff := cmp.Diff(want, lines(g.Explain(&Call{}))); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		pause(t.Context(), 6*time.Second)
		if got := lines(g.Explain(&Call{}))[1]; !strings.HasSuffix(got, "half-open, the next call tries whether it can close") {
			t.Errorf("got %s", got)
		}
		release := hold(t, g, &Call{})
		if got := lines(g.Explain(&Call{}))[1]; !strings.HasSuffix(got, "half-open, a call is under way to try whether it can close") {
			t.Errorf("got %s", got)
		}
		release()
		g.Update(Config{})
		want = []string{"deadline [limits.timeout=0s] not: limits.timeout is not set", "bulkhead [] 0 in flight, without a limit"}
		if diff := cmp.Diff(want, lines(g.Explain(&Call{}))[:2]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
