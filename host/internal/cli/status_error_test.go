package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestADetailThatTheMessageHasIsNotRepeated(t *testing.T) {
	t.Parallel()
	s, err := status.New(codes.InvalidArgument, "pool: url: is empty").WithDetails(
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "url", Description: "is empty"},
			{Field: "method", Description: "is unknown"},
		}},
		&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
			{Subject: "domain", Description: "100/s"},
		}},
		&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
			{Subject: "lock", Description: "is held"},
		}},
		&errdetails.Help{Links: []*errdetails.Help_Link{{Description: "manual", Url: "https://example.com"}}},
		&errdetails.RequestInfo{RequestId: "r"},
	)
	if err != nil {
		t.Fatal(err)
	}
	f := describeStatus(s, nil)
	if f.text != "pool: url: is empty (InvalidArgument)" {
		t.Errorf("text %q", f.text)
	}
	want := []string{
		"method: is unknown", "domain: 100/s", "lock: is held",
		`detail: {"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"r"}`,
	}
	if diff := cmp.Diff(want, f.notes); diff != "" {
		t.Errorf("notes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"manual: https://example.com"}, f.hints); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
}
