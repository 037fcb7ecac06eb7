package processes

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	defaultMaxOutput = 1 << 20
	maxMaxOutput     = 16 << 20
)

// Run starts a command, waits for its end and returns what it wrote. A command
// that could not be started is FailedPrecondition.
func (m *Manager) Run(ctx context.Context, r *processv1.RunRequest) (*processv1.RunResponse, error) {
	o, timeout, err := m.oneshotOf(r)
	if err != nil {
		return nil, err
	}
	if err := m.enterRun(ctx); err != nil {
		return nil, err
	}
	defer m.runs.Add(-1)
	bounded, cancel := ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		bounded, cancel = context.WithTimeout(ctx, timeout)
	}
	defer cancel()
	result, err := m.run(bounded, o, life.Reason{Cause: life.CauseTimeout, By: "timeout"})
	if errors.Is(err, errNotStarted) {
		m.metrics.runs.WithLabelValues(life.CauseNotStarted.String()).Inc()
		return nil, status.Errorf(codes.FailedPrecondition, "command %q: %v", o.command.Name, err)
	}
	if err := ctx.Err(); err != nil {
		m.metrics.runs.WithLabelValues(life.CauseRequested.String()).Inc()
		return nil, status.Errorf(status.FromContextError(err).Code(), "command %q was killed with all that it had started: the call ended after %v",
			o.command.Name, life.Rounded(result.took))
	}
	m.metrics.runs.WithLabelValues(result.exit.Cause.String()).Inc()
	m.metrics.seconds.Observe(result.took.Seconds())
	return &processv1.RunResponse{
		Exit:        exitReason(&result.exit),
		Stdout:      result.stdout.content,
		Stderr:      result.stderr.content,
		StdoutBytes: result.stdout.size,
		StderrBytes: result.stderr.size,
		Took:        durationpb.New(result.took),
		Cpu:         durationpb.New(result.cpu),
		MaxMemory:   result.maxMemory,
	}, nil
}

// oneshotOf reads a request.
func (m *Manager) oneshotOf(r *processv1.RunRequest) (o oneshot, timeout time.Duration, err error) {
	spec := r.GetSpec()
	switch {
	case spec.GetTty():
		return o, 0, invalid("spec.tty: Run has no terminal; use Start and Attach")
	case r.GetMaxOutput() > maxMaxOutput:
		return o, 0, invalid("max_output: %d bytes, limit %d", r.GetMaxOutput(), maxMaxOutput)
	}
	if timeout, err = duration("timeout", r.GetTimeout(), 0, time.Millisecond, forever); err != nil {
		return o, 0, err
	}
	o = oneshot{
		input:     r.GetInput(),
		maxOutput: int(cmp.Or(r.GetMaxOutput(), defaultMaxOutput)), //nolint:gosec // G115: bounded above
		merge:     r.GetMerge(),
	}
	o.command, err = m.check(spec)
	return o, timeout, err
}

// enterRun counts a call in.
func (m *Manager) enterRun(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	limit := m.settings.Load().maxRuns
	if m.runs.Add(1) > limit {
		m.runs.Add(-1)
		return status.Errorf(codes.ResourceExhausted, "%d calls of Run are under way, which is the limit (max_runs)", limit)
	}
	return nil
}
