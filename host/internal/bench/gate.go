package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

const (
	gateRounds = 5
	gateRound  = 200 * time.Millisecond
)

// newPass makes what one goroutine passes calls with, one after the other. key
// is the number of the call's key.
type newPass func() (pass func(ctx context.Context, key int) error)

// gateAlone measures admitted calls that are forwarded to nobody.
func gateAlone(ctx context.Context, o Options) (*Result, error) {
	if o.Rounds <= 0 {
		o.Rounds = gateRounds
	}
	if o.Round <= 0 {
		o.Round = gateRound
	}
	// Wider than any core is fast: config.hcl allows a hundredth of it.
	wide := gate.Quota{Events: 1_000_000_000, Per: time.Second, Burst: 1_000_000}
	result := &Result{Name: "gate", Machine: machine()}
	for _, n := range []int{1, 1000, 100_000} {
		names := make([]string, n)
		for i := range names {
			names[i] = "host-" + strconv.Itoa(i) + ".example.com"
		}
		t := Table{Title: fmt.Sprintf("distinct keys: %d, in turn", n), Columns: []Column{
			{Name: "callers", Head: "CALLERS"},
			{Name: "call_ns", Head: "TIME/CALL", Unit: "ns"},
			{Name: "allocs", Head: "ALLOCS/CALL", Digits: 2},
			{Name: "ratio", Head: "RATIO", Digits: 2},
		}}
		peer, ours := naiveGate(names, wide), wholeGatePass(names, wide)
		for _, callers := range slices.Compact([]int{1, runtime.GOMAXPROCS(0)}) {
			o.progress("gate: keys: %d, callers: %d, %d rounds of %v", n, callers, o.Rounds, o.Round)
			var rounds [2][]Figures
			for round := range o.Rounds + 1 {
				for i, contestant := range []newPass{peer, ours} {
					figures, err := passRound(ctx, contestant, callers, n, o.Round)
					if err != nil {
						return nil, fmt.Errorf("gate: %w", err)
					}
					if round > 0 {
						rounds[i] = append(rounds[i], figures)
					}
				}
			}
			ratios(rounds[1], rounds[0], "call_ns")
			ratios(rounds[0], rounds[0], "call_ns")
			t.Rows = append(t.Rows, medians("two token buckets, a semaphore", rounds[0]), medians("gaia's gate", rounds[1]))
		}
		result.Tables = append(result.Tables, t)
	}
	return result, nil
}

// passRound passes calls by several goroutines for a while. It reads the clock
// seldom, because a call is not much longer than a reading.
func passRound(ctx context.Context, contestant newPass, callers, keys int, length time.Duration) (Figures, error) {
	const unread = 256 // calls between two looks at the clock
	var before, after runtime.MemStats
	var calls atomic.Int64
	runtime.ReadMemStats(&before)
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for i := range callers {
		group.Go(func() error {
			pass, key, passed := contestant(), i*keys/callers, int64(0)
			for time.Since(began) < length && ctx.Err() == nil {
				for range unread {
					if err := pass(ctx, key); err != nil {
						return err
					}
					if key++; key >= keys {
						key = 0
					}
				}
				passed += unread
			}
			calls.Add(passed)
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	return Figures{
		"callers": float64(callers),
		"call_ns": float64(took.Nanoseconds()) / float64(calls.Load()),
		"allocs":  float64(after.Mallocs-before.Mallocs) / float64(calls.Load()),
	}, nil
}

// wholeGatePass is a gate as operators have it, so wide that it admits all, and
// the metrics of the call.
func wholeGatePass(names []string, wide gate.Quota) newPass {
	metrics := telemetry.New("bench").Subsystem("bench")
	g := gate.New(gate.Config{
		Limits:   gate.Limits{Timeout: 30 * time.Second, Concurrency: 1000, Queue: 2000},
		Rates:    []gate.Rate{{Name: "global", Quota: wide, Wait: time.Second}, {Name: "domain", Key: "domain", Quota: wide, Wait: time.Second}},
		Breakers: []gate.Breaker{{Failures: 10, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
		Retry:    gate.Retry{Attempts: 3, Budget: 0.1},
	}, metrics)
	method := metrics.Method("/bench.Bench/Call")
	keys := make([]gate.Keys, len(names))
	for i, name := range names {
		k := domain(name)
		keys[i] = &k
	}
	return func() func(context.Context, int) error {
		call := new(gate.Call)
		return func(ctx context.Context, key int) error {
			*call = gate.Call{Start: time.Now(), Keys: keys[key]}
			if err := g.Do(ctx, call, forwardNowhere); err != nil {
				return err
			}
			method.Observe(codes.OK, time.Since(call.Start))
			return nil
		}
	}
}

func forwardNowhere(context.Context, *gate.Call) gate.Result { return gate.Result{} }

// domain is a request with one key.
type domain []byte

// Key returns the domain.
func (d *domain) Key(name string) ([]byte, bool) { return *d, name == "domain" }
