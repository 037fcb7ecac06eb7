package main

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// output of a program that is to succeed.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

func TestGrpcurlSeesTheWholeHouse(t *testing.T) {
	grpcurl := needed(t, "grpcurl", "make tools")
	h := open(t, newHouse(t), shippedConfig(t))
	ask := func(args ...string) string {
		t.Helper()
		return output(t, exec.CommandContext(t.Context(), grpcurl, append([]string{"-plaintext", "-unix", h.table.Socket}, args...)...))
	}
	listed := strings.Fields(ask("list"))
	for _, want := range []string{"gaia.host.v1.Host", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} {
		if !slices.Contains(listed, want) {
			t.Errorf("%s is not listed among %q", want, listed)
		}
	}
	for subsystem, service := range subsystems() {
		if !slices.Contains(listed, string(service)) {
			t.Errorf("%s is not listed among %q", service, listed)
		}
		described := ask("describe", string(service))
		methods := serviceOf(t, subsystem).Methods()
		for i := range methods.Len() {
			m := methods.Get(i)
			if !strings.Contains(described, "rpc "+string(m.Name())+" ") {
				t.Errorf("%s is not described in:\n%s", m.FullName(), described)
			}
			if text := ask("describe", string(m.Input().FullName())); !strings.Contains(text, "message "+string(m.Input().Name())) {
				t.Errorf("%s is described as %s", m.Input().FullName(), text)
			}
		}
	}
}

func TestGrpcHealthProbeAsksTheHouseAndEachService(t *testing.T) {
	probe := needed(t, "grpc-health-probe", "make tools")
	h := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	for _, service := range []string{"", "gaia.api.v1.APIClientPool"} {
		if out := output(t, exec.CommandContext(t.Context(), probe, "-addr", "unix:"+h.table.Socket, "-service", service)); !strings.Contains(out, "SERVING") {
			t.Errorf("service %q: %s", service, out)
		}
	}
	out, err := exec.CommandContext(t.Context(), probe, "-addr", "unix:"+h.table.Socket, "-service", "no.Such").CombinedOutput()
	if err == nil {
		t.Errorf("a service that there is not: %s", out)
	}
}

func TestPromtoolAcceptsThePageAndTheRulesOfTheShippedHouse(t *testing.T) {
	promtool := needed(t, "promtool", "apt-get install --no-install-recommends prometheus")
	h := open(t, newHouse(t), shippedConfig(t))
	check := func(text string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), promtool, append([]string{"check"}, args...)...)
		cmd.Stdin = strings.NewReader(text)
		output(t, cmd)
	}
	check(h.get(t, "/metrics"), "metrics")
	rules := exec.CommandContext(t.Context(), filepath.Join(h.dir, "bin/gaia"), "slo", "rules")
	rules.Dir = h.dir
	check(output(t, rules), "rules", "/dev/stdin")
}
