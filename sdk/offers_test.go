package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type (
	plain       struct{}
	takesConfig struct{ got *string }
	unaryRPC    struct{}
	serverRPC   struct{}
	bidiRPC     struct{}
	noContext   struct{}
	noPointer   struct{}
	noMessage   struct{}
	noError     struct{}
	twoResults  struct{}
	takesAnew   struct{ calls *[]string }
	takesOther  struct{ takesConfig }
)

func (s takesAnew) Configure(_ context.Context, c *wrapperspb.StringValue) error {
	*s.calls = append(*s.calls, "configure "+c.GetValue())
	if c.GetValue() == "wrong" {
		return errors.New("wrong")
	}
	return nil
}

func (s takesAnew) Reconfigure(_ context.Context, c *wrapperspb.StringValue) error {
	*s.calls = append(*s.calls, "reconfigure "+c.GetValue())
	return nil
}

func (takesAnew) Exclusive() bool { return true }
func (takesAnew) Limits() Limits  { return Limits{Concurrency: 7, Queue: -1, Timeout: time.Second} }

func (takesOther) Reconfigure(context.Context, *wrapperspb.BytesValue) error { return nil }

var (
	_ Reconfigurer[*wrapperspb.StringValue] = takesAnew{}
	_ Exclusive                             = takesAnew{}
	_ Limited                               = takesAnew{}
)

func (s takesConfig) Configure(_ context.Context, c *wrapperspb.StringValue) error {
	*s.got = c.GetValue()
	return errors.New("as you like")
}

func (unaryRPC) Configure(context.Context, *emptypb.Empty) (*emptypb.Empty, error) { return nil, nil }
func (serverRPC) Configure(*emptypb.Empty, grpc.ServerStreamingServer[emptypb.Empty]) error {
	return nil
}
func (bidiRPC) Configure(grpc.BidiStreamingServer[emptypb.Empty, emptypb.Empty]) error { return nil }
func (noContext) Configure(*emptypb.Empty) error                                       { return nil }
func (noPointer) Configure(context.Context, proto.Message) error                       { return nil }
func (noMessage) Configure(context.Context, *string) error                             { return nil }
func (noError) Configure(context.Context, *emptypb.Empty)                              {}
func (twoResults) Configure(context.Context, *emptypb.Empty) (bool, error)             { return true, nil }

var _ Configurer[*wrapperspb.StringValue] = takesConfig{}

func TestAConfigureMethodIsFoundByItsShape(t *testing.T) {
	const want = ", want func(context.Context, *YourConfigMessage) error"
	tests := []struct {
		given       any
		wantMessage string
		wantErr     string
	}{
		{given: plain{}},
		{given: unaryRPC{}},
		{given: serverRPC{}},
		{given: bidiRPC{}},
		{given: takesConfig{new(string)}, wantMessage: "google.protobuf.StringValue"},
		{given: &takesConfig{new(string)}, wantMessage: "google.protobuf.StringValue"},
		{given: noContext{}, wantErr: "sdk.noContext.Configure has type func(*emptypb.Empty) error" + want},
		{given: noPointer{}, wantErr: "sdk.noPointer.Configure has type func(context.Context, protoreflect.ProtoMessage) error" + want},
		{given: noMessage{}, wantErr: "sdk.noMessage.Configure has type func(context.Context, *string) error" + want},
		{given: noError{}, wantErr: "sdk.noError.Configure has type func(context.Context, *emptypb.Empty)" + want},
		{given: twoResults{}, wantErr: "sdk.twoResults.Configure has type func(context.Context, *emptypb.Empty) (bool, error)" + want},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%T", test.given), func(t *testing.T) {
			c, err := findConfigurer(test.given)
			if got := fmt.Sprint(err); got != test.wantErr && (err != nil || test.wantErr != "") {
				t.Fatalf("got error %s\nwant %s", got, test.wantErr)
			}
			var got string
			if c != nil {
				got = string(c.message.ProtoReflect().Descriptor().FullName())
			}
			if got != test.wantMessage {
				t.Errorf("got message %q, want %q", got, test.wantMessage)
			}
		})
	}
}

