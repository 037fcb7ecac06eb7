package cli_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOperatorsAreToldWhatWasDone(t *testing.T) {
	t.Parallel()
	f, refusing := startHost(t), startHost(t)
	refusing.refuse = true
	clock := time.Date(2026, 11, 23, 15, 4, 5, 6e6, time.UTC).Local().Format("15:04:05.000")
	for _, tt := range []struct {
		args []string
		host *farSide
		want result
	}{
		{[]string{"events"}, f, result{0, clock + " rich/3 starting: restart\n" + clock + " rich/3[4711] exited: killed by \ufffd[2J\n" + clock + " host refused: the config has faults\n", ""}},
		{[]string{"reload"}, f, result{0, "rich: settings applied\n", ""}},
		{[]string{"reload"}, refusing, result{3, "", "Error: Size without a unit\ngaia: error: the config was refused; the host goes on with the one before\n"}},
		{[]string{"reload", "--json"}, refusing, result{3, `{"applied":false,"changes":[],"diagnostics":"Error: Size without a unit\n"}` + "\n", ""}},
		{[]string{"restart", "rich"}, f, result{0, "rich: generation 4 of gaia-rich serves, pid 4712, ready after 12ms\n", ""}},
		{[]string{"swap", "rich", "gaia-richer"}, f, result{0, "rich: generation 4 of gaia-richer serves, pid 4712, ready after 12ms\n", ""}},
		{[]string{"swap", "rich", "gaia-broken"}, f, result{1, "", "gaia: error: rich: generation 4 did not start: no license (FailedPrecondition)\n"}},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			got := tt.host.run(t, "", tt.args...)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPoliciesAreExplainedForTheRequestThatIsGiven(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	want := `POLICY          SETTING             VALUE  SOURCE          STATE
deadline        limits.timeout      30s    host default    
breaker.domain  -                   -      -               does not apply: the method has no key "domain"
rate.text       rate["text"].limit  9/s    config.hcl:14   6 bytes of request
                rate["text"].burst  1      plugin default  

The call is idempotent: it is repeated when its instance is lost.
`
	got := f.run(t, "", "policy", "explain", "rich.Rich.Echo", "text=four")
	if diff := cmp.Diff(result{0, want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	once := startHost(t)
	once.refuse = true // a repeat
	want = `POLICY  SETTING  VALUE  SOURCE  STATE
retry   -        -      -       does not apply: retry.attempts is 1

The call is never repeated: retry.attempts is 1.
`
	got = once.run(t, "", "policy", "explain", "rich.Rich.Echo", "text=four")
	if diff := cmp.Diff(result{0, want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("with one attempt (-want +got):\n%s", diff)
	}
	got = f.run(t, "", "policy", "explain", "rich.Rich.Echo", "txet=x")
	if got.code != 2 || !strings.Contains(got.stderr, `did you mean "text"?`) {
		t.Errorf("a misspelt field: %+v", got)
	}
}
