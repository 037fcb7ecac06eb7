package cli_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestStatusIsATable(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "status")
	want := `host v1.2.3  pid 4242  up 1d02h  config /etc/gaia/config.hcl  http 127.0.0.1:4242
SUBSYSTEM  PLUGIN       STATE    PID   GENERATION  RESTARTS  UPTIME  TRANSPORT  IN FLIGHT   REASON
broken     gaia-broken  backoff  -     7           6         -       -          0           exit code 1 after 12ms; next start in 3s
rich       gaia-rich    ready    4711  3           2         3m07s   link       5+2 queued  -
`
	if diff := cmp.Diff(result{0, want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusOfOneSubsystem(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	if got := f.run(t, "", "status", "rich"); !strings.HasSuffix(got.stdout, "\nversion  -\nsha256   -\nspares   1\nlimits   memory: cgroup v1\n") {
		t.Errorf("got %+v", got)
	}
	got := f.run(t, "", "status", "rich", "-json")
	var reply struct {
		Version    string
		Subsystems []map[string]any
	}
	if err := json.Unmarshal([]byte(got.stdout), &reply); err != nil {
		t.Fatalf("%v in %+v", err, got)
	}
	if reply.Version != hostVersion || len(reply.Subsystems) != 1 || reply.Subsystems[0]["name"] != "rich" {
		t.Errorf("got %s", got.stdout)
	}
	if reason, ok := reply.Subsystems[0]["reason"]; !ok || reason != "" {
		t.Errorf("an empty reason is left out of %s", got.stdout)
	}
	if n := strings.Count(got.stdout, "\n"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

func TestStatusOfAnUnknownSubsystemNamesTheNearest(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	for name, hint := range map[string]string{
		"rihc":    `did you mean "rich"?`,
		"another": "the subsystems are broken, rich",
	} {
		got := f.run(t, "", "status", name)
		want := result{1, "", "gaia: error: no subsystem \"" + name + "\"\ngaia: hint: " + hint + "\n"}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestLogsAreLinesThatCannotSteerATerminal(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	clock := time.Date(2026, 11, 23, 15, 4, 5, 6e6, time.UTC).Local().Format("15:04:05.000")
	want := clock + ` INFO  rich/3[4711] ready at="" note="two words" took=12ms
` + clock + " ERROR rich/3[4711] steer \ufffd[2J the terminal raw=\ufffd]0;x\ufffd\n"
	got := f.run(t, "", "logs", "rich")
	if diff := cmp.Diff(result{0, want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogsOfTheEndAsJSON(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "logs", "rich", "-n", "1", "--json")
	want := `{"time":"2026-11-23T15:04:05.006Z","level":"error","subsystem":"rich","generation":"3","pid":4711,` +
		`"message":"steer \u001b[2J the\nterminal","fields":{"raw":"\u001b]0;x\u0007"}}` + "\n"
	if diff := cmp.Diff(result{0, want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPluginsAreListed(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "plugin", "list")
	want := `PLUGIN       VERSION  SIZE     SHA256        SUBSYSTEMS  FAULT
gaia-broken  -        1KiB     -             -           not executable
gaia-rich    v0.1.0   18.0MiB  0123456789ab  other,rich  -
`
	if diff := cmp.Diff(result{0, want, ""}, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPluginInfoShowsServicesAndConfig(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "plugin", "info", "rich")
	if got.code != 0 {
		t.Fatalf("%+v", got)
	}
	services := `gaia-rich v0.1.0
file    gaia-rich
sha256  ` + richSum + `

service rich.v1.Other
    Other shares a method's name with Rich.

  Echo(Everything) returns (Everything)
      Echo returns its request too.

service rich.v1.Rich
    Rich has a method of each kind.

  Chat(stream Everything) returns (stream Everything)
      Chat answers each request with itself.
`
	if !strings.HasPrefix(got.stdout, services) {
		t.Errorf("got:\n%s\nwant it to start with:\n%s", got.stdout, services)
	}
	_, config, _ := strings.Cut(got.stdout, "\nconfig {")
	if diff := cmp.Diff(wantConfig, "config {"+config); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
}

const wantConfig = `config {
  # name of the plugin to others.
  name = "TEXT"

  # limit of memory. Optional, default 64MiB.
  limit = "1MiB"

  idle = "5s"

  fast = true

  level = "quiet|loud"

  hosts = ["TEXT"]

  labels = { KEY = "TEXT" }

  # one point.
  origin {
    # x to the right.
    x = 1

    # y up.
    y = 1
  }

  # many points.
  stops {
    # x to the right.
    x = 1

    # y up.
    y = 1
  }

  # points with names.
  profile "KEY" {
    # base_url that paths are resolved against.
    base_url = "TEXT"
  }

  rate = "10/s"

  # token to log in with.
  # Sensitive: env("NAME") keeps it out of the file.
  token = "TEXT"

  ports = [1]
}
`

func TestPluginInfoIsJSONForPrograms(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	got := f.run(t, "", "plugin", "info", "gaia-rich", "--json")
	var view struct {
		File, Name, Version, SHA256, Config string
		Services                            []string
		Methods                             []struct{ Service, Name, Kind, Request, Response, Comment string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &view); err != nil {
		t.Fatalf("%v in %+v", err, got)
	}
	if view.File != "gaia-rich" || view.SHA256 != richSum || view.Config != wantConfig {
		t.Errorf("got %s", got.stdout)
	}
	if diff := cmp.Diff([]string{"rich.v1.Other", "rich.v1.Rich"}, view.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if len(view.Methods) != 7 || view.Methods[1].Name != "Chat" || view.Methods[1].Kind != "bidi stream" {
		t.Errorf("methods %+v", view.Methods)
	}
}

func TestVersionIsTheOneOfTheBuild(t *testing.T) {
	t.Parallel()
	got := runCommand(t.Context(), nil, strings.NewReader(""), "version")
	if !strings.HasPrefix(got.stdout, "gaia v9.9.9 go1.") || got.code != 0 {
		t.Errorf("%+v", got)
	}
}

func TestTheShellCompletesWhatTheHostKnows(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"subsystems of a call", []string{"call", ""}, []string{"broken.", "rich."}},
		{"methods of a subsystem", []string{"call", "rich.C"}, []string{"rich.Chat\tChat answers each request with itself.", "rich.Count\tCount sends its request back `count` times."}},
		{"a method of two services", []string{"call", "rich.O"}, []string{"rich.Other.Echo\tEcho returns its request too."}},
		{"fields of a request", []string{"call", "rich.Count", "he"}, []string{"headers."}},
		{"nested fields of a request", []string{"call", "rich.Count", "point."}, []string{"point.x=\tx to the right.", "point.y=\ty up."}},
		{"messages lead on", []string{"call", "rich.Count", "poin"}, []string{"points.", "point."}},
		{"values of an enum", []string{"call", "rich.Count", "level="}, []string{"level=QUIET", "level=LOUD"}},
		{"values of a bool", []string{"call", "rich.Count", "flag=t"}, []string{"flag=true"}},
		{"files", []string{"call", "rich.Count", "blob=@testdata/rich.p"}, []string{"blob=@testdata/rich.proto"}},
		{"directories go on", []string{"call", "rich.Count", "blob=@testd"}, []string{"blob=@testdata/"}},
		{"nothing for what may be anything", []string{"call", "rich.Count", "text="}, nil},
		{"methods to explain policies of", []string{"policy", "explain", "rich.Ha"}, []string{"rich.Hang\tHang answers when the call is cancelled."}},
		{"subsystems to restart", []string{"restart", "ri"}, []string{"rich"}},
		{"subsystems with logs", []string{"logs", "r"}, []string{"rich"}},
		{"subsystems with a status", []string{"status", "b"}, []string{"broken"}},
		{"plugins", []string{"plugin", "info", "gaia-r"}, []string{"gaia-rich"}},
		{"benchmarks", []string{"bench", ""}, []string{"browser", "dispatch", "dns", "files", "gate", "http", "processes", "proxy", "restart"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := f.run(t, "", append([]string{"__complete"}, tt.args...)...)
			words, _, _ := strings.Cut("\n"+got.stdout, "\n:") // behind it is what a shell does with them
			if diff := cmp.Diff(tt.want, strings.Split(words, "\n")[1:], cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("gaia %q (-want +got):\n%s", tt.args, diff)
			}
		})
	}
}

func TestTheSocketIsTakenFromFlagThenEnvironmentThenConfig(t *testing.T) {
	t.Parallel()
	f := startHost(t)
	config := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(config, []byte("host {\n  socket = \""+f.socket+"\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	nobody := filepath.Join(t.TempDir(), "nobody")
	tests := []struct {
		name string
		env  string
		args []string
		want int
	}{
		{"flag before environment", nobody, []string{"-socket", f.socket}, 0},
		{"flag before right environment", f.socket, []string{"--socket=" + nobody}, 1},
		{"environment before config", nobody, []string{"-config", config}, 1},
		{"config", "", []string{"-config=" + config}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runCommand(t.Context(), map[string]string{"GAIA_SOCKET": tt.env}, strings.NewReader(""),
				append([]string{"status"}, tt.args...)...)
			if got.code != tt.want {
				t.Errorf("%+v, want exit code %d", got, tt.want)
			}
		})
	}
}

func TestAHostThatDiedIsNoHost(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false) // as after a crash
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	got := runCommand(t.Context(), nil, strings.NewReader(""), "status", "-socket", socket, "-config", "my.hcl")
	want := result{1, "", "gaia: error: no host answers at " + socket + "\ngaia: hint: start one with: gaia run -config my.hcl\n"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
