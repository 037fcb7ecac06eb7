package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func TestAnEmptyConfigHasEveryDefault(t *testing.T) {
	config, report := loadText(t, "", nil)
	if report.Len() > 0 {
		t.Fatalf("diagnostics:\n%s", plain(t, report))
	}
	want := &Config{
		Path: "/etc/gaia/config.hcl",
		Host: Host{
			Socket:    "/etc/gaia/run/gaia.sock",
			HTTP:      "127.0.0.1:4242",
			PluginDir: "/etc/gaia/bin/plugins",
			DataDir:   "/etc/gaia/data",
		},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("config differs (-want +got):\n%s", diff)
	}
}

func TestASubsystemNeedsOnlyItsPlugin(t *testing.T) {
	config, report := loadText(t, `
		subsystem "b" {
			plugin = "gaia-b"
		}
		subsystem "a_1" {
			plugin = "gaia-a"
			sha256 = "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"
			limits {
				concurrency = 1
				queue       = 0
				timeout     = "1m30s"
			}
			restart {
				backoff      = "1s"
				max_backoff  = "1s"
				stable_after = "0s"
				hold         = null
			}
		}
		host {
			socket     = "/run/gaia.sock"
			http       = ""
			plugin_dir = "../plugins"
			data_dir   = "./data/"
		}`, nil)
	if report.Len() > 0 {
		t.Fatalf("diagnostics:\n%s", plain(t, report))
	}
	want := &Config{
		Path: "/etc/gaia/config.hcl",
		Host: Host{Socket: "/run/gaia.sock", PluginDir: "/etc/plugins", DataDir: "/etc/gaia/data"},
		Subsystems: []Subsystem{{
			Name:   "a_1",
			Plugin: "gaia-a",
			SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			Limits: Limits{Concurrency: 1, Min: 1, Max: 1000, Timeout: 90 * time.Second},
			Retry:  Retry{Attempts: 3, Budget: 10_000},
			Restart: Restart{
				Backoff: time.Second, MaxBackoff: time.Second, Hold: 2 * time.Second,
				StartTimeout: 10 * time.Second, DrainTimeout: 10 * time.Second, StopTimeout: 5 * time.Second,
				CrashLoop: CrashLoop{Exits: 5, Within: 5 * time.Minute, Then: ThenQuarantine},
			},
			Health: Health{Every: 5 * time.Second, Timeout: time.Second, Misses: 3},
		}, {
			Name:   "b",
			Plugin: "gaia-b",
			Limits: Limits{Concurrency: 1000, Min: 1, Max: 1000, Queue: 2000, Timeout: 30 * time.Second},
			Retry:  Retry{Attempts: 3, Budget: 10_000},
			Restart: Restart{
				Backoff: 200 * time.Millisecond, MaxBackoff: 30 * time.Second,
				StableAfter: time.Minute, Hold: 2 * time.Second,
				StartTimeout: 10 * time.Second, DrainTimeout: 10 * time.Second, StopTimeout: 5 * time.Second,
				CrashLoop: CrashLoop{Exits: 5, Within: 5 * time.Minute, Then: ThenQuarantine},
			},
			Health: Health{Every: 5 * time.Second, Timeout: time.Second, Misses: 3},
		}},
	}
	if diff := cmp.Diff(want, config, cmpopts.IgnoreUnexported(Subsystem{})); diff != "" {
		t.Errorf("config differs (-want +got):\n%s", diff)
	}
}

func TestAddressesOfAllKindsAreTaken(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:4242", "0.0.0.0:65535", "localhost:80", "[fe80::1%eth0]:1"} {
		config, report := loadText(t, `host {
			http = "`+address+`"
		}`, nil)
		if report.Len() > 0 || config.Host.HTTP != address {
			t.Errorf("%s is refused:\n%s", address, plain(t, report))
		}
	}
}

func TestEnvAndFileGiveValues(t *testing.T) {
	t.Setenv("GAIA_TEST_QUEUE", "7")
	t.Setenv("GAIA_TEST_EMPTY", "")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "timeout"), "5s\r\n")
	write(t, filepath.Join(dir, "config.hcl"), `
		subsystem "s" {
			plugin = env("GAIA_TEST_NOT_SET", "gaia-s")
			limits {
				queue   = env("GAIA_TEST_QUEUE")
				timeout = file("timeout")
			}
		}
		host {
			http     = env("GAIA_TEST_EMPTY", "unused:1")
			data_dir = "${env("GAIA_TEST_QUEUE")}/data"
		}`)
	config, report := Load(filepath.Join(dir, "config.hcl"), nil)
	if report.Len() > 0 {
		t.Fatalf("diagnostics:\n%s", plain(t, report))
	}
	s := config.Subsystems[0]
	if s.Plugin != "gaia-s" || s.Limits.Queue != 7 || s.Limits.Timeout != 5*time.Second ||
		config.Host.HTTP != "" || config.Host.DataDir != filepath.Join(dir, "7/data") {
		t.Errorf("got %+v and %+v", config.Host, s)
	}
}

