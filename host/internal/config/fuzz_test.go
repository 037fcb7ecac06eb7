package config

import (
	"os"
	"path/filepath"
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
	for _, file := range append(files, "testdata/ten-faults.hcl") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, seed := range []string{
		"", "\xef\xbb\xbfhost {}", "\x00", "}", "{", "\"", "subsystem \"a {\n}", "a = <<X\n", "a = \"${", "subsystem \"s\" {\nplugin=\"p\"\nconfig {" + everyShape + "}\n}",
		"subsystem \"s\" {\n  plugin = \"p\"\n  config {\n    vault {\n      pin = 1e999999999\n    }\n  }\n}\n",
	} {
		f.Add(seed)
	}
	describe := describing(everything(f))
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "for") || strings.Contains(text, "file") {
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
		}
		formatted, report := Format([]byte(text), "config.hcl")
		if report.HasErrors() {
			t.Fatalf("Format refuses what Load takes:\n%s", plain(t, report))
		}
		if _, report = loadText(t, string(formatted), describe); report.HasErrors() {
			t.Fatalf("Load refuses what Format wrote:\n%s\n%s", formatted, plain(t, report))
		}
	})
}
