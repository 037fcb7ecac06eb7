package pool

import (
	"context"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/turn"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// seat is one of the places for pages that load at once, max_jobs. Who has to wait
// for a tab gives it away meanwhile: sessions that have all the tabs could not go on
// if those who wait for them had all the places. It is used by one goroutine.
type seat struct {
	places  *turn.Places
	client  string
	isTaken bool
}

// sit waits for a place, which the caller gives back. The error is a status.
func (r *running) sit(ctx context.Context, client string) (*seat, error) {
	s := &seat{places: r.jobs, client: client}
	return s, s.take(ctx)
}

// take waits for the place, unless that is taken.
func (s *seat) take(ctx context.Context) error {
	if s.isTaken {
		return nil
	}
	if s.places.Take(ctx, s.client) != nil {
		return status.Errorf(codes.ResourceExhausted, "no place was free in time: %d pages load at once (max_jobs)", s.places.Len())
	}
	s.isTaken = true
	return nil
}

// give gives the place back, if it is taken.
func (s *seat) give() {
	if s.isTaken {
		s.isTaken = false
		s.places.Give()
	}
}
