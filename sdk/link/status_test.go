package link_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// failing answers each call with the error at that moment.
func failing(err *error) handler {
	return func(context.Context, []byte) ([]byte, error) { return []byte("not to be seen"), *err }
}

func TestAStatusKeepsItsCode(t *testing.T) {
	overAll(t, func(t arena) {
		var answer error
		conn := t.serve(failing(&answer))
		defined := codes.Unauthenticated + 1
		for code := codes.Canceled; code <= defined; code++ {
			answer = status.Error(code, "because")
			got, err := call(patiently(t), conn, nil)
			wantStatus(t, err, code, "because")
			if got != nil {
				t.Errorf("%v: got the answer %q beside the error", code, got)
			}
		}
		for _, code := range []codes.Code{99, 1000, math.MaxInt32} {
			answer = status.Error(code, "because")
			_, err := call(patiently(t), conn, nil)
			wantStatus(t, err, code, "because")
		}
		answer = status.Error(codes.OK, "which is no error")
		got, err := call(patiently(t), conn, nil)
		wantStatus(t, err, codes.OK, "")
		if string(got) != "not to be seen" {
			t.Errorf("OK: got the answer %q, want the handler's", got)
		}
	})
}

func TestAStatusKeepsItsMessage(t *testing.T) {
	overAll(t, func(t arena) {
		var answer error
		conn := t.serve(failing(&answer))
		for _, message := range []string{
			"", " ", "a plain one", "100% of 50%25", "two\nlines\tand\x00a zero", "größer, 大きい, 🚀", strings.Repeat("long ", 2000),
		} {
			answer = status.Error(codes.Aborted, message)
			_, err := call(patiently(t), conn, nil)
			wantStatus(t, err, codes.Aborted, message)
		}
		// What is no UTF-8 cannot be in a status; each byte of it is replaced.
		answer = status.Error(codes.Aborted, "a\xff\xfeb")
		_, err := call(patiently(t), conn, nil)
		wantStatus(t, err, codes.Aborted, "a��b")
	})
}

func TestAStatusKeepsItsDetails(t *testing.T) {
	overAll(t, func(t arena) {
		known, err := anypb.New(&errdetails.RetryInfo{RetryDelay: durationpb.New(3)})
		if err != nil {
			t.Fatal(err)
		}
		unknown := &anypb.Any{TypeUrl: "type.googleapis.com/nobody.knows.This", Value: []byte("\x00\xff no message at all")}
		var answer error
		conn := t.serve(failing(&answer))
		for name, want := range map[string]*statuspb.Status{
			"one":                 {Code: int32(codes.Unavailable), Message: "later", Details: []*anypb.Any{known}},
			"several, in order":   {Code: int32(codes.Unavailable), Message: "later", Details: []*anypb.Any{unknown, known, unknown, known}},
			"of an empty message": {Code: int32(codes.Unavailable), Details: []*anypb.Any{known}},
			"of an unknown code":  {Code: 99, Message: "größer\n100%", Details: []*anypb.Any{unknown}},
			"without a type":      {Code: int32(codes.Internal), Message: "m", Details: []*anypb.Any{{}}},
			"of 32 KiB":           {Code: int32(codes.Internal), Message: "m", Details: []*anypb.Any{{TypeUrl: "x/y", Value: make([]byte, 32<<10)}}},
		} {
			answer = status.FromProto(want).Err()
			_, err := call(patiently(t), conn, nil)
			if diff := cmp.Diff(want, status.Convert(err).Proto(), protocmp.Transform()); diff != "" {
				t.Errorf("details %s: -want +got:\n%s", name, diff)
			}
		}
		answer = status.FromProto(&statuspb.Status{Code: 3, Details: []*anypb.Any{known}}).Err()
		_, err = call(patiently(t), conn, nil)
		details := status.Convert(err).Details()
		if len(details) != 1 {
			t.Fatalf("got %d details, want 1", len(details))
		}
		if info, ok := details[0].(*errdetails.RetryInfo); !ok || info.GetRetryDelay().GetNanos() != 3 {
			t.Errorf("got the detail %v, want the RetryInfo", details[0])
		}
	})
}

func TestABigStatusKeepsItsCodeAtLeast(t *testing.T) {
	overAll(t, func(t arena) {
		for name, want := range map[string]*statuspb.Status{
			"a long message": {Code: int32(codes.Aborted), Message: strings.Repeat("größer ", 10_000)},
			"big details":    {Code: int32(codes.Aborted), Message: "m", Details: []*anypb.Any{{TypeUrl: "x/y", Value: make([]byte, 80<<10)}}},
		} {
			answer := status.FromProto(want).Err()
			conn := t.serve(failing(&answer))
			_, err := call(patiently(t), conn, nil)
			got := status.Convert(err)
			if t.cutsStatuses {
				if part := want.GetMessage()[:min(len(want.GetMessage()), 10<<10)]; got.Code() != codes.Aborted || !strings.HasPrefix(got.Message(), part) || !utf8.ValidString(got.Message()) {
					t.Errorf("%s: got %v %.40q…, want the code and the message's beginning", name, got.Code(), got.Message())
				}
			} else if diff := cmp.Diff(want, got.Proto(), protocmp.Transform()); diff != "" {
				t.Errorf("%s: -want +got:\n%.400s", name, diff)
			}
		}
	})
}

