package processes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// input is what a process reads: the end of a pipe, or its terminal. It is safe
// for concurrent use.
type input struct {
	file   *os.File
	turn   chan struct{} // has room for the one who writes
	closed atomic.Bool
}

func newInput(file *os.File) *input { return &input{file: file, turn: make(chan struct{}, 1)} }

// write writes all of content in one piece, or returns how much it has written
// when ctx ends or nobody reads any more.
func (i *input) write(ctx context.Context, content []byte) (int, error) {
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := i.file.SetWriteDeadline(time.Time{}); err != nil {
		return 0, err
	}
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(expired)
		_ = i.file.SetWriteDeadline(time.Unix(1, 0))
	})
	n, err := i.file.Write(content)
	if stop() {
		return n, err
	}
	<-expired // or it would be the next writer's
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ctx.Err()
	}
	return n, err
}

func (i *input) close() error {
	if i.closed.Swap(true) {
		return nil
	}
	return i.file.Close()
}

// isClosed reports whether nothing can be written any more. There need not be an
// input.
func (i *input) isClosed() bool { return i == nil || i.closed.Load() }

// Input writes to a process's standard input. When the process does not read it
// waits, until the call ends; the error tells then how much was written.
func (m *Manager) Input(ctx context.Context, r *processv1.InputRequest) (*processv1.InputResponse, error) {
	p, err := m.find(r.GetName())
	if err != nil {
		return nil, err
	}
	in, err := p.stdin()
	if err != nil {
		return nil, err
	}
	if n, err := in.write(ctx, r.GetContent()); err != nil {
		return nil, p.inputFault(ctx, fmt.Sprintf("%d of %d bytes were written", n, len(r.GetContent())), err)
	}
	if !r.GetClose() {
		return &processv1.InputResponse{}, nil
	}
	err = in.close()
	if m.keeper.works() { // the pipe ends when nobody has it any more
		err = errors.Join(err, sdk.Forget(keptInput+p.name))
	}
	if err != nil {
		return nil, status.Errorf(codes.Internal, "process %q: close its standard input: %v", p.name, err)
	}
	return &processv1.InputResponse{}, nil
}

// stdin is the standard input of the process that runs.
func (p *process) stdin() (*input, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.plan.tty:
		return nil, status.Errorf(codes.FailedPrecondition, "process %q has a terminal; use Attach", p.name)
	case !p.plan.stdin:
		return nil, status.Errorf(codes.FailedPrecondition, "process %q was started without `stdin`", p.name)
	case p.child == nil:
		return nil, status.Errorf(codes.FailedPrecondition, "process %q does not run; it is %v", p.name, p.machine.State)
	case p.child.input.isClosed():
		return nil, status.Errorf(codes.FailedPrecondition, "the standard input of process %q is closed", p.name)
	}
	return p.child.input, nil
}

// inputFault is the error about what could not be written.
func (p *process) inputFault(ctx context.Context, written string, err error) error {
	if ctx.Err() != nil {
		return status.Errorf(status.FromContextError(ctx.Err()).Code(), "process %q does not read its input: %s", p.name, written)
	}
	return status.Errorf(codes.FailedPrecondition, "process %q reads no input any more (%v): %s", p.name, err, written)
}