func TestAFoundConfigureMethodIsCalledWithTheMessage(t *testing.T) {
	var got string
	c, err := findConfigurer(takesConfig{&got})
	if err != nil {
		t.Fatal(err)
	}
	err = c.configure(t.Context(), wrapperspb.String("hello"))
	if got != "hello" || err == nil || err.Error() != "as you like" {
		t.Errorf("got config %q and error %v", got, err)
	}
}

func TestOnlyAConfigThatWasTakenMakesTheNextOneAReconfiguration(t *testing.T) {
	var got []string
	c, err := findConfigurer(takesAnew{&got})
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"wrong", "first", "second"} {
		_ = c.apply(t.Context(), wrapperspb.String(value)) // the calls are what counts
	}
	if diff := cmp.Diff([]string{"configure wrong", "configure first", "reconfigure second"}, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	if _, err := findConfigurer(takesOther{}); err == nil || !strings.Contains(err.Error(), "they take the same config") {
		t.Errorf("Reconfigure with another message: got error %v", err)
	}
}

func TestADescriptionTellsWhatThePluginIsLike(t *testing.T) {
	var calls []string
	for _, test := range []struct {
		given any
		want  *pluginv1.DescribeResponse
	}{
		{takesConfig{new(string)}, &pluginv1.DescribeResponse{}},
		{takesAnew{&calls}, &pluginv1.DescribeResponse{
			LiveConfig: true, Exclusive: true,
			Defaults: &pluginv1.Defaults{Concurrency: 7, Timeout: durationpb.New(time.Second)},
		}},
	} {
		p, err := newPlugin(func(r grpc.ServiceRegistrar) {
			r.RegisterService(&grpc.ServiceDesc{ServiceName: "grpc.testing.TestService", Metadata: "grpc/testing/test.proto"}, test.given)
		})
		if err != nil {
			t.Fatal(err)
		}
		d, err := p.description()
		if err != nil {
			t.Fatal(err)
		}
		got := &pluginv1.DescribeResponse{LiveConfig: d.GetLiveConfig(), Exclusive: d.GetExclusive(), Defaults: d.GetDefaults()}
		if !proto.Equal(got, test.want) {
			t.Errorf("%T: got %v, want %v", test.given, got, test.want)
		}
	}
}

func TestEveryFieldErrorInATreeOfErrorsIsFound(t *testing.T) {
	a, b := Invalid("a", "%d is too much.", 7), Invalid("b[2].c", "Missing.")
	isA, isB := FieldError{"a", "7 is too much."}, FieldError{"b[2].c", "Missing."}
	whole := func(problem string) FieldError { return FieldError{Problem: problem} }
	tests := []struct {
		name  string
		given error
		want  []FieldError
	}{
		{"nothing", nil, nil},
		{"one", a, []FieldError{isA}},
		{"joined", errors.Join(a, b), []FieldError{isA, isB}},
		{"wrapped", fmt.Errorf("block: %w", a), []FieldError{isA}},
		{"wrapped twice", fmt.Errorf("block: %w", fmt.Errorf("inner: %w", a)), []FieldError{isA}},
		{"joined, then wrapped", fmt.Errorf("block: %w", errors.Join(a, b)), []FieldError{isA, isB}},
		{"wrapped, then joined", errors.Join(fmt.Errorf("block: %w", a), fmt.Errorf("block: %w", b)), []FieldError{isA, isB}},
		{"two in one text", fmt.Errorf("%w and %w", a, b), []FieldError{isA, isB}},
		{"none", os.ErrNotExist, []FieldError{whole("file does not exist")}},
		{"none, wrapped", fmt.Errorf("open x: %w", os.ErrNotExist), []FieldError{whole("open x: file does not exist")}},
		{"none, two causes", fmt.Errorf("%w: %w", os.ErrInvalid, os.ErrNotExist), []FieldError{whole("invalid argument: file does not exist")}},
		{"mixed", errors.Join(a, fmt.Errorf("open x: %w", os.ErrNotExist)), []FieldError{isA, whole("open x: file does not exist")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []FieldError
			for _, e := range fieldErrors(test.given) {
				got = append(got, *e)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestAFieldErrorNamesItsField(t *testing.T) {
	for want, given := range map[string]error{
		"a.b: Missing.": Invalid("a.b", "Missing."),
		"Missing.":      Invalid("", "Missing."),
	} {
		if got := given.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
