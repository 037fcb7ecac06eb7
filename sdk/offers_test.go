package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
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
