package processes

import (
	"context"
	"errors"
	"io"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type attachStream = grpc.BidiStreamingServer[processv1.AttachRequest, processv1.AttachResponse]

// attached is one call of Attach.
type attached struct {
	process *process
	child   *child
	log     *logs.Log
	stream  attachStream
	next    int64 // offset of the log from which on nothing is sent yet
}

// Attach connects to the terminal of a process until its present run ends, or the
// manager is about to: the process lives on, and Attach may be called again. What
// it writes is read from the log, so that a slow caller holds up nobody; one that
// is slower than the log is kept gets DataLoss.
func (m *Manager) Attach(stream attachStream) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	p, err := m.find(first.GetName())
	if err != nil {
		return err
	}
	a := &attached{process: p, stream: stream}
	if a.child, a.log, err = p.terminal(); err != nil {
		return err
	}
	_, a.next, _ = a.log.Bounds()
	ctx, stop := sdk.UntilDrain(stream.Context())
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // until the call has returned: nothing else ends Recv
		if err := a.takeInput(ctx, first); err != nil {
			cancel(err)
		}
	}()
	return a.show(ctx)
}

// terminal is that of the process that runs.
func (p *process) terminal() (*child, *logs.Log, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.plan.tty:
		return nil, nil, status.Errorf(codes.FailedPrecondition, "process %q was started without `tty`", p.name)
	case p.child == nil || !p.machine.Alive:
		return nil, nil, status.Errorf(codes.FailedPrecondition, "process %q does not run; it is %v", p.name, p.machine.State)
	}
	return p.child, p.log, nil
}

// takeInput writes what the caller types to the terminal, until the caller ends
// its side, which ends nothing else.
func (a *attached) takeInput(ctx context.Context, r *processv1.AttachRequest) error {
	for {
		if size := r.GetSize(); size != nil {
			if size.GetRows() > maxWindow || size.GetColumns() > maxWindow {
				return invalid("size: %d rows and %d columns, limit %d", size.GetRows(), size.GetColumns(), maxWindow)
			}
			if err := spawn.SetSize(a.child.terminal, uint16(size.GetRows()), uint16(size.GetColumns())); err != nil { //nolint:gosec // G115: bounded above
				return a.ended(err)
			}
		}
		if _, err := a.child.input.write(ctx, r.GetInput()); err != nil {
			return a.ended(err)
		}
		var err error
		if r, err = a.stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if r.GetName() != "" {
			return invalid("name: only the first message names the process")
		}
	}
}

// maxWindow is as many rows or columns as a terminal has.
const maxWindow = 1<<16 - 1

// ended is the error about a terminal that nobody has open any more: none, because
// show tells of that.
func (a *attached) ended(err error) error {
	if m := a.process.snapshot(); m.Generation != a.child.generation || !m.Alive || isTerminalEnd(err) {
		return nil
	}
	return status.Errorf(codes.Internal, "terminal of process %q: %v", a.process.name, err)
}

// show sends what the process writes, until its end.
func (a *attached) show(ctx context.Context) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	var exit *life.Exit
	var gone error
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		defer stop()
		var m life.Machine
		m, gone = a.process.await(ctx, func(now life.Machine) bool { return now.Generation != a.child.generation || !now.Alive })
		exit = m.Exit
	}()
	err := a.log.Read(running, logs.From{Offset: a.next}, true, a.send)
	if running.Err() == nil && err != nil {
		stop()
		return readFault(ctx, a.process.name, err)
	}
	<-watched
	switch {
	case ctx.Err() != nil:
		return readFault(ctx, a.process.name, context.Cause(ctx))
	case gone != nil:
		return gone
	}
	if err := a.log.Read(ctx, logs.From{Offset: a.next}, false, a.send); err != nil {
		return readFault(ctx, a.process.name, err)
	}
	return a.stream.Send(&processv1.AttachResponse{Exit: exitReason(exit)})
}

func (a *attached) send(c logs.Chunk) error {
	if c.Missing > 0 {
		return status.Errorf(codes.DataLoss, "%d bytes were written faster than they were read, and are no longer kept", c.Missing)
	}
	a.next = c.Offset + int64(len(c.Content))
	return a.stream.Send(&processv1.AttachResponse{Output: c.Content})
}
