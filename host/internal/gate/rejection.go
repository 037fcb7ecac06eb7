package gate

import (
	"maps"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// errorDomain is the ErrorInfo.domain of rejections.
const errorDomain = "gaia"

// rejection is what a policy tells a caller it turns away.
type rejection struct {
	code   codes.Code
	reason string // for programs: UPPER_SNAKE_CASE, stable
	policy string
	retry  time.Duration     // when to come back
	values map[string]string // what was exceeded, by its name in config.hcl, and the value of the key as "key"
	text   string            // for people
}

// status is the rejection as a gRPC status with RetryInfo and ErrorInfo.
func (r rejection) status() error {
	metadata := map[string]string{"policy": r.policy}
	maps.Copy(metadata, r.values)
	st, err := status.New(r.code, r.text).WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(r.retry)},
		&errdetails.ErrorInfo{Reason: r.reason, Domain: errorDomain, Metadata: metadata},
	)
	if err != nil { // the details cannot be encoded; the text says the same
		return status.Error(r.code, r.text)
	}
	return st.Err()
}
