package resolver

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"golang.org/x/net/dns/dnsmessage"
)

// wantErrorLike is wantError for other goroutines.
func wantErrorLike(t *testing.T, r *Resolver, want error) {
	t.Helper()
	if _, err := r.Lookup(t.Context(), "www.example", IPv4); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// descriptors are those that are open, where the system tells.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	cert, ca := certificate(t, "dns.example", net.IPv4(127, 0, 0, 1))
	s := serve(t, many(100)) // by UDP, then by TCP
	secure := serveTLS(t, s, cert)
	url, webCA := serveHTTPS(t, s, func(*http.Request) {})
	goroutines, open := runtime.NumGoroutine(), descriptors()
	for i := range 5 {
		for _, upstream := range []string{s.addr, "tls://" + secure, url + "/dns-query"} {
			r, err := New(&networkv1.Resolver{Upstreams: []string{upstream}, Ca: ca + webCA, Listen: "127.0.0.1:0"}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Lookup(t.Context(), fmt.Sprintf("n%d.example", i), Both); err != nil {
				t.Error(err)
			}
			exchange(t, r, "tcp", ask("www.example.", dnsmessage.TypeA, 0))
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	eventually(t, "goroutines and descriptors are as they were", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors() <= open
	})
}

func TestAListenerThatCannotListenLeavesNothing(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // ends with the test
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	goroutines := runtime.NumGoroutine()
	r, err := New(&networkv1.Resolver{Listen: taken.LocalAddr().String()}, Options{})
	if err == nil {
		r.Close()
		t.Fatal("two listen at one address")
	}
	eventually(t, "goroutines are as they were", func() bool { return runtime.NumGoroutine() <= goroutines })
}
