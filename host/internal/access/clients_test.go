package access

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// clientsOf are those of a config, and a function that puts another in force.
func clientsOf(t *testing.T, text string) (c *Clients, set func(text string)) {
	t.Helper()
	log := OpenLog(hclog.NewNullLogger(), func(int) {})
	t.Cleanup(log.Close)
	c = New(telemetry.New("test"), log)
	set = func(text string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "config.hcl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, report := config.Load(path, nil)
		if report.HasErrors() {
			t.Fatal(report.Err())
		}
		c.Set(config.NewToken("the-token-of-the-host"), cfg.Clients)
	}
	set(text)
	return c, set
}

const ci = "client \"ci\" {\n  token = \"0123456789abcdef\"\n  allow = [\"file.Read*\", \"api.Do\", \"all.*\", \"host.Status\"]\n%s\n}\n"

func TestBearerTokensAreReadAsRFC6750SaysIt(t *testing.T) {
	c, _ := clientsOf(t, fmt.Sprintf(ci, ""))
	for _, test := range []struct {
		given []string
		want  string // the client; "" is Unauthenticated
	}{
		{[]string{"Bearer 0123456789abcdef"}, "ci"},
		{[]string{"bearer 0123456789abcdef"}, "ci"},
		{[]string{"BEARER   0123456789abcdef "}, "ci"},
		{[]string{"Bearer the-token-of-the-host"}, "host"},
		{nil, ""},
		{[]string{""}, ""},
		{[]string{"Bearer"}, ""},
		{[]string{"Bearer "}, ""},
		{[]string{"0123456789abcdef"}, ""},
		{[]string{"Basic 0123456789abcdef"}, ""},
		{[]string{"Bearer 0123456789abcde"}, ""},
		{[]string{"Bearer 0123456789abcdeF"}, ""},
		{[]string{"Bearer 0123456789abcdef 0123456789abcdef"}, ""},
		{[]string{"Bearer 0123456789abcdef", "Bearer 0123456789abcdef"}, ""},
		{[]string{"Bearer " + strings.Repeat("x", 1<<20)}, ""},
	} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/x/Y", nil)
		for _, value := range test.given {
			r.Header.Add("Authorization", value)
		}
		ctx, err := c.Authenticate(r)
		switch {
		case test.want == "" && status.Code(err) == codes.Unauthenticated:
		case err != nil || test.want == "":
			t.Errorf("%.50q: got %v, want %q", test.given, err, test.want)
		case From(ctx).Client.Name != test.want:
			t.Errorf("%.50q is %s, want %s", test.given, From(ctx).Client.Name, test.want)
		}
	}
}

func TestOnlyTheSocketNeedsNoCredentials(t *testing.T) {
	c, _ := clientsOf(t, "")
	for _, door := range Doors() {
		caller, err := c.Identify(&Visit{Door: door})
		isSocket := door == DoorGRPC || door == DoorLink
		if caller != nil || (err == nil) != isSocket {
			t.Errorf("%s: %v, %v", door, caller, err)
		}
	}
}

// as is a caller with the token of ci.
func as(t *testing.T, c *Clients) *Caller {
	t.Helper()
	caller, err := c.Identify(&Visit{Door: DoorGRPC, Credentials: []string{"Bearer 0123456789abcdef"}})
	if err != nil {
		t.Fatal(err)
	}
	return caller
}

func TestAnAllowListIsForWhatItNames(t *testing.T) {
	c, _ := clientsOf(t, fmt.Sprintf(ci, "")+"client \"any\" {\n  certificate = \"any\"\n  allow = [\"*\"]\n}\n")
	one := as(t, c).Client
	everything := (*c.current.Load())[1]
	for _, test := range []struct {
		subsystem, method string
		ci, any           bool
	}{
		{"file", "/p.S/Read", true, true},
		{"file", "/p.S/ReadFile", true, true},
		{"file", "/p.S/WriteFile", false, true},
		{"files", "/p.S/ReadFile", false, true},
		{"api", "/p.S/Do", true, true},
		{"api", "/p.S/DoMore", false, true},
		{"all", "/p.S/Anything", true, true},
		{"host", "/p.S/Status", true, false},
		{"host", "/p.S/Reload", false, false},
		{"", "/grpc.health.v1.Health/Check", true, true},
	} {
		if got := one.Allows(test.subsystem, test.method); got != test.ci {
			t.Errorf("ci may call %s %s: %v", test.subsystem, test.method, got)
		}
		if got := everything.Allows(test.subsystem, test.method); got != test.any {
			t.Errorf("any may call %s %s: %v", test.subsystem, test.method, got)
		}
	}
}

