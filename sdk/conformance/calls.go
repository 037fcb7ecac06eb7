package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/link"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	// callTime bounds a call that is to fail at once.
	callTime = 5 * time.Second
	// extremeTime bounds a call that may take as long as it likes.
	extremeTime = time.Second
)

// raw is a message as bytes.
type raw []byte

// rawCodec lets bytes through that are no message.
type rawCodec struct{}

// Name is that of protobuf's codec: the plugin is to take the bytes for its own.
func (rawCodec) Name() string { return "proto" }

// Marshal takes a *raw.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*raw))}, nil
}

// Unmarshal fills a *raw.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*raw) = data.Materialize()
	return nil
}

// hasCode reports whether an error is of one of some kinds.
func hasCode(err error, kinds ...codes.Code) bool { return slices.Contains(kinds, status.Code(err)) }

// exchange makes a call of any kind with one request, and none where request is
// nil, and reads all answers.
func exchange(ctx context.Context, conn grpc.ClientConnInterface, m method, request *raw) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that was not read to its end
	desc := &grpc.StreamDesc{ClientStreams: m.desc.IsStreamingClient(), ServerStreams: m.desc.IsStreamingServer()}
	stream, err := conn.NewStream(ctx, desc, m.name, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		return err
	}
	if request == nil {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) { // then RecvMsg says why
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		switch err := stream.RecvMsg(new(raw)); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case !desc.ServerStreams:
			return nil
		}
	}
}

func knowsItsMethods(ctx context.Context, s *suite) error {
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	for _, name := range []string{"/" + s.description.GetServices()[0] + "/NobodyHasThis", "/nobody.has.This/Method"} {
		var answer raw
		if err := i.Conn().Invoke(ctx, name, &raw{}, &answer, grpc.ForceCodecV2(rawCodec{})); !isUnimplemented(err) {
			return fail("Unimplemented for "+name, fmt.Sprint(err), "leave unknown methods to gRPC, which answers so")
		}
	}
	return nil
}

func survivesRubbish(ctx context.Context, s *suite) error {
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	for _, m := range s.methods {
		for _, rubbish := range noMessages() {
			ctx, cancel := context.WithTimeout(ctx, callTime)
			err := exchange(ctx, i.Conn(), m, (*raw)(&rubbish))
			cancel()
			if hasCode(err, codes.OK, codes.DeadlineExceeded, codes.Unavailable) {
				return fail("an error of "+m.name+" for the bytes "+fmt.Sprintf("% .40x", rubbish), fmt.Sprintf("%v: %v", status.Code(err), err),
					"decode requests with protobuf and let its errors be the answer; a stream that cannot read a request returns that error")
			}
		}
	}
	return nil
}

// survivesExtremes sends requests that are empty, and such as hold the largest,
// longest and least values.
func survivesExtremes(ctx context.Context, s *suite) error {
	methods := s.harmless(isAny)
	if len(methods) == 0 {
		return errNoHarmless("method")
	}
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	for _, m := range methods {
		for _, sign := range []int{0, 1, -1} {
			request := newRequest(m)
			if sign != 0 {
				fillExtreme(request, sign, deep)
			}
			encoded, err := proto.Marshal(request)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, extremeTime)
			err = exchange(ctx, i.Conn(), m, (*raw)(&encoded))
			cancel()
			if hasCode(err, codes.Internal, codes.Unknown, codes.Unavailable, codes.DataLoss) {
				which := map[int]string{0: "an empty request", 1: "a request of very large values", -1: "a request of very small values"}[sign]
				return fail("an answer, or an error that says what is wrong with the request, such as InvalidArgument, for "+which+" of "+m.name,
					fmt.Sprintf("%v: %.300s", status.Code(err), status.Convert(err).Message()),
					"check the request and return status.Errorf(codes.InvalidArgument, …); Internal and Unknown are for faults of the plugin")
			}
		}
	}
	return nil
}

// takesLargeMessages asks Describe, which every plugin has: gRPC's own bound, of
// 4 MiB, is the server's.
func takesLargeMessages(ctx context.Context, s *suite) error {
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	request := &pluginv1.DescribeRequest{}
	unknown := protowire.AppendTag(nil, 1000, protowire.BytesType)
	request.ProtoReflect().SetUnknown(protowire.AppendBytes(unknown, make([]byte, 5<<20)))
	if _, err := i.contract.Describe(ctx, request); isUnimplemented(err) {
		return skipf("it does not implement Describe, which could be asked at length")
	} else if err != nil {
		return fail("an answer to a request of 5 MiB", err.Error(), "let the gRPC server receive and send messages of up to 64 MiB (grpc.MaxRecvMsgSize; grpc.max_receive_message_length): its own bound is 4 MiB")
	}
	return nil
}

