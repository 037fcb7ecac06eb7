package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// explain makes an error of conn.Table.Open, or of a resolver, that of a call.
func explain(err error) error {
	switch conn.KindOf(err) {
	case conn.Denied:
		return denied(err)
	case conn.Paced:
		return detailed(codes.ResourceExhausted, err, &errdetails.RetryInfo{RetryDelay: durationpb.New(conn.RetryAfter(err))})
	case conn.Limited:
		return detailed(codes.ResourceExhausted, err, &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	case conn.NotFound:
		return status.Error(codes.NotFound, err.Error())
	case conn.TimedOut:
		return status.Error(codes.DeadlineExceeded, err.Error())
	case conn.Ending:
		if errors.Is(err, context.Canceled) {
			return status.Error(codes.Canceled, err.Error())
		}
		return status.Error(codes.Unavailable, "the network coordinator is about to end")
	case conn.Unresolved, conn.Unreachable, conn.Refused:
		return status.Error(codes.Unavailable, err.Error())
	default:
		return status.Error(codes.Internal, "internal: "+err.Error())
	}
}

// denied says which rule, with its place as a detail for programs.
func denied(err error) error {
	no, ok := errors.AsType[*egress.Denied](err)
	if !ok {
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return detailed(codes.PermissionDenied, err, &errdetails.ErrorInfo{
		Reason: "EGRESS_DENIED", Domain: "gaia.network.v1",
		Metadata: map[string]string{"rule": no.Rule, "place": no.Place},
	})
}

// detailed is a status with details; it is without them if they cannot be had.
func detailed(code codes.Code, err error, details ...protoadapt.MessageV1) error {
	plain := status.New(code, err.Error())
	full, fault := plain.WithDetails(details...)
	if fault != nil {
		return plain.Err()
	}
	return full.Err()
}
