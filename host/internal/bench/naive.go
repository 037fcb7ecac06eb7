package bench

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gaia-go/gaia/host/internal/gate"
)

// naiveGate is what one writes without us, and does less: a token bucket of all
// calls, one for each key, and a semaphore; no breaker, no deadline, no metrics.
func naiveGate(names []string, wide gate.Quota) newPass {
	const permits = 1000
	global := newTokens(wide)
	var byKey sync.Map // *tokens by name
	keys := make([]any, len(names))
	for i, name := range names {
		keys[i] = name
	}
	semaphore := make(chan struct{}, permits)
	pass := func(_ context.Context, key int) error {
		if !global.take() {
			return errNaive
		}
		own, known := byKey.Load(keys[key])
		if !known {
			own, _ = byKey.LoadOrStore(keys[key], newTokens(wide))
		}
		if !own.(*tokens).take() { //nolint:forcetypeassert // the map has no others
			return errNaive
		}
		select {
		case semaphore <- struct{}{}:
			<-semaphore
			return nil
		default:
			return errNaive
		}
	}
	return func() func(context.Context, int) error { return pass }
}

var errNaive = errors.New("the baseline has rejected a call")

// tokens is a token bucket under a mutex.
type tokens struct {
	perSecond, burst float64

	mu   sync.Mutex
	left float64
	at   time.Time
}

func newTokens(q gate.Quota) *tokens {
	return &tokens{perSecond: float64(q.Events) / q.Per.Seconds(), burst: float64(q.Burst), left: float64(q.Burst), at: time.Now()}
}

func (t *tokens) take() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.left = min(t.burst, t.left+now.Sub(t.at).Seconds()*t.perSecond)
	t.at = now
	if t.left < 1 {
		return false
	}
	t.left--
	return true
}