func TestATimeoutSaysWhose(t *testing.T) {
	c, _ := clientsOf(t, fmt.Sprintf(ci, "  limits { timeout = \"10ms\" }"))
	err := as(t, c).Do(t.Context(), &Call{Subsystem: "api", Method: "/p.S/Do"}, func(ctx context.Context, deadline time.Time) error {
		if left := time.Until(deadline); left > 10*time.Millisecond {
			t.Errorf("there are %v left", left)
		}
		ctx, cancel := context.WithDeadline(ctx, deadline)
		defer cancel()
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	})
	if st := status.Convert(err); st.Code() != codes.DeadlineExceeded || !strings.Contains(st.Message(), `client "ci": `) || !strings.Contains(st.Message(), "limits.timeout is 10ms") {
		t.Errorf("got %v", err)
	}
}

func TestReflectionAndHealthDoNotUseUpARate(t *testing.T) {
	c, _ := clientsOf(t, fmt.Sprintf(ci, "  rate { limit = \"1/h\" }"))
	nothing := func(context.Context, time.Time) error { return nil }
	for range 10 {
		if err := as(t, c).Do(t.Context(), &Call{Method: "/grpc.health.v1.Health/Check"}, nothing); err != nil {
			t.Fatal(err)
		}
	}
	if err := as(t, c).Do(t.Context(), &Call{Subsystem: "api", Method: "/p.S/Do"}, nothing); err != nil {
		t.Error(err)
	}
}

func TestACallThatWaitsForATokenEndsWhenItsClientIsGone(t *testing.T) {
	c, set := clientsOf(t, fmt.Sprintf(ci, "  rate {\n    limit = \"1/h\"\n    wait = \"1h\"\n  }"))
	caller, call := as(t, c), func() *Call { return &Call{Subsystem: "api", Method: "/p.S/Do"} }
	if err := caller.Do(t.Context(), call(), func(context.Context, time.Time) error { return nil }); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		waits <- caller.Do(t.Context(), call(), func(context.Context, time.Time) error { return errors.New("it got a token") })
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(waits) == 0 && !caller.Client.flights.any() {
		<-tick.C
	}
	set("")
	if err := <-waits; status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}

func TestAClientWithoutLimitsHasABoundAllTheSame(t *testing.T) {
	c, set := clientsOf(t, fmt.Sprintf(ci, ""))
	if got := as(t, c).Client.gate.Limit(); got != maxCalls {
		t.Errorf("%d calls, want %d", got, maxCalls)
	}
	set(fmt.Sprintf(ci, "  limits { concurrency = 20000 }"))
	if got := as(t, c).Client.gate.Limit(); got != 20000 {
		t.Errorf("%d calls, want those of the config", got)
	}
}

func TestACallThatAReloadOvertakesIsHeldToTheNewConfig(t *testing.T) {
	for _, test := range []struct {
		name, config string
		want         codes.Code
	}{
		{"the same", fmt.Sprintf(ci, ""), codes.OK},
		{"no client", "", codes.Unauthenticated},
		{"another token", strings.Replace(fmt.Sprintf(ci, ""), "0123456789abcdef", "fedcba9876543210", 1), codes.Unauthenticated},
		{"another list", strings.Replace(fmt.Sprintf(ci, ""), "api.Do", "api.Undo", 1), codes.PermissionDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, set := clientsOf(t, fmt.Sprintf(ci, ""))
			caller, forwarded := as(t, c), false
			set(test.config)
			err := caller.Do(t.Context(), &Call{Subsystem: "api", Method: "/p.S/Do"}, func(context.Context, time.Time) error {
				forwarded = true
				return nil
			})
			if status.Code(err) != test.want || forwarded != (test.want == codes.OK) {
				t.Errorf("got %v, forwarded: %v", err, forwarded)
			}
		})
	}
}

func (f *flights) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all) > 0
}
