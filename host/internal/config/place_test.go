package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

const placed = `
limits {
  timeout = "5s"
  queue   = null
  per_key "domain" {
    concurrency = 1
  }
}
rate "domain" {
  limit = "1/s"
  key   = "domain"
  override "*.x.com" {
    limit = "2/s"
  }
}
rate "all" {
  limit = "1/s"
}
breaker {
  failures = 1
}
breaker {
  failures = 2
  key      = "domain"
}
retry { attempts = 1 }
restart {
  hold = "1s"
  crash_loop { exits = 1 }
}
slo { p95 = "1s" }
config {
  timeout = 5
}`

func TestTheSourceOfAValueIsItsLine(t *testing.T) {
	s := loadOne(t, placed)
	for path, want := range map[string]int{ // 0 for a default
		`plugin`:                                   2,
		`limits.timeout`:                           5,
		`limits.queue`:                             0,
		`limits.memory`:                            0,
		`limits.per_key["domain"].concurrency`:     8,
		`limits.per_key["domain"].queue`:           0,
		`limits.per_key["domain"]`:                 7,
		`rate["domain"].limit`:                     12,
		`rate["domain"].key`:                       13,
		`rate["domain"].burst`:                     0,
		`rate["domain"].override["*.x.com"].limit`: 15,
		`rate["domain"].override["*.x.com"].burst`: 0,
		`rate["domain"].override["none"].limit`:    0,
		`rate["all"].limit`:                        19,
		`breaker.failures`:                         22,
		`breaker.within`:                           0,
		`breaker["domain"].failures`:               25,
		`breaker["domain"].key`:                    26,
		`retry.attempts`:                           28,
		`restart.hold`:                             30,
		`restart.crash_loop.exits`:                 31,
		`slo.p95`:                                  33,
		`config.timeout`:                           0,
		`health.every`:                             0,
		``:                                         0,
		`unknown["`:                                0,
	} {
		file, line, ok := s.Source(path)
		if line != want || ok != (want > 0) || ok != (file == "config.hcl") {
			t.Errorf("Source(%q) = %q, %d, %v, want line %d", path, file, line, ok, want)
		}
	}
	if _, _, ok := (&Subsystem{Name: "s"}).Source("limits.timeout"); ok {
		t.Error("a subsystem from no file has sources")
	}
}

func TestKeysAreListedWithTheirPlaces(t *testing.T) {
	s := loadOne(t, placed)
	want := []KeyUse{
		{"domain", `limits.per_key["domain"]`},
		{"domain", `rate["domain"].key`},
		{"domain", `breaker["domain"].key`},
	}
	if diff := cmp.Diff(want, s.KeysUsed()); diff != "" {
		t.Errorf("keys differ (-want +got):\n%s", diff)
	}
	if uses := loadOne(t, "breaker {\n}\nrate \"r\" { limit = \"1/s\" }").KeysUsed(); uses != nil {
		t.Errorf("keys %v, want none", uses)
	}
}

func TestAWarningStandsAtThePathOrTheBlockAroundIt(t *testing.T) {
	s := loadOne(t, placed)
	for path, want := range map[string]string{
		`rate["domain"].key`:                       `"domain"`,
		`limits.per_key["domain"]`:                 `per_key "domain"`,
		`breaker["domain"].key`:                    `"domain"`,
		`rate["domain"].override["*.x.com"].burst`: `override "*.x.com"`,
		`rate["domain"].override["none"].burst`:    `rate "domain"`,
		`limits.memory`:                            `limits`,
		`health.every`:                             `subsystem "s"`,
		`rate["none`:                               `subsystem "s"`,
		``:                                         `subsystem "s"`,
	} {
		report := s.WarnAt(path, "Unknown key", "No method declares it.")
		if report.Len() != 1 || report.HasErrors() {
			t.Fatalf("%s: want one warning, got:\n%s", path, plain(t, report))
		}
		d := diagnostics(report)[0]
		if mark := s.plugin.src.quote(*report.entries[0].Subject); mark != want || d.Subsystem != "s" || d.Summary != "Unknown key" {
			t.Errorf("%s: the warning %q stands at %s, want %s", path, d.Summary, mark, want)
		}
	}
	if text := plain(t, (&Subsystem{Name: "s"}).WarnAt("limits.queue", "Unknown key", "x.")); text != "Warning: Unknown key\n\nx.\n" {
		t.Errorf("a subsystem from no file:\n%s", text)
	}
}

// A config{} block is a plugin's, whatever its arguments are called.
func TestAPluginsPathsAreNotTheHosts(t *testing.T) {
	s := loadOne(t, placed)
	report := s.PluginDiagnostics([]*pluginv1.Diagnostic{{Path: "timeout", Summary: "Refused"}})
	if d := diagnostics(report)[0]; d.Line != 35 {
		t.Errorf("line %d, want 35", d.Line)
	}
}

// A plugin is told of its blocks, and of nothing that is no block.
func TestThePlacesOfAPluginsBlocksAreThoseOfTheirHeads(t *testing.T) {
	s := subsystemWith(t, everyShape)
	msg, report := s.DecodeConfig(everything(t))
	if report.Len() > 0 {
		t.Fatalf("diagnostics:\n%s", plain(t, report))
	}
	text := strings.Split(string(s.plugin.src.text), "\n")
	got := make(map[string]string)
	order := make(map[string]int)
	for i, place := range s.ConfigPlaces(msg) {
		if _, twice := got[place.GetPath()]; twice || place.GetFile() != "config.hcl" {
			t.Errorf("%v, want each block once", place)
		}
		got[place.GetPath()] = strings.TrimSpace(text[place.GetLine()-1]) + " " + strings.TrimSpace(text[place.GetLine()])
		order[place.GetPath()] = i
	}
	want := map[string]string{
		`shards[7]`:              `shards "7" { entries = 1`,
		`profile["github"]`:      `profile "github" { base_url = "https://api.github.com"`,
		`profile["git lab"]`:     `profile "git lab" { base_url = "https://gitlab.com"`,
		`rule[0]`:                `rule { host  = "a"`,
		`rule[1]`:                `rule { host  = "b"`,
		`cache`:                  `cache { ttl = "0s"`,
		`tree`:                   `tree { name = "root"`,
		`tree.child[0]`:          `child { name = "left"`,
		`tree.child[0].child[0]`: `child { }`,
		`tree.child[1]`:          `child { name = "right"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places differ (-want +got):\n%s", diff)
	}
	if order["tree"] > order["tree.child[0]"] || order["tree.child[0]"] > order["tree.child[0].child[0]"] {
		t.Errorf("an inner block comes before the one around it: %v", order)
	}
	if places := s.ConfigPlaces(nil); places != nil {
		t.Errorf("places of nothing: %v", places)
	}
	if places := (&Subsystem{Name: "s"}).ConfigPlaces(msg); places != nil {
		t.Errorf("places of a subsystem from no file: %v", places)
	}
}
