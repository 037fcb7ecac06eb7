package gate

import (
	"context"
	"maps"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// requestKeys are the keys of a request, by their names.
type requestKeys map[string]string

// Key returns the value of a key.
func (k requestKeys) Key(name string) ([]byte, bool) {
	value, ok := k[name]
	return []byte(value), ok
}

// ok is a plugin that answers at once.
func ok(context.Context, *Call) Result { return Result{} }

// answer is a plugin that answers with a code at once.
func answer(code codes.Code) Forward {
	return func(context.Context, *Call) Result { return Result{Err: status.Error(code, "told to")} }
}

// try makes a call for a domain; "" has none.
func try(t *testing.T, g *Gate, domain string) error {
	t.Helper()
	return g.Do(t.Context(), callFor(domain), ok)
}

func callFor(domain string) *Call {
	c := &Call{Method: "/s/M"}
	if domain != "" {
		c.Keys = requestKeys{"domain": domain}
	}
	return c
}

// told is what the details of a rejection say.
type told struct {
	Code     codes.Code
	Reason   string
	Retry    time.Duration
	Metadata map[string]string
}

func detailsOf(t *testing.T, err error) told {
	t.Helper()
	got := told{Code: status.Code(err), Metadata: map[string]string{}}
	for _, detail := range status.Convert(err).Details() {
		switch d := detail.(type) {
		case *errdetails.RetryInfo:
			got.Retry = d.GetRetryDelay().AsDuration()
		case *errdetails.ErrorInfo:
			got.Reason = d.GetReason()
			maps.Copy(got.Metadata, d.GetMetadata())
		}
	}
	return got
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// counter counts what an observer is told.
type counter struct {
	rejected []string
	retried  int
}

// Rejected writes the policy down.
func (c *counter) Rejected(policy string) { c.rejected = append(c.rejected, policy) }

// Retried counts.
func (c *counter) Retried() { c.retried++ }