func TestFilesThatAreNoValuesAreRefused(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "binary"), "\xff\xfe")
	write(t, filepath.Join(dir, "huge"), strings.Repeat("x", maxFile+1))
	t.Setenv("GAIA_TEST_BINARY", "\xff")
	for expr, want := range map[string]string{
		`file("binary")`:          "File is not text",
		`file("huge")`:            "File too large",
		`file("none")`:            "File not readable",
		`file("/dev/null")`:       "File not readable",
		`env("GAIA_TEST_BINARY")`: "Environment variable is not text",
	} {
		path := filepath.Join(dir, "config.hcl")
		write(t, path, "subsystem \"s\" {\n  plugin = "+expr+"\n}\n")
		_, report := Load(path, nil)
		if diff := cmp.Diff([]string{want}, summaries(report)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", expr, diff)
		}
	}
}

func TestAConfigThatCannotBeReadIsADiagnostic(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "huge.hcl"), strings.Repeat("#\n", maxFile))
	for name, want := range map[string]string{
		"none.hcl": "Config not found",
		"huge.hcl": "Config too large",
		"":         "Config not readable",
	} {
		config, report := Load(filepath.Join(dir, name), nil)
		if diff := cmp.Diff([]string{want}, summaries(report)); config != nil || diff != "" {
			t.Errorf("%q: config %v (-want +got):\n%s", name, config, diff)
		}
		if text := plain(t, report); !strings.Contains(text, dir) {
			t.Errorf("the path is missing in:\n%s", text)
		}
	}
}

func TestTenFaultsAreTenDiagnostics(t *testing.T) {
	config, report := Load("testdata/ten-faults.hcl", describing(everything(t)))
	if config != nil {
		t.Error("Load returned a config beside errors")
	}
	if report.Len() != 10 {
		t.Errorf("%d diagnostics, want 10", report.Len())
	}
	golden(t, "ten-faults.txt", plain(t, report))
}

func TestDescribeSeesTheSubsystemAndItsErrorIsAWarning(t *testing.T) {
	var seen []string
	config, report := loadText(t, `
		subsystem "b" {
			plugin = "gaia-b"
			limits {
				queue = 7
			}
			config {
				anything = "goes"
			}
		}
		subsystem "a" {
			plugin = "gaia-a"
		}`, func(_ Host, s *Subsystem) (protoreflect.MessageDescriptor, error) {
		seen = append(seen, s.Name)
		if s.Name == "b" && (s.Plugin != "gaia-b" || s.Limits.Queue != 7) {
			t.Errorf("describe got %+v", s)
		}
		return nil, errors.New("it is away")
	})
	if diff := cmp.Diff([]string{"b", "a"}, seen); diff != "" {
		t.Errorf("describe calls (-want +got):\n%s", diff)
	}
	if config == nil || report.HasErrors() || report.Err() != nil {
		t.Fatalf("warnings stop the config:\n%s", plain(t, report))
	}
	if diff := cmp.Diff([]string{"Config not checked", "Config not checked"}, summaries(report)); diff != "" {
		t.Errorf("summaries (-want +got):\n%s", diff)
	}
	if d := diagnostics(report)[0]; d.Severity != "warning" || d.Line != 3 || !strings.Contains(d.Detail, "it is away") {
		t.Errorf("got %+v, want a warning at plugin with the reason", d)
	}
}

func TestFilesNestedBeyondTheStackAreRefused(t *testing.T) {
	for _, deep := range []string{
		"a = " + strings.Repeat("(", 100_000),
		"a = " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"a = " + strings.Repeat("!", 100_000) + "true",
		"a = " + strings.Repeat("1 ? 2 : ", 100_000) + "3",
		"a = " + strings.Repeat("1 + ", 100_000) + "3",
		"a = " + strings.Repeat(`"${`, 1000),
		strings.Repeat("a {\n", 100_000),
	} {
		_, report := loadText(t, deep, nil)
		if !strings.Contains(plain(t, report), "Nested too deeply") {
			t.Errorf("%.40s… is not refused:\n%.500s", deep, plain(t, report))
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheHostBlockIsReadWhateverElseIsWrong(t *testing.T) {
	for _, tt := range []struct {
		text string
		want string // the socket; "" when the block cannot be relied on
	}{
		{"host {\n  socket = \"/run/a.sock\"\n}\nsubsystem \"x\" {\n  plugin = 7\n  limits { queue = \"many\" }\n}\n", "/run/a.sock"},
		{"subsystem \"x\" {\n", ""},
		{"host {\n  socket = 7\n}\n", ""},
		{"host {\n  sokcet = \"/run/a.sock\"\n}\n", ""},
		{"host {\n  socket = \"/run/a.sock\n}\n", ""},
	} {
		path := filepath.Join(t.TempDir(), "config.hcl")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if h, ok := LoadHost(path); ok != (tt.want != "") || ok && h.Socket != tt.want {
			t.Errorf("%q: got %q and %t, want %q", tt.text, h.Socket, ok, tt.want)
		}
	}
	if _, ok := LoadHost("/nowhere/config.hcl"); ok {
		t.Error("a file that is not there was read")
	}
}
