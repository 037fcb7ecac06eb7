package main

import (
	"slices"
	"strings"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// What an override does not say it takes over from its rate.
func TestEachValueOfAnOverrideSaysWhereItIsWritten(t *testing.T) {
	config := fleetConfig(`  rate "domain" {
    key   = "domain"
    limit = "100/s"
    burst = 20
    override "api.example" { limit = "10/s" }
    override "cdn.example" { burst = 5 }
  }`, "echo")
	h := open(t, newHouse(t), config, "echo")
	for url, want := range map[string][]*hostv1.Setting{
		"https://api.example/": {
			{Path: `rate["domain"].override["api.example"].limit`, Value: "10/s", Source: "config.hcl:8"},
			{Path: `rate["domain"].override["api.example"].burst`, Value: "20", Source: "config.hcl:7"},
			{Path: `rate["domain"].wait`, Value: "0s", Source: "host default"},
		},
		"https://cdn.example/": {
			{Path: `rate["domain"].override["cdn.example"].limit`, Value: "100/s", Source: "config.hcl:6"},
			{Path: `rate["domain"].override["cdn.example"].burst`, Value: "5", Source: "config.hcl:9"},
			{Path: `rate["domain"].wait`, Value: "0s", Source: "host default"},
		},
	} {
		request, err := proto.Marshal(&apiv1.DoRequest{Url: url})
		if err != nil {
			t.Fatal(err)
		}
		r, err := h.host.Explain(t.Context(), &hostv1.ExplainRequest{Subsystem: "echo", Method: apiv1.APIClientPool_Do_FullMethodName, Request: request})
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.GetPolicies(), func(p *hostv1.Policy) bool { return p.GetName() == "rate.domain" })
		if i < 0 {
			t.Fatalf("no rate.domain in %v", r)
		}
		if diff := cmp.Diff(want, r.GetPolicies()[i].GetSettings(), protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
}

func TestHowLongCallsAreHeldIsExplained(t *testing.T) {
	one := fleetConfig("  restart { hold = \"1m\" }", "echo")
	none := strings.TrimPrefix(fleetConfig("  restart { hold = \"0s\" }", "other"), fleetConfig(""))
	h := open(t, newHouse(t), one+none, "echo", "other")
	for subsystem, want := range map[string]*hostv1.Policy{
		"echo": {Name: "hold", State: "ready", Settings: []*hostv1.Setting{{Path: "restart.hold", Value: "1m", Source: "config.hcl:4"}}},
		"other": {Name: "hold", State: "ready", Settings: []*hostv1.Setting{{Path: "restart.hold", Value: "0s", Source: "config.hcl:8"}},
			Exempt: "restart.hold is 0s: without an instance calls are refused at once"},
	} {
		r, err := h.host.Explain(t.Context(), &hostv1.ExplainRequest{Subsystem: subsystem, Method: apiv1.APIClientPool_Do_FullMethodName})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.GetPolicies()[len(r.GetPolicies())-1]; !proto.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
