package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// configure writes another config and asks the host to apply it.
func (h *house) configure(t *testing.T, config string) *hostv1.ReloadResponse {
	t.Helper()
	h.write(t, config)
	r, err := h.host.Reload(t.Context(), &hostv1.ReloadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) write(t *testing.T, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "config.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAReloadChangesOnlyWhatChanged(t *testing.T) {
	dir := newHouse(t)
	block := func(member, lines string) string { return block(member, member, lines) }
	const host, limits = hostBlock, "  limits { concurrency = 7 }\n"
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-other")
	h := open(t, dir, host+block("echo", agentIs("one"))+block("live", agentIs("one")), "echo", "live")
	pids := func() (echo, live int32) { return h.status(t, "echo").GetPid(), h.status(t, "live").GetPid() }
	echo1, live1 := pids()

	if r := h.configure(t, host+block("live", agentIs("one"))+block("echo", agentIs("one"))); !r.GetApplied() || len(r.GetChanges()) > 0 {
		t.Errorf("another order: %v, want no change", r)
	}
	r := h.configure(t, host+block("echo", limits+agentIs("one"))+block("live", agentIs("one")))
	if echo, live := pids(); !r.GetApplied() || echo != echo1 || live != live1 {
		t.Errorf("other limits: %v, want the same instances", r)
	}
	r = h.configure(t, host+block("echo", limits+agentIs("two"))+block("live", agentIs("two")))
	echo2, live2 := pids()
	if !r.GetApplied() || echo2 == echo1 || live2 != live1 {
		t.Errorf("another config: %v, want another instance of echo and the same of live", r)
	}
	for _, name := range []string{"echo", "live"} {
		if got := header(h.do(t, name, &apiv1.DoRequest{}), "Agent"); got != "two" {
			t.Errorf("%s has the config %q", name, got)
		}
	}
	r = h.configure(t, host+block("live", agentIs("two"))+block("other", ""))
	h.await(t, "other", isReady)
	if _, err := h.host.Status(t.Context(), &hostv1.StatusRequest{Subsystem: "echo"}); status.Code(err) != codes.NotFound || !r.GetApplied() {
		t.Errorf("a removed subsystem: %v after %v", err, r)
	}
	if _, err := h.api().Do(withSubsystem(t.Context(), "echo"), &apiv1.DoRequest{}); status.Code(err) != codes.NotFound {
		t.Errorf("a call to it: %v", err)
	}
	for result, want := range map[string]float64{"applied": 3, "unchanged": 1, "refused": 0} {
		if got := h.metric(t, fmt.Sprintf("gaia_config_reloads_total{result=%q}", result)); got != want {
			t.Errorf("reloads with result %s: got %v, want %v", result, got, want)
		}
	}
}

func TestAnInvalidReloadNeverDisturbsARunningCall(t *testing.T) {
	const good = "  config { user_agent = \"good\" }\n"
	h := open(t, newHouse(t), fleetConfig(good, "echo", "live"), "echo", "live")
	before := h.status(t, "echo")
	end := h.hold(t, "echo")
	for name, config := range map[string]string{
		"syntax":              "subsystem \"echo\" {",
		"no such argument":    fleetConfig("  plugin_ = 1\n", "echo"),
		"the plugin refuses":  fleetConfig("  config { user_agent = \"refuse\" }\n", "echo", "live"),
		"one of two refuses":  fleetConfig("  config { user_agent = \"better\" }\n", "live") + "subsystem \"echo\" {\n  plugin = \"fleet-echo\"\n  config { user_agent = \"refuse\" }\n}\n",
		"another that exits":  fleetConfig(good, "live") + "subsystem \"echo\" {\n  plugin = \"fleet-exit\"\n}\n",
		"another not present": fleetConfig(good, "live") + "subsystem \"echo\" {\n  plugin = \"fleet-nowhere\"\n}\n",
	} {
		r := h.configure(t, config)
		if r.GetApplied() || r.GetDiagnostics() == "" {
			t.Errorf("%s: %v, want a refusal that says why", name, r)
		}
		if strings.Contains(name, "refuse") && !strings.Contains(r.GetDiagnostics(), "user_agent = \"refuse\" }\n") {
			t.Errorf("%s: the line is not shown:\n%s", name, r.GetDiagnostics())
		}
		for _, s := range []string{"echo", "live"} {
			if got := header(h.do(t, s, &apiv1.DoRequest{}), "Agent"); got != "good" {
				t.Errorf("%s: %s has the config %q", name, s, got)
			}
		}
	}
	if after := h.status(t, "echo"); after.GetPid() != before.GetPid() {
		t.Errorf("the instance changed from %v to %v", before, after)
	}
	end()
}

func TestSIGHUPReloads(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("", "live"), "live")
	h.write(t, fleetConfig("  config { user_agent = \"hung up\" }\n", "live"))
	if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.await(t, "live", func(*hostv1.Subsystem) bool {
		return header(h.do(t, "live", &apiv1.DoRequest{}), "Agent") == "hung up"
	})
}