// servesManyAtOnce has 64 callers, 10 calls each.
func servesManyAtOnce(ctx context.Context, s *suite) error {
	methods := s.harmless(isUnary)
	if len(methods) == 0 {
		return errNoHarmless("unary method")
	}
	i, err := s.live(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerTime)
	defer cancel()
	var (
		callers sync.WaitGroup
		once    sync.Once
		worst   error
	)
	for n := range 64 {
		callers.Go(func() {
			for k := range 10 {
				m := methods[(n+k)%len(methods)]
				err := call(ctx, i.Conn(), m, newRequest(m))
				if hasCode(err, codes.Unavailable, codes.Internal, codes.Unknown) {
					once.Do(func() { worst = fmt.Errorf("%s: %w", m.name, err) })
				}
			}
		})
	}
	callers.Wait()
	if worst != nil {
		return fail("640 answers to calls of 64 callers", worst.Error(), "methods are called at the same time: guard what they share, or refuse with ResourceExhausted")
	}
	return nil
}

// servesLink makes calls over the link and over gRPC and compares.
func servesLink(ctx context.Context, s *suite) error {
	if !s.description.GetLink() {
		return skipf("it does not say link: all calls come by gRPC, which every host does as well")
	}
	i, err := s.configured(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // what could not be ended is found by the next start
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	conn, err := link.Open(ctx, i.LinkSocket())
	if err != nil {
		return fail("a greeting on the socket $GAIA_LINK_FD", err.Error(), "serve docs/protocol.md there, or do not say link in Describe")
	}
	defer conn.Close() //nolint:errcheck // it returns none
	for _, m := range s.methods {
		if !isUnary(m.desc) {
			continue
		}
		for _, request := range append(noMessages(), nil) {
			if request == nil && !m.harmless {
				continue
			}
			over := func(c grpc.ClientConnInterface) codes.Code {
				return status.Code(c.Invoke(ctx, m.name, (*raw)(&request), new(raw), grpc.ForceCodecV2(rawCodec{})))
			}
			if got, want := over(conn), over(i.Conn()); got != want {
				return fail(fmt.Sprintf("%v of %s by both transports", want, m.name), fmt.Sprintf("%v by the link", got), "let both lead to the same service")
			}
		}
	}
	return nil
}

// hanging are the calls by which it is seen whether a plugin notices their end:
// of methods without side effects with an empty request, of streams of callers
// without any.
func (s *suite) hanging() (methods []method, requests []*raw) {
	for _, m := range s.methods {
		switch {
		case m.desc.IsStreamingClient():
			methods, requests = append(methods, m), append(requests, nil)
		case m.harmless:
			methods, requests = append(methods, m), append(requests, &raw{})
		}
	}
	return methods, requests
}

// abandon makes calls and ends each soon, n of each method, some at a time. limit
// makes the context of one call.
func (s *suite) abandon(ctx context.Context, i *instance, n int, limit func(context.Context) (context.Context, context.CancelFunc)) error {
	methods, requests := s.hanging()
	if len(methods) == 0 {
		return errNoHarmless("method")
	}
	for k, m := range methods {
		for left := n; left > 0; left -= 20 {
			var callers sync.WaitGroup
			for range min(left, 20) {
				callers.Go(func() {
					ctx, cancel := limit(ctx)
					defer cancel()
					_ = exchange(ctx, i.Conn(), m, requests[k])
				})
			}
			callers.Wait()
		}
	}
	return nil
}

// lifeOfACall is how long abandoned calls live: long enough to arrive.
const lifeOfACall = 20 * time.Millisecond

func byDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, lifeOfACall)
}

// byCancelling makes calls that have no deadline: the plugin would know it, too.
func byCancelling(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := time.AfterFunc(lifeOfACall, cancel)
	return ctx, func() {
		stop.Stop()
		cancel()
	}
}

func obeysDeadlines(ctx context.Context, s *suite) error {
	return s.endsCalls(ctx, byDeadline, "deadline")
}

func noticesCancellation(ctx context.Context, s *suite) error {
	return s.endsCalls(ctx, byCancelling, "cancellation")
}

// endsCalls abandons calls and asks the plugin, by Drain or SIGTERM, whether it
// is rid of them.
func (s *suite) endsCalls(ctx context.Context, limit func(context.Context) (context.Context, context.CancelFunc), what string) error {
	i, err := s.configured(ctx)
	if err != nil {
		return err
	}
	defer i.Close() //nolint:errcheck // what could not be ended is found by the next start
	if err := s.abandon(ctx, i, 10, limit); err != nil {
		return err
	}
	fix := "end a method when its context has ended (ctx.Done() in Go, context.is_active() in Python), also while it waits for others"
	unfinished, err := i.drain(ctx, 2*time.Second)
	if unfinished > 0 {
		return fail("no call in flight 2 s after the "+what+" of all", fmt.Sprintf("%d", unfinished), fix)
	}
	if err != nil && !isUnimplemented(err) {
		return err
	}
	exit, err := i.terminate(ctx)
	if err != nil {
		return fail("its end on SIGTERM, with no call in flight after the "+what+" of all", err.Error(), fix)
	}
	return orderly(exit)
}

// isLost reports whether a call was cut off half way, in the words of gRPC for
// Go, which this package calls with.
func isLost(err error) bool {
	if status.Code(err) != codes.Unavailable {
		return false
	}
	text := status.Convert(err).Message()
	return strings.Contains(text, "error reading from server") || strings.Contains(text, "connection reset")
}
