package files

import (
	"context"
	"errors"
	"time"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/lease"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Bounds of a lock.
const (
	defaultTTL = time.Minute
	maxTTL     = time.Hour
	maxOwner   = 1000 // bytes
)

// Lock gives the right to change a path and what is below it.
func (m *Manager) Lock(ctx context.Context, request *filev1.LockRequest) (*filev1.LockResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	ttl := request.GetTtl().AsDuration()
	switch {
	case ttl < 0 || ttl > maxTTL || request.GetWait().AsDuration() < 0:
		return nil, status.Errorf(codes.InvalidArgument, "ttl is at most %v, and neither ttl nor wait is negative", maxTTL)
	case len(request.GetOwner()) > maxOwner:
		return nil, status.Errorf(codes.InvalidArgument, "owner has %d bytes, at most %d are allowed", len(request.GetOwner()), maxOwner)
	case ttl == 0:
		ttl = defaultTTL
	}
	target, err := t.target(request.GetPath(), true)
	if err != nil {
		return nil, err
	}
	var l lease.Lock
	if token := request.GetToken(); token != "" {
		l, err = t.state.leases.Renew(target, token, ttl, time.Now())
	} else {
		l, err = t.waitForLock(ctx, target, request, ttl)
	}
	if err == nil {
		if err = t.state.storeLeases(); err != nil && request.GetToken() == "" {
			_ = t.state.leases.Release(target, l.Token, time.Now()) // nobody is told the token
		}
	}
	if err != nil {
		return nil, t.explainLock(request.GetPath(), err)
	}
	return &filev1.LockResponse{Token: l.Token, Expires: timestamppb.New(l.Expires), Fence: l.Fence}, nil
}

// waitForLock grants a lock as soon as nobody's is in the way.
func (t *tree) waitForLock(ctx context.Context, target string, request *filev1.LockRequest, ttl time.Duration) (lease.Lock, error) {
	waiting, stop := sdk.UntilDrain(ctx) // the next manager knows the locks, too
	defer stop()
	deadline := time.Now().Add(request.GetWait().AsDuration())
	for {
		changed := t.state.leases.Changed()
		l, err := t.grant(ctx, target, request.GetOwner(), ttl)
		held, isHeld := errors.AsType[*lease.Held](err)
		if !isHeld || !time.Now().Before(deadline) {
			return l, err
		}
		until := deadline
		if held.Lock.Expires.Before(until) {
			until = held.Lock.Expires
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-changed:
		case <-timer.C:
		case <-waiting.Done():
		}
		timer.Stop()
		if waiting.Err() != nil {
			return lease.Lock{}, context.Cause(waiting)
		}
	}
}

// grant waits for the changes that are under way: who gets the lock sees what came
// before it, and nothing comes after.
func (t *tree) grant(ctx context.Context, target, owner string, ttl time.Duration) (lease.Lock, error) {
	release, err := t.whole(ctx)
	if err != nil {
		return lease.Lock{}, err
	}
	defer release()
	return t.state.leases.Grant(target, owner, ttl, time.Now())
}

// Unlock gives a lock back.
func (m *Manager) Unlock(ctx context.Context, request *filev1.UnlockRequest) (*filev1.UnlockResponse, error) {
	t, err := m.enterToChange(ctx, request.GetRoot())
	if err != nil {
		return nil, err
	}
	defer t.leave()
	target, err := t.target(request.GetPath(), true)
	if err != nil {
		return nil, err
	}
	err = t.state.leases.Release(target, request.GetToken(), time.Now())
	if err == nil {
		err = t.state.storeLeases()
	}
	if err != nil {
		return nil, t.explainLock(request.GetPath(), err)
	}
	return &filev1.UnlockResponse{}, nil
}

func (t *tree) explainLock(path string, err error) error {
	switch {
	case errors.Is(err, lease.ErrNotHeld):
		return t.failf(codes.NotFound, path, "there is no lock with this token; it may have expired")
	case errors.Is(err, lease.ErrTooMany):
		return t.failf(codes.ResourceExhausted, path, "the root has %d locks, which is the limit; give some back, or let them expire", lease.MaxLocks)
	}
	return t.explain(path, err)
}
