package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// watchHealth asks the instance again and again whether it is well. It returns
// nil when ctx ends, and an error when the instance has missed as many checks
// in a row as the config allows.
func (s *Supervisor) watchHealth(ctx context.Context, i *Instance) error {
	var (
		missed int
		timer  = time.NewTimer(pause(s.config.Load().Health.Every))
	)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		h := s.config.Load().Health // it may change at any time
		timer.Reset(pause(h.Every))
		if h.Every == 0 {
			continue
		}
		err := i.checkHealth(ctx, h.Timeout)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			missed = 0
		default:
			if missed++; missed >= h.Misses {
				return fmt.Errorf("%d health checks failed in a row, the last one: %w", missed, err)
			}
		}
	}
}

// idlePause is how often to look whether checks that are off were turned on.
const idlePause = 10 * time.Second

func pause(every time.Duration) time.Duration {
	if every == 0 {
		return idlePause
	}
	return every
}

// checkHealth asks once. A plugin that has no health service is well if it can
// say so.
func (i *Instance) checkHealth(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := grpc_health_v1.NewHealthClient(i).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: plugin.GRPCServiceName})
	switch status.Code(err) {
	case codes.OK:
	case codes.Unimplemented, codes.NotFound:
		return nil
	case codes.DeadlineExceeded:
		return fmt.Errorf("no answer within %v", timeout)
	default:
		return fmt.Errorf("health check: %w", err)
	}
	if got := response.GetStatus(); got != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("it says %v", got)
	}
	return nil
}
