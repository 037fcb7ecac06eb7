package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// HTTP through caller, host and pool, as long and as wide as the claim.
func TestSlowAThousandCallersForAMinuteSeeNoError(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("a minute: GAIA_SLOW=1")
	}
	manyCallers(t, time.Minute)
}

func TestAThousandCallersSeeNoError(t *testing.T) { manyCallers(t, 2*time.Second) }

func manyCallers(t *testing.T, length time.Duration) {
	t.Helper()
	const callers = 1000
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path)
	}))
	defer server.Close()
	h := open(t, newHouse(t), "host { http = \"127.0.0.1:0\" }\nsubsystem \"api\" {\n  plugin = \"gaia-api-client-pool\"\n  config {"+loopbackRule+"  }\n}\n")
	h.await(t, "api", isReady)
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var all sync.WaitGroup
	calls := make([]int, callers)
	for i := range callers {
		all.Go(func() {
			path := "/" + strconv.Itoa(i)
			for ctx.Err() == nil {
				answer, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: server.URL + path})
				if err != nil || answer.GetStatus() != http.StatusOK || string(answer.GetBody()) != path {
					t.Errorf("call %d of caller %d: got %d, %q and %v", calls[i], i, answer.GetStatus(), answer.GetBody(), err)
					return
				}
				calls[i]++
			}
		})
	}
	all.Wait()
	sum := 0
	for i, n := range calls {
		if n == 0 {
			t.Errorf("caller %d had no answer", i)
		}
		sum += n
	}
	t.Logf("%d calls in %v", sum, length)
}

// A denial by the pool's own rules is the caller's to know, and not a failure of
// the server.
func TestThePoolReachesNoPrivateAddressByDefault(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	h := open(t, newHouse(t), "host { http = \"127.0.0.1:0\" }\nsubsystem \"api\" { plugin = \"gaia-api-client-pool\" }\n")
	h.await(t, "api", isReady)
	for _, url := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "0x7f.1", 1), strings.Replace(server.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), "http://169.254.169.254/latest/meta-data"} {
		if _, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: url}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: got %v, want PermissionDenied", url, err)
		}
	}
}
