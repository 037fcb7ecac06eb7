package app

import (
	"context"
	"errors"
	"io"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// Attach lets a process that somebody else has started serve a subsystem, for as long as
// the caller wants and the process can be reached.
func (s *service) Attach(stream grpc.BidiStreamingServer[hostv1.AttachRequest, hostv1.AttachResponse]) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return status.Error(codes.InvalidArgument, "no request; the first one says what to attach")
	}
	if err != nil {
		return err
	}
	sub, err := s.host.find(first.GetSubsystem())
	if err != nil {
		return err
	}
	instance, err := s.host.attach(stream.Context(), sub, first.GetSocket())
	if err != nil {
		return status.Errorf(codes.FailedPrecondition, "%s: %v", sub.name, err)
	}
	if err := stream.Send(&hostv1.AttachResponse{Subsystem: sub.status()}); err != nil {
		instance.Detach()
		return err
	}
	left := make(chan error, 1)
	go func() { // it ends with the stream
		_, err := stream.Recv()
		left <- err
	}()
	select {
	case err = <-left:
	case <-instance.Exited():
		return nil
	case <-s.host.stopping: // its calls end, as all others do
		return nil
	}
	if errors.Is(err, io.EOF) { // an orderly end: first another one takes over
		err = s.host.detach(stream.Context(), sub, instance)
	}
	if err != nil {
		instance.Detach()
		return err
	}
	select {
	case <-instance.Exited():
	case <-stream.Context().Done():
		instance.Detach()
	}
	return nil
}

// attach lets the process that listens on a socket take over.
func (h *host) attach(ctx context.Context, sub *subsystem, socket string) (*supervisor.Instance, error) {
	if h.trusts.Load().Restricts() {
		return nil, errors.New("the host runs only plugins that are locked or signed (gaia.lock.hcl, host.trusted_keys), which nobody can say of a process that runs")
	}
	cfg := sub.config.Load()
	plan := supervisor.NewPlan(cfg)
	plan.KeepSwap(sub.supervisor.Status().File)
	// Not under mu: somebody may step through its Configure.
	candidate, err := sub.supervisor.Prepare(ctx, plan.Attach(socket), "a process was attached")
	if err != nil {
		return nil, err
	}
	h.mu.Lock() // not while the config changes
	defer h.mu.Unlock()
	if sub.config.Load() != cfg {
		return nil, errors.Join(errors.New("the config has changed meanwhile; try again"), candidate.Withdraw())
	}
	if err := candidate.Commit(ctx); err != nil {
		return nil, err
	}
	if i := sub.supervisor.Instance(); i != nil && i.Attached() {
		return i, nil
	}
	return nil, errors.New("the process has ended, or was replaced, as soon as it had taken over")
}

// detach lets an instance of the configured plugin take over from an attached one, which then
// finishes its calls, unless another one has by now.
func (h *host) detach(ctx context.Context, sub *subsystem, attached *supervisor.Instance) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if sub.supervisor.Instance() != attached {
		return nil
	}
	plan := supervisor.NewPlan(sub.config.Load())
	plan.KeepSwap(sub.supervisor.Status().File)
	if err := sub.supervisor.Swap(ctx, plan, "the attached process was given up"); err != nil {
		return status.Errorf(codes.FailedPrecondition, "%s: %v; the attached process is gone all the same", sub.name, err)
	}
	return nil
}
