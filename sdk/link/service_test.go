package link

import (
	"context"
	"encoding/binary"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods of the tests that write frames. A request says how large an
// answer it wants: in the first 4 bytes of a low-level one, as a UInt32Value of
// one that was registered.
const (
	onTheReader = "/f.F/Inline"
	onAWorker   = "/f.F/Worker"
	untilTheEnd = "/f.F/Blocks" // on a worker, until its context ends
	atOnce      = "/f.F/AtOnce" // by the Handler
	later       = "/f.F/Later"
	inParts     = "/f.F/InParts" // later, and more at once than there is credit for
	whenItEnds  = "/f.F/WhenItEnds"
)

// largest bounds the answers. It needs credit.
const largest = answerWindow + 200_000

// wants is the largest answer that is given to who wants n bytes.
func wants(n uint32) int { return int(n % (largest + 1)) }

// registered is the service of the methods that are registered.
func registered() *grpc.ServiceDesc {
	answer := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.UInt32Value)
		if err := decode(in); err != nil {
			return nil, err
		}
		return wrapperspb.Bytes(make([]byte, wants(in.GetValue()))), nil
	}
	block := func(_ any, ctx context.Context, _ func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return &grpc.ServiceDesc{
		ServiceName: "f.F",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Inline", Handler: answer},
			{MethodName: "Worker", Handler: answer},
			{MethodName: "Blocks", Handler: block},
		},
	}
}

// wanting is the message of a registered method.
func wanting(n int) []byte { return append([]byte{8}, binary.AppendUvarint(nil, uint64(n))...) }

// A proxy is a Handler that answers as the method's name says.
type proxy struct{ running sync.WaitGroup }

func (p *proxy) Serve(c *Call, b *Batch) {
	n := 0
	if len(c.Payload()) >= 4 {
		n = wants(binary.LittleEndian.Uint32(c.Payload()))
	}
	switch c.Method() {
	case atOnce:
		c.Answer(&Answer{Payload: make([]byte, min(n, MaxPayload)), Batch: b})
	case later:
		p.running.Go(func() { c.Reply(&Answer{Payload: make([]byte, n)}) })
	case inParts:
		p.running.Go(func() {
			whole := make([]byte, n)
			first := whole[:min(n, MaxPayload)]
			rest := whole[len(first):]
			c.Answer(&Answer{Payload: first, Total: n, More: len(rest) > 0})
			for len(rest) > 0 {
				k := min(len(rest), 50_000)
				c.Answer(&Answer{Part: true, Payload: rest[:k], More: k < len(rest)})
				rest = rest[k:]
			}
		})
	case whenItEnds:
		ctx := c.Context()
		p.running.Go(func() {
			<-ctx.Done()
			c.Answer(ended(Answered, status.FromContextError(ctx.Err()).Err(), nil))
		})
	default:
		c.Answer(ended(Answered, status.Errorf(codes.Unimplemented, "no method %q", c.Method()), b))
	}
}

// newService is a Server of all that.
func newService(j *journal) (*Server, *proxy) {
	p := new(proxy)
	s := NewServer(ServerOptions{
		Logger:        j.logger(),
		Handler:       p,
		IsNonBlocking: func(method string) bool { return method == onTheReader },
	})
	s.RegisterService(registered(), nil)
	return s, p
}

// allMethods are the method frames of all methods, by their numbers.
func allMethods() (names []string, encoded []byte) {
	names = []string{onTheReader, onAWorker, untilTheEnd, atOnce, later, inParts, whenItEnds, "/f.F/Unknown", "rubbish"}
	for number, name := range names {
		encoded = append(encoded, methodFrame(number, name)...)
	}
	return names, encoded
}

func methodFrame(number int, name string) []byte {
	return append(appendHeader(nil, kindMethod, 0, uint16(number), 0, len(name)), name...)
}
