package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

func TestFaultsThatThePluginFoundArePlaced(t *testing.T) {
	s := subsystemWith(t, `    text = "x"
    tags = ["aa", "bb"]
    headers = { one = "1", "X-Two" = "2" }
    profile "github" {
      base_url = "https://api.github.com"
    }
    rule {
      host = "a"
    }
    rule {
      host = "b"
    }
    shards "7" {
      entries = 1
    }`)
	for _, tt := range []struct {
		path string
		line int
		mark string // what the carets are below
	}{
		{"", 3, "config"},
		{"text", 4, `"x"`},
		{"tags", 5, `["aa", "bb"]`},
		{"tags[1]", 5, `"bb"`},
		{"tags[7]", 5, `["aa", "bb"]`},
		{`headers["X-Two"]`, 6, `"2"`},
		{`headers["one"]`, 6, `"1"`},
		{`headers["none"]`, 6, `{ one = "1", "X-Two" = "2" }`},
		{`profile["github"]`, 7, `profile "github"`},
		{`profile["github"].base_url`, 8, `"https://api.github.com"`},
		{`profile["github"].timeout`, 7, `profile "github"`},
		{`profile["none"].timeout`, 3, "config"},
		{"rule[1].host", 14, `"b"`},
		{"rule[1]", 13, "rule"},
		{"rule[9].host", 3, "config"},
		{"shards[7].entries", 17, "1"},
		{"unknown.field", 3, "config"},
		{"rule[1", 3, "config"},
		{`profile["github`, 3, "config"},
		{"..[", 3, "config"},
		{"[0].host", 3, "config"},
	} {
		report := s.PluginDiagnostics([]*pluginv1.Diagnostic{{Path: tt.path, Summary: "Refused"}})
		d := diagnostics(report)[0]
		at := report.entries[0].Subject
		if mark := s.plugin.src.quote(*at); d.Line != tt.line || mark != tt.mark || d.Subsystem != "s" {
			t.Errorf("%q is placed at line %d, %s, want line %d, %s", tt.path, d.Line, mark, tt.line, tt.mark)
		}
	}
}

func TestAPluginMaySayLittle(t *testing.T) {
	config, _ := loadText(t, "subsystem \"s\" {\n  plugin = \"p\"\n}\n", nil)
	for name, s := range map[string]*Subsystem{"without a block": &config.Subsystems[0], "from no file": {Name: "s"}} {
		report := s.PluginDiagnostics([]*pluginv1.Diagnostic{{Path: "a.b"}, nil})
		if diff := cmp.Diff([]string{"Config refused by the plugin", "Config refused by the plugin"}, summaries(report)); diff != "" {
			t.Errorf("%s: summaries (-want +got):\n%s", name, diff)
		}
		if !report.HasErrors() || !strings.Contains(plain(t, report), "At a.b.") {
			t.Errorf("%s:\n%s", name, plain(t, report))
		}
		if s.PluginDiagnostics(nil).Len() != 0 {
			t.Errorf("%s: no diagnostics make a report", name)
		}
	}
}

const hushed = "hu5h-hu5h"

