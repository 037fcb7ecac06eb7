package main

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"time"

	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	defaultTTL = time.Minute
	maxTTL     = time.Hour
	maxLeases  = 10000 // of a root, so that they cannot fill memory
)

// lease is the right to change a path, and what is below it, for a time.
type lease struct {
	token   string
	owner   string
	expires time.Time
}

func (l lease) has(token string) bool {
	return subtle.ConstantTimeCompare([]byte(l.token), []byte(token)) == 1
}

// Lock gives the right to change a path, or with a token of one more time for it.
func (m *manager) Lock(ctx context.Context, r *filev1.LockRequest) (*filev1.LockResponse, error) {
	ttl := r.GetTtl().AsDuration()
	if r.GetTtl() == nil {
		ttl = defaultTTL
	}
	if ttl <= 0 || ttl > maxTTL {
		return nil, status.Errorf(codes.InvalidArgument, "ttl is %v, want more than 0s and at most %v", ttl, maxTTL)
	}
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	if r.GetToken() != "" {
		return p.extend(r.GetToken(), ttl)
	}
	ctx, stop := sdk.UntilDrain(ctx) // nothing is done while it waits
	defer stop()
	wait, cancel := context.WithTimeout(ctx, r.GetWait().AsDuration())
	defer cancel()
	for {
		response, holder, changed, err := p.lock(r.GetOwner(), ttl)
		if response != nil || err != nil {
			return response, err
		}
		freed := time.NewTimer(time.Until(holder.expires))
		select {
		case <-changed:
		case <-freed.C:
		case <-wait.Done():
			err = p.fail(codes.FailedPrecondition, "is locked by %.100q until %s", holder.owner, holder.expires.Format(time.RFC3339))
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
		}
		freed.Stop()
		if err != nil {
			return nil, err
		}
	}
}

// lock gives the right at once, or says who has it and what ends with the next change.
func (p place) lock(owner string, ttl time.Duration) (*filev1.LockResponse, lease, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expireLeases(time.Now())
	for at, l := range p.leases {
		if isWithin(at, p.path) || isWithin(p.path, at) {
			return nil, l, p.changed, nil
		}
	}
	if len(p.leases) >= maxLeases {
		return nil, lease{}, nil, p.fail(codes.ResourceExhausted, "%d locks are held, limit %d", len(p.leases), maxLeases)
	}
	l := lease{token: rand.Text(), owner: owner, expires: time.Now().Add(ttl)}
	p.leases[p.path] = l
	p.fence++
	return &filev1.LockResponse{Token: l.token, Expires: timestamppb.New(l.expires), Fence: p.fence}, l, nil, nil
}

func (p place) extend(token string, ttl time.Duration) (*filev1.LockResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expireLeases(time.Now())
	l, ok := p.leases[p.path]
	if !ok || !l.has(token) {
		return nil, p.fail(codes.NotFound, "there is no lock with this token; it has expired")
	}
	l.expires = time.Now().Add(ttl)
	p.leases[p.path] = l
	return &filev1.LockResponse{Token: token, Expires: timestamppb.New(l.expires), Fence: p.fence}, nil
}

// Unlock gives a lock back.
func (m *manager) Unlock(_ context.Context, r *filev1.UnlockRequest) (*filev1.UnlockResponse, error) {
	p, err := m.find(r.GetRoot(), r.GetPath())
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expireLeases(time.Now())
	if l, ok := p.leases[p.path]; !ok || !l.has(r.GetToken()) {
		return nil, p.fail(codes.NotFound, "there is no lock with this token; it has expired")
	}
	delete(p.leases, p.path)
	p.publish(p.tree.Load()) // wakes who waits
	return &filev1.UnlockResponse{}, nil
}

// expireLeases takes back what has run out. The caller holds mu.
func (r *root) expireLeases(now time.Time) {
	for path, l := range r.leases {
		if !now.Before(l.expires) {
			delete(r.leases, path)
		}
	}
}

// checkLock is the error if the place may not be changed with a token, which may be "".
// The caller holds mu.
func (p place) checkLock(token string) error {
	p.expireLeases(time.Now())
	held := token == ""
	for at, l := range p.leases {
		above, below := isWithin(at, p.path), isWithin(p.path, at)
		switch {
		case (above || below) && l.has(token):
			held = true
		case above:
			return p.fail(codes.FailedPrecondition, "%.100q is locked by %.100q until %s", at, l.owner, l.expires.Format(time.RFC3339))
		}
	}
	if !held {
		return p.fail(codes.FailedPrecondition, "the lock of this token has expired")
	}
	return nil
}

// checkLocksBelow is checkLock for who takes the place away with all that is in it.
func (p place) checkLocksBelow(token string) error {
	for at, l := range p.leases {
		if isWithin(p.path, at) && !l.has(token) {
			return p.fail(codes.FailedPrecondition, "%.100q is locked by %.100q until %s", at, l.owner, l.expires.Format(time.RFC3339))
		}
	}
	return nil
}
