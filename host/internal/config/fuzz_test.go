package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// Whatever is in a file, Load answers with a config or with diagnostics that
// point into the file.
func FuzzLoadTakesAnyBytes(f *testing.F) {
	files, err := filepath.Glob("testdata/invalid/*.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/ten-faults.hcl", "testdata/complete.hcl") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, seed := range []string{
		"", "\xef\xbb\xbfhost {}", "\x00", "}", "{", "\"", "subsystem \"a {\n}", "a = <<X\n", "a = \"${", "subsystem \"s\" {\nplugin=\"p\"\nconfig {" + everyShape + "}\n}",
		"subsystem \"s\" {\n  plugin = \"p\"\n  config {\n    vault {\n      pin = 1e999999999\n    }\n  }\n}\n",
		"subsystem \"s\" {\n  plugin = \"p\"\n" + placed + "\n}\n",
		"subsystem \"s\" {\n  plugin = \"p\"\n  limits {\n    concurrency = \"adaptive\"\n    cpu = \"0.5\"\n    max = 9\n  }\n  rate \"r\" {\n    limit = \"9/31ms\"\n  }\n}\n",
	} {
		f.Add(seed)
	}
	costly := regexp.MustCompile(`\b(for|file)\b`)
	describe := describing(everything(f))
	f.Fuzz(func(t *testing.T, text string) {
		if costly.MatchString(text) {
			return // loops can be long, and files are the machine's
		}
		config, report := loadText(t, text, describe)
		if (config == nil) != report.HasErrors() {
			t.Fatalf("config %v with errors: %v", config, report.HasErrors())
		}
		for _, e := range report.entries {
			if e.Subject != nil && !e.Subject.CanSliceBytes([]byte(text)) {
				t.Fatalf("%s: %v is not within the file of %d bytes", e.Summary, e.Subject, len(text))
			}
			if e.Summary == "" || e.Detail == "" {
				t.Fatalf("a diagnostic says nothing: %+v", e.Diagnostic)
			}
		}
		out := plain(t, report)
		if strings.ContainsAny(out, "\x1b\x00\r") {
			t.Fatalf("control characters are printed: %q", out)
		}
		if config == nil {
			return
		}
		for i := range config.Subsystems {
			config.Subsystems[i].PluginDiagnostics([]*pluginv1.Diagnostic{{Path: text}, {Path: "profile"}})
			checkSettings(t, &config.Subsystems[i], text)
		}
		formatted, report := Format([]byte(text), "config.hcl")
		if report.HasErrors() {
			t.Fatalf("Format refuses what Load takes:\n%s", plain(t, report))
		}
		again, report := loadText(t, string(formatted), describe)
		if report.HasErrors() {
			t.Fatalf("Load refuses what Format wrote:\n%s\n%s", formatted, plain(t, report))
		}
		for i := range config.Subsystems {
			if !config.Subsystems[i].SettingsEqual(&again.Subsystems[i]) {
				t.Fatalf("Format changes settings:\n%+v\n%+v", config.Subsystems[i], again.Subsystems[i])
			}
		}
	})
}

// checkSettings checks what the users of a subsystem rely on.
func checkSettings(t *testing.T, s *Subsystem, text string) {
	t.Helper()
	l := s.Limits
	if l.Concurrency < 1 || l.Min < 1 || l.Min > l.Max || l.Adaptive && l.Concurrency != l.Max {
		t.Fatalf("limits %+v", l)
	}
	for _, r := range s.Rates {
		for _, o := range append(r.Overrides, RateOverride{Limit: r.Limit, Burst: r.Burst}) {
			refill := float64(o.Burst) * float64(o.Limit.Per) / float64(o.Limit.Events)
			if o.Burst < 1 || o.Limit.Events < 1 || o.Limit.Per <= 0 || refill > 1.001*float64(longestRefill) {
				t.Fatalf("rate %+v", r)
			}
		}
	}
	for _, use := range s.KeysUsed() {
		if _, _, ok := s.Source(use.Path); !ok || use.Key == "" {
			t.Fatalf("the key %q has no place at %s", use.Key, use.Path)
		}
	}
	for _, path := range []string{text, "limits.queue", `rate["a.b"].override["*.c"].limit`} {
		report := s.WarnAt(path, "Summary", "Detail.")
		if report.Len() != 1 || !report.entries[0].Subject.CanSliceBytes([]byte(text)) {
			t.Fatalf("the warning at %q is not within the file", path)
		}
	}
}
