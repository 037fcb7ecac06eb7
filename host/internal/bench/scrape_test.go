package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// housePage is a house whose /metrics has these lines.
func housePage(t *testing.T, lines string) *house {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		_, _ = fmt.Fprint(w, lines)
	}))
	t.Cleanup(server.Close)
	return &house{http: strings.TrimPrefix(server.URL, "http://"), token: "sesame"}
}

const (
	goodCalls = `gaia_calls_total{code="OK",method="hello.v1.Greeter/Hello",subsystem="hello"} 7` + "\n"
	badCalls  = `gaia_calls_total{code="Unavailable",method="hello.v1.Greeter/Hello",subsystem="hello"} 1` + "\n"
	others    = `gaia_calls_total{code="OK",method="hello.v1.Greeter/Countdown",subsystem="hello"} 3` + "\n"
)

func TestCallsAndTheirCountAreTheSameOrThatIsAnError(t *testing.T) {
	for _, test := range []struct {
		page, want string
	}{
		{goodCalls + others, ""},
		{others, "7 calls were made and answered, gaia_calls_total has 0, and 0 of them OK"},
		{goodCalls + badCalls, "7 calls were made and answered, gaia_calls_total has 8, and 7 of them OK"},
	} {
		_, err := housePage(t, test.page).counted(t.Context(), 7, 50*time.Millisecond)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
}

func TestOnlyTheHostsOwnAllocationsCount(t *testing.T) {
	metrics, err := housePage(t, "go_memstats_mallocs_total 100\n"+`go_memstats_mallocs_total{subsystem="hello"} 40`+"\n").scrape(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := metrics.sum("go_memstats_mallocs_total", map[string]string{"subsystem": ""}); got != 100 {
		t.Errorf("got %v, want 100", got)
	}
}
