package conformance

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/wire"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// drain asks the plugin to finish, and returns how many calls it did not.
func (i *instance) drain(ctx context.Context, grace time.Duration) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, grace+answerTime)
	defer cancel()
	r, err := i.contract.Drain(ctx, &pluginv1.DrainRequest{Grace: durationpb.New(grace)})
	return r.GetUnfinished(), err
}

// orderly checks the exit of a process that was asked to end.
func orderly(exit wire.Exit) error {
	if exit.Code != 0 {
		return fail("exit code 0 after SIGTERM", exit.String(), "end with 0 when all went well: the host takes other codes for crashes")
	}
	return nil
}

// lastingTime is after which a stream counts as one that lasts, and announced how
// long one may take to end when it is told to.
const (
	lastingTime = 200 * time.Millisecond
	announced   = 3 * time.Second
)

// endsWhatLasts opens the streams that may be opened, announces a drain, and looks
// which of those that did not end by themselves end then.
func endsWhatLasts(ctx context.Context, s *suite) error {
	i, err := s.configured(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // what could not be ended is found by the next start
	var streams sync.WaitGroup
	defer streams.Wait()
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	open := make(map[string]chan struct{}) // closed when the stream has ended
	for _, m := range s.harmless(isServerStream) {
		ended := make(chan struct{})
		open[m.name] = ended
		streams.Go(func() {
			defer close(ended)
			_ = exchange(ctx, i.Conn(), m, &raw{})
		})
	}
	awaitAll(open, lastingTime)
	if _, err := i.contract.AnnounceDrain(ctx, &pluginv1.AnnounceDrainRequest{}); isUnimplemented(err) {
		return skipf("it does not implement AnnounceDrain: a swap waits for its streams until they are cut off")
	} else if err != nil {
		return fail("an answer to AnnounceDrain at once", err.Error(), "note that the drain is near, and answer")
	}
	if lasting := awaitAll(open, announced); lasting != "" {
		return fail(fmt.Sprintf("the end of %s within %v of AnnounceDrain", lasting, announced), "it goes on", "end such calls with Unavailable when a drain is announced: in Go, sdk.UntilDrain(ctx) says when")
	}
	for _, m := range s.harmless(isUnary) {
		if err := call(ctx, i.Conn(), m, newRequest(m)); status.Code(err) == codes.Unavailable {
			return fail("that calls go on after AnnounceDrain", fmt.Sprintf("%s: %v", m.name, err), "refuse calls from Drain on, and not before")
		}
	}
	return nil
}

// awaitAll waits for the end of all, removes those that ended in time, and names
// one of the others.
func awaitAll(open map[string]chan struct{}, within time.Duration) (left string) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for name, ended := range open {
		select {
		case <-ended:
			delete(open, name)
		case <-timer.C:
			timer.Reset(0) // for the next one, too
			left = name
		}
	}
	return left
}

func drains(ctx context.Context, s *suite) error {
	i, err := s.configured(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // what could not be ended is found by the next start
	unfinished, err := i.drain(ctx, time.Second)
	switch {
	case isUnimplemented(err):
		return skipf("it does not implement Drain: at a swap the host just waits for the calls in flight")
	case err != nil:
		return fail("an answer to Drain", err.Error(), "return when the calls in flight have ended, or the grace has")
	case unfinished > 0:
		return fail("no call in flight", fmt.Sprintf("%d, though nobody calls", unfinished), "count calls in and out")
	}
	for _, m := range s.harmless(isUnary) {
		err := call(ctx, i.Conn(), m, newRequest(m))
		if status.Code(err) != codes.Unavailable {
			return fail("Unavailable for a call after Drain", fmt.Sprintf("%v of %s", status.Code(err), m.name), "refuse calls once Drain was called, with ErrorInfo DRAINING of domain gaia: the host then gives them to the next instance")
		}
	}
	exit, err := i.terminate(ctx)
	if err != nil {
		return err
	}
	return orderly(exit)
}

// endsInOrder sends SIGTERM while eight callers call without pause.
func endsInOrder(ctx context.Context, s *suite) error {
	if err := s.inNewTemp(); err != nil {
		return err
	}
	i, err := s.configured(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // as above
	one := func(ctx context.Context) error { _, err := s.describe(ctx, i); return err }
	if methods := s.harmless(isUnary); len(methods) > 0 {
		one = func(ctx context.Context) error { return call(ctx, i.Conn(), methods[0], newRequest(methods[0])) }
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	var (
		callers  sync.WaitGroup
		answered atomic.Int64
		busy     = make(chan struct{}) // closed after some answers
		lost     atomic.Pointer[string]
	)
	for range 8 {
		callers.Go(func() {
			for ctx.Err() == nil {
				err := one(ctx)
				if isLost(err) {
					text := status.Convert(err).Message()
					lost.Store(&text)
				}
				if status.Code(err) == codes.Unavailable {
					return
				}
				if answered.Add(1) == 100 {
					close(busy)
				}
			}
		})
	}
	select {
	case <-busy:
	case <-i.Exited():
	case <-ctx.Done():
		return fail("100 answers", fmt.Sprintf("%d within %v", answered.Load(), 2*answerTime), "find out what makes the calls slow")
	}
	exit, err := i.terminate(ctx)
	cancel()
	callers.Wait()
	if err != nil {
		return err
	}
	if text := lost.Load(); text != nil {
		return fail("an answer to every call that was in flight", "one was cut off: "+*text, "stop the gRPC server gracefully (GracefulStop; server.stop(grace)), and only then exit")
	}
	if err := orderly(exit); err != nil {
		return err
	}
	if left := s.leftovers(); left != "" {
		return fail("an empty $TMPDIR after its end", left, "remove temp files when the plugin ends")
	}
	return nil
}

func startsAfterKill(ctx context.Context, s *suite) error {
	i, err := s.configured(ctx)
	if err != nil {
		return err
	}
	i.Kill()
	if err := i.Close(); err != nil {
		return err
	}
	if i, err = s.configured(ctx); err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // as above
	exit, err := i.terminate(ctx)
	if err != nil {
		return err
	}
	return orderly(exit)
}

// starts is how many startsAgain makes, and moreMemory what the last may need
// beyond the first, in bytes.
const (
	starts     = 20
	moreMemory = 32 << 20
)

func startsAgain(ctx context.Context, s *suite) error {
	if err := s.inNewTemp(); err != nil {
		return err
	}
	var first usage
	for n := range starts {
		i, err := s.configured(ctx)
		if err != nil {
			return fmt.Errorf("start %d: %w", n+1, err)
		}
		now, known := usageOf(i.PID())
		if n == 0 {
			first = now
		}
		exit, err := i.terminate(ctx)
		_ = i.Close()
		if err == nil {
			err = orderly(exit)
		}
		if err != nil {
			return err
		}
		if known && now.memory > first.memory+moreMemory {
			return fail("the memory of its first start", fmt.Sprintf("%d MiB at start %d, %d MiB at the first", now.memory>>20, n+1, first.memory>>20), "find what it reads at its start that grows from start to start")
		}
	}
	if left := s.leftovers(); left != "" {
		return fail("an empty $TMPDIR after 20 starts and ends", left, "remove temp files when the plugin ends, and those of a dead instance when it starts")
	}
	return nil
}