// Every way in which a secret could reach a diagnostic.
func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Setenv("GAIA_TEST_SECRET", hushed)
	for name, config := range map[string]string{
		"constraint that quotes it":    `token = "` + hushed + `"`,
		"too long":                     `token = "tk-` + strings.Repeat(hushed, 10) + `"`,
		"wrong type":                   `token = ["` + hushed + `"]`,
		"without quotes":               `token = ` + hushed,
		"in a template":                `token = "` + hushed + `${x}"`,
		"from the environment":         `token = [env("GAIA_TEST_SECRET")]`,
		"as a default":                 `token = [env("GAIA_TEST_NONE", "` + hushed + `")]`,
		"an item of a list":            `tokens = ["` + hushed + `", 5]`,
		"not a list":                   `tokens = "` + hushed + `"`,
		"in a secret block":            "vault {\nword = [\"" + hushed + "\"]\n}",
		"in a secret block on a line":  "vault { word = [\"" + hushed + "\"] }",
		"misspelt in a secret block":   "vault {\nwrod = \"" + hushed + "\"\n}",
		"misspelt":                     `tokne = "` + hushed + `"`,
		"misspelt block":               `valut { word = "` + hushed + `" }`,
		"as an object":                 `token { value = "` + hushed + `" }`,
		"argument for a block":         `vault = "` + hushed + `"`,
		"in a map of blocks":           "profile \"a\" {\nbase_url = \"::\"\nsecret = [\"" + hushed + "\"]\n}",
		"block without its label":      `profile { secret = "` + hushed + `" }`,
		"duplicate block":              "cache {\n}\ncache { token = \"" + hushed + "\" }",
		"twice":                        "token = \"tk-1\"\ntoken = \"" + hushed + "\"",
		"unclosed":                     `token = "` + hushed,
		"two on a line":                `token = "` + hushed + `" "` + hushed + `"`,
		"fault behind it":              `token = "` + hushed + `", 5`,
		"bare words":                   `token = ` + hushed + ` ` + hushed,
		"no equals sign":               `token "` + hushed + `"`,
		"fault in a comment's line":    `token = # ` + hushed,
		"heredoc":                      "token = [<<X\n" + hushed + "\nX\n]",
		"heredoc that does not end":    "token = <<X\n" + hushed + "\n",
		"call that fails":              `token = file("` + hushed + `", "` + hushed + `")`,
		"fault in a value beside it":   `headers = { a = "` + hushed + `" b = 5 }`,
		"unknown field in one line":    `inner { token = "` + hushed + `", x = 1 }`,
		"number for a text":            `token = 123451234`,
		"number for a text in a block": "vault {\nword = 123451234\n}",
		"number too large":             "vault {\npin = 123451234\n}",
		"number too large, in a quote": "vault {\npin = \"123451234\"\n}",
	} {
		t.Run(name, func(t *testing.T) {
			text := "subsystem \"s\" {\n  plugin = \"p\"\n  config {\n" + config + "\n  }\n}\n"
			_, report := loadText(t, text, describing(everything(t)))
			if !report.HasErrors() {
				t.Fatal("the fault is not found")
			}
			checkSecret(t, report)
		})
	}
}

func checkSecret(t *testing.T, report *Report) {
	t.Helper()
	list, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{plain(t, report), string(list), fmt.Sprint(report.Err())} {
		if strings.Contains(text, hushed) || strings.Contains(text, "12345") {
			t.Errorf("the secret is in:\n%s", text)
		}
	}
}

func TestSecretsThatThePluginQuotesAreTakenOut(t *testing.T) {
	t.Setenv("GAIA_TEST_SECRET", hushed)
	found := []*pluginv1.Diagnostic{
		{Path: "token", Summary: hushed + " is bad", Detail: "I do not like " + hushed + "."},
		{Path: "text", Summary: "Near it"},
	}
	for _, value := range []string{`env("GAIA_TEST_SECRET")`, `"tk-` + hushed + `"`} {
		s := subsystemWith(t, "    text  = \"plain\"\n    token = "+value)
		// Before the descriptor is known, any value may be a secret.
		before := s.PluginDiagnostics(found[1:])
		checkSecret(t, before)
		if text := plain(t, before); strings.Contains(text, "plain") || !strings.Contains(text, "[redacted]") {
			t.Errorf("before the descriptor is known:\n%s", text)
		}
		s.DecodeConfig(everything(t))
		found[0].Summary = strings.ReplaceAll(found[0].Summary, hushed, strings.Trim(value, `"`))
		after := s.PluginDiagnostics(found)
		if value == `env("GAIA_TEST_SECRET")` {
			checkSecret(t, after)
		}
		if text := plain(t, after); !strings.Contains(text, "plain") || strings.Contains(text, `"tk-`) {
			t.Errorf("after the descriptor is known:\n%s", text)
		}
	}
}

func TestAReferenceToASecretIsShown(t *testing.T) {
	_, report := subsystemWith(t, `token = env("GAIA_TEST_NOT_SET")`).DecodeConfig(everything(t))
	if text := plain(t, report); !strings.Contains(text, `token = env("GAIA_TEST_NOT_SET")`) {
		t.Errorf("got\n%s", text)
	}
}

func TestDecodingIsSafeForConcurrentUse(t *testing.T) {
	s, md := subsystemWith(t, "token = \"tk-1\"\npace = \"50\""), everything(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if _, report := s.DecodeConfig(md); report.Len() != 1 {
				t.Errorf("%d diagnostics, want 1", report.Len())
			}
			if report := s.PluginDiagnostics([]*pluginv1.Diagnostic{{Path: "pace"}}); report.Len() != 1 {
				t.Errorf("%d diagnostics, want 1", report.Len())
			}
		})
	}
	group.Wait()
}
