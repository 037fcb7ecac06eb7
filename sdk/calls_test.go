package sdk

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func newStation(t *testing.T) *plugin {
	t.Helper()
	p, err := newPlugin(serving(&station{released: make(chan struct{})}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestADrainIsCutShortByItsGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newStation(t)
		p.calls.Enter()
		p.calls.Enter()
		began := time.Now()
		response, err := (&contract{plugin: p}).Drain(t.Context(), &pluginv1.DrainRequest{Grace: durationpb.New(3 * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		if got := response.GetUnfinished(); got != 2 {
			t.Errorf("got %d calls unfinished, want 2", got)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, want 3s", took)
		}
	})
}

func TestServicesAreNotShutDownUnderACallThatIgnoresItsCancellation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counted{takesConfig: takesConfig{new(string)}}
		p, err := newPlugin(serving(c))
		if err != nil {
			t.Fatal(err)
		}
		p.calls.Enter()
		const want = "services not shut down: 1 calls still run 1s after they were cancelled"
		if err := p.shutdown(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if c.ended != 0 {
			t.Error("shut down under a call")
		}
		p.calls.Leave()
	})
}

func TestAServiceIsNotClosedWhileItIsConfigured(t *testing.T) {
	p := newStation(t)
	p.calls.Drain(t.Context())
	_, err := (&contract{plugin: p}).Configure(t.Context(), &pluginv1.ConfigureRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestStreamsOfGoPluginDoNotHoldUpTheEnd(t *testing.T) {
	p := newStation(t)
	abandoned, err := make(chan struct{}), make(chan error)
	go func() {
		err <- p.stream(nil, nil, &grpc.StreamServerInfo{FullMethod: "/plugin.GRPCStdio/StreamStdio"}, func(any, grpc.ServerStream) error {
			<-abandoned
			return nil
		})
	}()
	close(p.stopping)
	if got := <-err; status.Code(got) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", got)
	}
	close(abandoned)
}

// An error travels in a header: one that is too large would break the
// connection, and with it all other calls.
func TestAnErrorThatIsTooLargeIsShortened(t *testing.T) {
	p := newStation(t)
	for _, n := range []int{10, 17 << 20} {
		text := strings.Repeat("ä", n/2)
		counted := p.counted(&grpc.ServiceDesc{ServiceName: "a.B", Methods: []grpc.MethodDesc{{
			MethodName: "C",
			Handler: func(any, context.Context, func(any) error, grpc.UnaryServerInterceptor) (any, error) {
				return nil, status.Error(codes.NotFound, text)
			},
		}}})
		_, err := counted.Methods[0].Handler(nil, t.Context(), nil, nil)
		st := status.Convert(err)
		if whole := st.Message() == text; st.Code() != codes.NotFound || whole != (n == 10) || len(st.Message()) > longestError {
			t.Errorf("of %d bytes: code %v and %d bytes", n, st.Code(), len(st.Message()))
		}
	}
}