// statusOf is an error that is no *status.Error and has a status nevertheless.
type statusOf struct{ s *status.Status }

func (statusOf) Error() string                { return "an error of its own" }
func (e statusOf) GRPCStatus() *status.Status { return e.s }

func TestAnErrorBecomesTheStatusThatGRPCGivesIt(t *testing.T) {
	overAll(t, func(t arena) {
		var answer error
		conn := t.serve(failing(&answer))
		notFound := status.Error(codes.NotFound, "no such file")
		for _, c := range []struct {
			given   error
			code    codes.Code
			message string
		}{
			{errors.New("plain"), codes.Unknown, "plain"},
			{io.EOF, codes.Unknown, "EOF"},
			{io.ErrUnexpectedEOF, codes.Unknown, "unexpected EOF"},
			{context.Canceled, codes.Canceled, "context canceled"},
			{context.DeadlineExceeded, codes.DeadlineExceeded, "context deadline exceeded"},
			{fmt.Errorf("step 3: %w", context.Canceled), codes.Canceled, "step 3: context canceled"},
			{fmt.Errorf("step 3: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "step 3: context deadline exceeded"},
			{fmt.Errorf("open: %w", notFound), codes.NotFound, "open: rpc error: code = NotFound desc = no such file"},
			{errors.Join(errors.New("a"), notFound), codes.NotFound, "a\nrpc error: code = NotFound desc = no such file"},
			{statusOf{status.New(codes.DataLoss, "torn")}, codes.DataLoss, "torn"},
			{statusOf{nil}, codes.Unknown, "an error of its own"},
			{fmt.Errorf("open: %w", statusOf{nil}), codes.Unknown, "open: an error of its own"},
		} {
			answer = c.given
			_, err := call(patiently(t), conn, nil)
			wantStatus(t, err, c.code, c.message)
		}
	})
}

func TestAnErrorWhoseStatusIsOKIsAnAnswerThatNeverCame(t *testing.T) {
	overAll(t, func(t arena) {
		var answer error = statusOf{status.New(codes.OK, "")}
		conn := t.serve(failing(&answer))
		_, err := call(patiently(t), conn, nil)
		wantCode(t, err, codes.Internal)
	})
}

func TestAMethodThatNobodyServesIsUnimplemented(t *testing.T) {
	overAll(t, func(t arena) {
		conn := t.serve(echo)
		if _, err := call(patiently(t), conn, nil); err != nil { // a method that a name may be mistaken for
			t.Fatal(err)
		}
		for _, c := range []struct{ method, message string }{
			{"/" + stationName + "/Nope", "unknown method Nope for service " + stationName},
			{"/" + stationName + "/echo", "unknown method echo for service " + stationName},
			{"/" + stationName + "/", "unknown method  for service " + stationName},
			{"/nobody.v1.Nothing/Echo", "unknown service nobody.v1.Nothing"},
			{"/deep/er/Echo", "unknown service deep/er"},
			{"//Echo", "unknown service "},
			{"/Echo", `malformed method name: "/Echo"`},
			{stationName + "/Echo", `malformed method name: "` + stationName + `/Echo"`},
			{"", `malformed method name: ""`},
		} {
			err := conn.Invoke(patiently(t), c.method, new(emptypb.Empty), new(emptypb.Empty))
			wantStatus(t, err, codes.Unimplemented, c.message)
		}
		if _, err := call(patiently(t), conn, nil); err != nil {
			t.Errorf("the connection did not survive: %v", err)
		}
	})
}

func TestAHandlerThatPanicsCostsItsCallerOnly(t *testing.T) {
	overEach(t, func(t arena) {
		if !t.survives {
			t.Skip("a panic ends the process")
		}
		released := make(chan struct{})
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			switch string(req) {
			case "panic":
				panic("secret of the handler")
			case "nil":
				panic(any(nil))
			case "exit":
				runtime.Goexit()
			case "wait":
				<-released
			}
			return req, nil
		})
		waited := make(chan error, 1)
		go func() {
			_, err := call(patiently(t), conn, []byte("wait"))
			waited <- err
		}()
		for range 100 { // more than any pool of goroutines would survive
			for _, fault := range []string{"panic", "nil", "exit"} {
				_, err := call(patiently(t), conn, []byte(fault))
				wantCode(t, err, codes.Internal)
				if strings.Contains(status.Convert(err).Message(), "goroutine ") {
					t.Fatalf("%s: the caller got a stack: %v", fault, err)
				}
			}
		}
		close(released)
		if err := await(t, waited, "the other caller"); err != nil {
			t.Errorf("the other caller got %v", err)
		}
	})
}
