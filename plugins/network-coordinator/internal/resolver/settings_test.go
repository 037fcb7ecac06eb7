package resolver

import (
	"errors"
	"strings"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestEveryFaultOfTheConfigIsTold(t *testing.T) {
	_, err := New(&networkv1.Resolver{
		Upstreams: []string{"dns.example"},
		Cache:     10, MinTtl: durationpb.New(time.Minute), MaxTtl: durationpb.New(time.Second),
		Listen: "0.0.0.0:53", Ca: "nonsense",
	}, Options{})
	if _, ok := errors.AsType[*sdk.FieldError](err); !ok {
		t.Fatalf("%T %v", err, err)
	}
	for _, part := range []string{"resolver.upstreams[0]", "resolver.cache", "resolver.min_ttl", "resolver.listen", "resolver.ca"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not in %v", part, err)
		}
	}
	_, err = New(&networkv1.Resolver{Upstreams: []string{"127.0.0.1:5353"}, Listen: "127.0.0.1:5353"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "in circles") {
		t.Error(err)
	}
}

func TestUpstreamsAreWrittenAsTheConfigSays(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1":                     "udp://192.0.2.1:53",
		"192.0.2.1:5353":                "udp://192.0.2.1:5353",
		"udp://192.0.2.1":               "udp://192.0.2.1:53",
		"2001:db8::1":                   "udp://[2001:db8::1]:53",
		"[2001:db8::1]":                 "udp://[2001:db8::1]:53",
		"tcp://[2001:db8::1]:54":        "tcp://[2001:db8::1]:54",
		"tls://192.0.2.1#dns.example":   "tls://192.0.2.1:853",
		"tls://192.0.2.1:8853#a.b":      "tls://192.0.2.1:8853",
		"https://dns.example/dns-query": "https://dns.example/dns-query",
		"dns.example":                   "",
		"udp://dns.example":             "",
		"http://dns.example/dns-query":  "",
		"https://":                      "",
		"https://u:p@dns.example/":      "",
		"192.0.2.1:0":                   "",
		"192.0.2.1:99999":               "",
		"":                              "",
	} {
		e, problem := parseEndpoint(text)
		if problem != "" && want == "" {
			continue
		}
		if problem != "" || e.String() != want {
			t.Errorf("%q: %v %q, want %q", text, e, problem, want)
		}
	}
}
