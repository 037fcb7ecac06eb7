package resolver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/google/go-cmp/cmp"
)

// BenchmarkListener measures answers a second from the cache, of 1,000 names,
// beside dnsmasq's in the same run. Both are asked by dnsperf, by UDP.
func BenchmarkListener(b *testing.B) {
	for _, program := range []string{"dnsperf", "dnsmasq"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skip(program + " is not installed")
		}
	}
	s := serve(b, everything)
	r, err := New(&networkv1.Resolver{Upstreams: []string{s.addr}, Listen: "127.0.0.1:0"}, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	names := filepath.Join(b.TempDir(), "names")
	var list strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&list, "name%d.bench.example A\n", i)
	}
	if err := os.WriteFile(names, []byte(list.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	peer := startDNSMasq(b, s.addr)
	for b.Loop() {
		for round := range 2 {
			for _, who := range []struct{ name, addr string }{{"gaia", r.Addr().String()}, {"dnsmasq", peer}} {
				perf(b, who.addr, names, 1) // fills the cache
				b.ReportMetric(perf(b, who.addr, names, 3), fmt.Sprintf("%s-answers/s-%d", who.name, round))
			}
		}
	}
}

// startDNSMasq starts a dnsmasq with a cache large enough that asks upstream,
// and returns its address.
func startDNSMasq(t testing.TB, upstream string, options ...string) string {
	t.Helper()
	port := freePort(t)
	host, at, _ := strings.Cut(upstream, ":")
	ctx, cancel := context.WithCancel(context.Background())
	args := append(options, "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port="+strconv.Itoa(port), "--cache-size=10000",
		"--server="+host+"#"+at, "--pid-file=", "--user=")
	cmd := exec.CommandContext(ctx, "dnsmasq", args...)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	return "127.0.0.1:" + strconv.Itoa(port)
}

// perf returns how many questions a second addr answers.
func perf(b *testing.B, addr, names string, seconds int) float64 {
	b.Helper()
	host, port, _ := strings.Cut(addr, ":")
	out, err := exec.CommandContext(b.Context(), "dnsperf", "-s", host, "-p", port, "-d", names, "-l", strconv.Itoa(seconds),
		"-T", "1", "-c", "8", "-q", "200").CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	m := regexp.MustCompile(`Queries per second:\s+([0-9.]+)`).FindSubmatch(out)
	if m == nil {
		b.Fatalf("%s", out)
	}
	b.Logf("%s: %s", addr, regexp.MustCompile(`Queries lost:.*`).Find(out))
	rate, _ := strconv.ParseFloat(string(m[1]), 64)
	return rate
}

func TestDNSMasqIsUnderstood(t *testing.T) {
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("dnsmasq is not installed")
	}
	s := serve(t, many(200)) // what dnsmasq does not know
	addr := startDNSMasq(t, s.addr, "--host-record=web.dm.example,192.0.2.8,2001:db8::8", "--cname=www.dm.example,web.dm.example",
		"--local=/dm.example/", "--local-ttl=60")
	r, clock := start(t, &networkv1.Resolver{Upstreams: []string{addr}}, Options{})
	eventually(t, "dnsmasq answers", func() bool {
		clock.add(failureTTL)
		_, err := r.Refresh(t.Context(), "web.dm.example", Both)
		return err == nil
	})
	got, err := r.Lookup(t.Context(), "www.dm.example", Both)
	want := Answer{Addrs: addrs("2001:db8::8", "192.0.2.8"), CanonicalName: "web.dm.example", TTL: time.Minute}
	if diff := cmp.Diff(want, got, cmp.Comparer(sameAddr)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if _, err := r.Lookup(t.Context(), "other.dm.example", Both); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if got, err := r.Lookup(t.Context(), "large.example", IPv4); err != nil || len(got.Addrs) != 200 {
		t.Error(len(got.Addrs), err)
	}
}
