package rest

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callTimeout is how long the caller waits for the call; 0 leaves it to the
// host.
func callTimeout(header http.Header) (time.Duration, error) {
	if value := header.Get("Gaia-Timeout"); value != "" {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return 0, status.Errorf(codes.InvalidArgument, "header Gaia-Timeout: %q is not a time above zero: write it like 5s, 250ms or 1h30m", value)
		}
		return d, nil
	}
	value := header.Get("Grpc-Timeout")
	if value == "" {
		return 0, nil
	}
	d, ok := grpcTimeout(value)
	if !ok {
		return 0, status.Errorf(codes.InvalidArgument, "header Grpc-Timeout: %q is not up to 8 digits and one of H, M, S, m, u and n, such as 5S", value)
	}
	return d, nil
}

// grpcTimeout reads a timeout as gRPC over HTTP/2 has it.
func grpcTimeout(value string) (time.Duration, bool) {
	if len(value) < 2 || len(value) > 9 {
		return 0, false
	}
	units := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}
	unit, known := units[value[len(value)-1]]
	n, err := strconv.ParseUint(value[:len(value)-1], 10, 32)
	if !known || err != nil {
		return 0, false
	}
	if n > math.MaxInt64/uint64(unit) { //nolint:gosec // a unit is positive
		return math.MaxInt64, true
	}
	return max(time.Duration(n)*unit, 1), true
}
