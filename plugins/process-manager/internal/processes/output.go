package processes

import (
	"context"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/logs"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxTail is what process.proto allows.
const maxTail = 100_000

// Logs streams what a process has written, and with follow what it goes on to
// write, until it has ended for good.
func (m *Manager) Logs(r *processv1.LogsRequest, stream grpc.ServerStreamingServer[processv1.LogsResponse]) error {
	p, err := m.find(r.GetName())
	if err != nil {
		return err
	}
	from, err := fromOf(r)
	if err != nil {
		return err
	}
	log := p.openedLog()
	if log == nil {
		return nil // nothing was ever written
	}
	ctx := stream.Context()
	if r.GetFollow() {
		var stop context.CancelFunc
		ctx, stop = sdk.UntilDrain(ctx)
		defer stop()
	}
	err = log.Read(ctx, from, r.GetFollow(), func(c logs.Chunk) error {
		return stream.Send(&processv1.LogsResponse{
			Offset: uint64(c.Offset), Content: c.Content, Time: timestamp(c.Time), Missing: uint64(c.Missing), //nolint:gosec // G115: offsets are not negative
		})
	})
	return readFault(ctx, p.name, err)
}

// fromOf reads where to begin.
func fromOf(r *processv1.LogsRequest) (logs.From, error) {
	given := 0
	for _, is := range []bool{r.Offset != nil, r.GetSince() != nil, r.GetTail() > 0} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return logs.From{}, invalid("offset, since and tail: only one of them may be given")
	case r.GetTail() > maxTail:
		return logs.From{}, invalid("tail: %d lines, limit %d", r.GetTail(), maxTail)
	case r.GetSince() != nil && r.GetSince().CheckValid() != nil:
		return logs.From{}, invalid("since: %v", r.GetSince().CheckValid())
	case r.GetSince() != nil:
		return logs.From{Since: r.GetSince().AsTime()}, nil
	case r.GetOffset() > 1<<62:
		return logs.From{}, invalid("offset: %d is beyond all logs", r.GetOffset())
	}
	from := logs.From{Offset: int64(r.GetOffset()), Tail: int(r.GetTail())} //nolint:gosec // G115: bounded above
	return from, nil
}

// readFault is the error of a call that reads a log.
func readFault(ctx context.Context, name string, err error) error {
	if err != nil && ctx.Err() != nil {
		return over(ctx)
	}
	if s, ok := status.FromError(err); ok { // nil, or of the stream
		return s.Err()
	}
	return status.Errorf(codes.Internal, "log of process %q: %v", name, err)
}

// over is the error of a call whose context has ended.
func over(ctx context.Context) error {
	cause := context.Cause(ctx)
	if s, ok := status.FromError(cause); ok {
		return s.Err()
	}
	return status.FromContextError(cause).Err()
}

func (p *process) openedLog() *logs.Log {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log
}
