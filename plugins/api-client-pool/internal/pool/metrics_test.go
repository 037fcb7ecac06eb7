package pool

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
)

// gather reads the pool's metrics as "name{label="value"}" → value; of the
// histogram the count.
func gather(t *testing.T, p *Pool) map[string]float64 {
	t.Helper()
	families, err := p.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%q}", label.GetName(), label.GetValue())
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// The regression test of a pool that counted 4xx and refused calls neither as
// success nor as error, and divided its latency by all of them.
func TestEveryCallIsCountedOnceByItsResult(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var code int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &code); err == nil {
			w.WriteHeader(code)
		}
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
		}
	})
	p := open(t, &apiv1.Config{MaxRequestBody: 10, Retry: &apiv1.Retry{Retries: new(uint32(0))}})
	for _, path := range []string{"/200", "/204", "/304", "/404", "/404", "/503"} {
		mustDo(t, p, &apiv1.DoRequest{Url: server.URL + path})
	}
	for _, request := range []*apiv1.DoRequest{
		{Url: "ftp://x/"},
		{Url: server.URL, Body: make([]byte, 11)},
		{Url: server.URL + "/hang", Timeout: durationpb.New(short)},
		{Url: "http://" + refused(t)},
		{Url: "http://" + misbehave(t, answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))},
	} {
		if _, err := do(t, p, request); err == nil {
			t.Errorf("%v: got no error", request)
		}
	}
	got := gather(t, p)
	for name := range got { // package resend's own test has these
		if strings.HasPrefix(name, "gaia_api_repetitions") || strings.HasPrefix(name, "gaia_api_paused") || strings.HasPrefix(name, "gaia_api_hedges") {
			delete(got, name)
		}
	}
	for _, bytes := range []string{"gaia_api_received_bytes_total", "gaia_api_sent_bytes_total"} {
		if got[bytes] < 500 || got[bytes] > 50_000 {
			t.Errorf("%s: got %v, want some KB", bytes, got[bytes])
		}
		delete(got, bytes)
	}
	want := map[string]float64{
		`gaia_api_requests_total{result="2xx"}`:               2,
		`gaia_api_requests_total{result="3xx"}`:               1,
		`gaia_api_requests_total{result="4xx"}`:               2,
		`gaia_api_requests_total{result="5xx"}`:               1,
		`gaia_api_requests_total{result="invalid"}`:           1,
		`gaia_api_requests_total{result="denied"}`:            0,
		`gaia_api_requests_total{result="too_large"}`:         1,
		`gaia_api_requests_total{result="limited"}`:           0,
		`gaia_api_requests_total{result="timeout"}`:           1,
		`gaia_api_requests_total{result="canceled"}`:          0,
		`gaia_api_requests_total{result="unavailable"}`:       2,
		`gaia_api_cache_bytes{place="disk"}`:                  0,
		`gaia_api_cache_bytes{place="memory"}`:                0,
		`gaia_api_cache_requests_total{result="hit"}`:         0,
		`gaia_api_cache_requests_total{result="miss"}`:        0,
		`gaia_api_cache_requests_total{result="revalidated"}`: 0,
		`gaia_api_cache_requests_total{result="stale"}`:       0,
		`gaia_api_failures_total{phase="resolve"}`:            0,
		`gaia_api_failures_total{phase="connect"}`:            1,
		`gaia_api_failures_total{phase="tls"}`:                0,
		`gaia_api_failures_total{phase="send"}`:               0,
		`gaia_api_failures_total{phase="headers"}`:            1,
		`gaia_api_failures_total{phase="body"}`:               1,
		`gaia_api_request_seconds`:                            6,
		`gaia_api_exchanges_total{connection="new"}`:          2,
		`gaia_api_exchanges_total{connection="reused"}`:       6,
		`gaia_api_egress_denied_total{rule="default"}`:        0,
		`gaia_api_connections_opened_total`:                   2,
		`gaia_api_shared_total`:                               0,
		`gaia_api_connections_open`:                           0,
	}
	delete(got, "gaia_api_connections_open") // the canceled one is on its way out
	delete(want, "gaia_api_connections_open")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := do(t, p, &apiv1.DoRequest{Url: server.URL}); err == nil {
		t.Error("a call after Close: got no error")
	}
	got = gather(t, p)
	if n := got[`gaia_api_requests_total{result="unavailable"}`]; n != 3 {
		t.Errorf("unavailable: got %v, want 3 with the call after Close", n)
	}
	if open := got["gaia_api_connections_open"]; open != 0 {
		t.Errorf("connections open after Close: got %v, want 0", open)
	}
}

func TestTheREADMEListsTheMetricsThatThereAre(t *testing.T) {
	file, err := os.Open("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	documented := regexp.MustCompile(`gaia_api_[a-z_]+`).FindAllString(string(text), -1)
	slices.Sort(documented)
	documented = slices.Compact(documented)
	var exposed []string
	for name := range gather(t, open(t, nil)) {
		name, _, _ = strings.Cut(name, "{")
		exposed = append(exposed, name)
	}
	slices.Sort(exposed)
	exposed = slices.Compact(exposed)
	if diff := cmp.Diff(exposed, documented); diff != "" {
		t.Errorf("README.md (-exposed +documented):\n%s", diff)
	}
}
