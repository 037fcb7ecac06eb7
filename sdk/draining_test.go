package sdk

import (
	"context"
	"errors"
	"testing"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/sdk/link"
	"github.com/gaia-go/gaia/sdk/wire"
)

// wantSentAway checks that an error lets the host and callers repeat the call.
func wantSentAway(t *testing.T, what string, err error) {
	t.Helper()
	st := status.Convert(err)
	var reason string
	var delay time.Duration
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			reason = d.GetReason()
		case *errdetails.RetryInfo:
			delay = d.GetRetryDelay().AsDuration()
		}
	}
	if st.Code() != codes.Unavailable || reason != wire.ReasonDraining || delay != retryDelay {
		t.Errorf("%s: got %v, reason %q, delay %v; want Unavailable, %q and %v", what, err, reason, delay, wire.ReasonDraining, retryDelay)
	}
}

func TestCallsThatLastEndWhenTheDrainIsAnnouncedAndOthersGoOn(t *testing.T) {
	for _, by := range []string{"the host", "SIGTERM"} {
		t.Run(by, func(t *testing.T) {
			p, said := start(t, "gaia-test-station")
			l, err := link.Open(t.Context(), p.LinkSocket())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ctx := context.WithoutCancel(t.Context())
			lingering, working := make(chan error, 2), make(chan error, 1)
			for _, conn := range []grpc.ClientConnInterface{p.Conn(), l} {
				go func() {
					_, err := ask(ctx, conn, "linger")
					lingering <- err
				}()
				said.Await(t, "lingering")
			}
			go func() {
				_, err := ask(ctx, p.Conn(), "wait")
				working <- err
			}()
			said.Await(t, "waiting")
			stream := talk(t, p.Conn())
			say(t, stream, "linger")
			releaser := talk(t, p.Conn())

			if by == "SIGTERM" {
				p.Terminate()
			} else {
				for range 2 { // the second one changes nothing
					if _, err := pluginv1.NewPluginClient(p.Conn()).AnnounceDrain(t.Context(), &pluginv1.AnnounceDrainRequest{}); err != nil {
						t.Fatal(err)
					}
				}
			}
			wantSentAway(t, "a unary call", <-lingering)
			wantSentAway(t, "a unary call", <-lingering)
			_, err = stream.Recv()
			wantSentAway(t, "a stream", err)
			if by == "the host" {
				_, err = ask(t.Context(), l, "linger")
				wantSentAway(t, "a call that comes later", err)
				if _, err := ask(t.Context(), p.Conn(), "greet you"); err != nil {
					t.Errorf("a call that does not last: %v", err)
				}
			}
			say(t, releaser, "release")
			if err := <-working; err != nil {
				t.Errorf("a call in flight that does not ask: %v", err)
			}
		})
	}
}

func TestOutsideOfAPluginNothingIsDrained(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	until, stop := UntilDrain(ctx)
	defer stop()
	if until.Err() != nil {
		t.Errorf("got %v, want that it goes on", until.Err())
	}
	cancel()
	<-until.Done()
	if err := context.Cause(until); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
