package call

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Failure is an error that says itself how the call ends. Sending the request
// again would change nothing, so that it is not done.
type Failure struct {
	Code       codes.Code
	Text       string        // the cause, for the caller; no secrets
	RetryAfter time.Duration // when it may be worth another call; 0 if nobody knows
}

func (f *Failure) Error() string { return f.Text }
