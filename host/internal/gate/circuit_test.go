package gate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
)

func TestExactlyOneOfManyCallsIsTheProbe(t *testing.T) {
	for _, domain := range []string{"", "x"} {
		synctest.Test(t, func(t *testing.T) {
			g := breaking(domain)
			trip(t, g, domain)
			pause(t.Context(), 5*time.Second)
			var probes, refused atomic.Int64
			leave := make(chan struct{})
			var wg sync.WaitGroup
			for range 10_000 {
				wg.Go(func() {
					err := g.Do(t.Context(), callFor(domain), func(context.Context, *Call) Result {
						probes.Add(1)
						<-leave
						return Result{}
					})
					if err != nil {
						refused.Add(1)
						if got := detailsOf(t, err); got.Retry != probeRetry || got.Code != codes.Unavailable {
							t.Errorf("got %v", got)
						}
					}
				})
			}
			synctest.Wait()
			if probes.Load() != 1 || refused.Load() != 9999 || g.Breakers() != 1 {
				t.Errorf("%d probes, %d refused, state %d", probes.Load(), refused.Load(), g.Breakers())
			}
			close(leave)
			wg.Wait()
			if err := do(t, g, domain, codes.OK); err != nil || g.Breakers() != 0 {
				t.Errorf("after the probe: %v, state %d", err, g.Breakers())
			}
		})
	}
}

func TestWhatTheProbeFindsDecides(t *testing.T) {
	for _, c := range []struct {
		given string
		code  codes.Code
		next  bool // the call after it is let pass
		state int
	}{
		{"success", codes.OK, true, 0},
		{"an answer about the request", codes.NotFound, true, 0},
		{"failure", codes.Internal, false, 2},
		{"a caller who gives up", codes.Canceled, true, 1},
	} {
		for _, domain := range []string{"", "x"} {
			t.Run(c.given+" "+domain, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := breaking(domain)
					trip(t, g, domain)
					pause(t.Context(), 5*time.Second)
					_ = do(t, g, domain, c.code)
					if got := g.Breakers(); got != c.state {
						t.Errorf("state %d, want %d", got, c.state)
					}
					err := do(t, g, domain, codes.Internal)
					if passed := !isOpen(t, err); passed != c.next {
						t.Errorf("the next call: %v", err)
					}
					if c.state == 0 { // its history is wiped: three failures open it, not two
						_ = do(t, g, domain, codes.Internal)
						if err := do(t, g, domain, codes.Internal); isOpen(t, err) {
							t.Error("open after two failures")
						}
						if err := do(t, g, domain, codes.OK); !isOpen(t, err) {
							t.Error("not open after three failures")
						}
					}
				})
			})
		}
	}
}

func TestACallThatWasRefusedByAnotherPolicyIsNoProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := Config{
			Breakers: []Breaker{{Failures: 1, Within: time.Second, OpenFor: time.Second}},
			Limits:   Limits{Concurrency: 1},
		}
		g := New(config, nil)
		release := hold(t, g, &Call{})
		// The failure comes from a call that was admitted before.
		b := g.chain.Load().steps[0].policy
		b.Done(&Call{}, Ticket{}, Failure)
		pause(t.Context(), time.Second)
		for range 5 {
			if err := try(t, g, ""); detailsOf(t, err).Reason != "BULKHEAD_FULL" {
				t.Errorf("got %v", err)
			}
		}
		release()
		if err := try(t, g, ""); err != nil {
			t.Errorf("the probe: %v", err)
		}
	})
}