// block is one subsystem of a member of the fleet.
func block(name, member, lines string) string {
	return fmt.Sprintf("subsystem %q {\n  plugin = \"fleet-%s\"\n%s}\n", name, member, lines)
}

func agentIs(a string) string { return fmt.Sprintf("  config { user_agent = %q }\n", a) }

const hostBlock = "host { http = \"127.0.0.1:0\" }\n"

func TestAReloadThatIsGivenUpTakesBackWhatAPluginHadTaken(t *testing.T) {
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-silent")
	h := open(t, dir, hostBlock+block("live", "live", agentIs("one"))+block("echo", "echo", ""), "live", "echo")
	h.write(t, hostBlock+block("live", "live", agentIs("two"))+block("echo", "silent", ""))
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := h.host.Reload(ctx, &hostv1.ReloadRequest{})
		given <- err
	}()
	h.await(t, "live", func(*hostv1.Subsystem) bool { return header(h.do(t, "live", &apiv1.DoRequest{}), "Agent") == "two" })
	cancel()
	if err := <-given; status.Code(err) != codes.Canceled {
		t.Errorf("the reload that was given up: %v", err)
	}
	h.await(t, "live", func(*hostv1.Subsystem) bool { return header(h.do(t, "live", &apiv1.DoRequest{}), "Agent") == "one" })
}

func TestAReplacementThatCameToNothingIsTriedAgainByTheNextReload(t *testing.T) {
	dir := newHouse(t)
	lock := agentIs(filepath.Join(t.TempDir(), "lock"))
	plugins := filepath.Join(dir, "bin/plugins")
	install(t, plugins, "fleet-exit", "fleet-other")
	h := open(t, dir, hostBlock+block("exclusive", "exclusive", lock), "exclusive")
	next := hostBlock + block("exclusive", "other", lock)
	if err := errors.Join(os.Rename(filepath.Join(plugins, "fleet-other"), filepath.Join(plugins, "hidden")), os.WriteFile(filepath.Join(plugins, "fleet-other"), []byte("#!/bin/false\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	h.configure(t, next)
	h.await(t, "exclusive", isReady)
	if err := os.Rename(filepath.Join(plugins, "hidden"), filepath.Join(plugins, "fleet-other")); err != nil {
		t.Fatal(err)
	}
	r := h.configure(t, next)
	if s := h.status(t, "exclusive"); s.GetPlugin() != "fleet-other" {
		t.Errorf("the second reload says %v, and %s runs", r, s.GetPlugin())
	}
}

func TestAReloadOfAConfigLeavesASwappedPluginInItsPlace(t *testing.T) {
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-other")
	h := open(t, dir, hostBlock+block("echo", "echo", agentIs("one")), "echo")
	if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: "echo", Plugin: "fleet-other"}); err != nil {
		t.Fatal(err)
	}
	r := h.configure(t, hostBlock+block("echo", "echo", agentIs("two")))
	if got := h.do(t, "echo", &apiv1.DoRequest{}); header(got, "Plugin") != "fleet-other" || header(got, "Agent") != "two" {
		t.Errorf("after %v answers %v", r, got)
	}
}

func TestASubsystemThatIsRemovedStaysSoAndCanComeBackWhileItDrains(t *testing.T) {
	with := hostBlock + block("echo", "echo", "")
	h := open(t, newHouse(t), with, "echo")
	end := h.hold(t, "echo")
	h.configure(t, hostBlock)
	h.configure(t, with)
	h.await(t, "echo", isReady)
	end()
	health := grpc_health_v1.NewHealthClient(h.conn)
	for range 20 { // the old one ends meanwhile
		h.do(t, "echo", &apiv1.DoRequest{})
		r, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "gaia.api.v1.APIClientPool"})
		if err != nil || r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Fatalf("health of a subsystem that serves: %v and %v", r, err)
		}
	}
	for range 20 {
		h.configure(t, hostBlock)
		if _, err := h.api().Do(withSubsystem(t.Context(), "echo"), &apiv1.DoRequest{}); status.Code(err) != codes.NotFound {
			t.Fatalf("a call to a subsystem that was removed: %v", err)
		}
		h.configure(t, with) // and perhaps it is removed while it starts
	}
}