func TestStragglersChangeNothing(t *testing.T) {
	for _, domain := range []string{"", "x"} {
		synctest.Test(t, func(t *testing.T) {
			g := breaking(domain)
			straggler := func(code codes.Code) (end func()) {
				entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
				go func() {
					defer close(left)
					_ = g.Do(t.Context(), callFor(domain), func(ctx context.Context, c *Call) Result {
						close(entered)
						<-leave
						return answer(code)(ctx, c)
					})
				}()
				<-entered
				return func() {
					close(leave)
					<-left
				}
			}
			var ends []func()
			for range 10 {
				ends = append(ends, straggler(codes.OK), straggler(codes.Internal))
			}
			trip(t, g, domain)
			pause(t.Context(), time.Second)
			for _, end := range ends[:10] { // while it is open
				end()
			}
			if got := detailsOf(t, do(t, g, domain, codes.OK)).Retry; got != 4*time.Second {
				t.Errorf("open for another %v, want 4s", got)
			}
			pause(t.Context(), 4*time.Second)
			if err := do(t, g, domain, codes.OK); err != nil {
				t.Fatal(err)
			}
			for _, end := range ends[10:] { // after it has closed again
				end()
			}
			if err := do(t, g, domain, codes.OK); err != nil {
				t.Errorf("opened by calls of before: %v", err)
			}
		})
	}
}

func TestACallWithoutAnEndIsTheProbeForAWhileOnly(t *testing.T) {
	for _, c := range []struct {
		given string
		call  *Call
	}{
		{"a stream", &Call{Stream: true}},
		{"a call without a deadline", &Call{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := breaking("")
			trip(t, g, "")
			pause(t.Context(), 5*time.Second)
			release := hold(t, g, c.call)
			if err := try(t, g, ""); !isOpen(t, err) {
				t.Errorf("beside %s: got %v", c.given, err)
			}
			pause(t.Context(), 5*time.Second)
			if err := try(t, g, ""); err != nil {
				t.Errorf("%s, after a while: %v", c.given, err)
			}
			release()
		})
	}
}

// TestABreakerUnderLoadNeverLetsTwoProbesPass drives a breaker with calls of
// all outcomes from many goroutines. Beside a probe that is under way another one
// passes only when the first has taken as long as the breaker is open.
func TestABreakerUnderLoadNeverLetsTwoProbesPass(t *testing.T) {
	b := Breaker{Key: "domain", Failures: 3, Within: time.Second, OpenFor: 50 * time.Microsecond}
	g := New(Config{Breakers: []Breaker{b}}, nil)
	policy := g.chain.Load().steps[0].policy.(*breaker) //nolint:forcetypeassert // it was just made
	var probes [4]probeLog
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 5))
			for range 10_000 {
				i := random.IntN(len(probes))
				c := callFor(fmt.Sprint("d", i))
				c.begin(g.chain.Load(), g.common.clock)
				before := g.common.clock.now()
				ticket, err := pass(t.Context(), policy, c)
				if err != nil {
					if !strings.Contains(err.Error(), "open") {
						t.Errorf("got %v", err)
					}
					continue
				}
				if ticket.mark < 0 {
					if apart := probes[i].begins(-ticket.mark, before, g.common.clock.now()); apart < int64(b.OpenFor) {
						t.Errorf("a probe beside one that began %dns before", apart)
					}
					probes[i].ends(-ticket.mark)
				}
				policy.Done(c, ticket, []Outcome{Success, Failure, Neutral}[random.IntN(3)])
			}
		})
	}
	wg.Wait()
	if probes[0].seen == 0 {
		t.Error("there was no probe: the test proves nothing")
	}
}

// probeLog knows the last probe of a circuit.
type probeLog struct {
	mu            sync.Mutex
	epoch, before int64
	underWay      bool
	seen          int
}

// begins returns how long, at most, a probe that passed between two moments began
// after the one before, if that is under way.
func (p *probeLog) begins(epoch, before, after int64) (apart int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch < p.epoch { // told late
		return never
	}
	apart = never
	if p.underWay {
		apart = after - p.before
	}
	p.epoch, p.before, p.underWay = epoch, before, true
	p.seen++
	return apart
}

func (p *probeLog) ends(epoch int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if epoch == p.epoch {
		p.underWay = false
	}
}
