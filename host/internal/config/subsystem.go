package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Subsystem is a configured use of a plugin.
type Subsystem struct {
	Name     string // unique; a lower-case letter, then letters, digits and _
	Plugin   string // a file in Host.PluginDir
	SHA256   string // of that file, in lower-case hex; "" when any will do
	Limits   Limits
	Rates    []RatePolicy // in the order of the file
	Breakers []Breaker    // in the order of the file; at most one for each Key
	Retry    Retry
	Restart  Restart
	Health   Health
	SLO      SLO

	at     ranges // of all but what is in the config{} block; nil without a file
	plugin pluginConfig
}

func defaultSubsystem(name string) Subsystem {
	return Subsystem{
		Name:    name,
		Limits:  defaultLimits(),
		Retry:   defaultRetry(),
		Restart: defaultRestart(),
		Health:  defaultHealth(),
	}
}

func (s *Subsystem) table() table {
	return table{
		name: "subsystem",
		doc:  "A use of a plugin, under a name of its own.",
		arguments: []argument{
			{name: "plugin", required: true, doc: "Name of a file in `plugin_dir`, such as `\"gaia-api-client-pool\"`.", target: stringAt{&s.Plugin, "file name", checkPlugin}},
			{name: "sha256", doc: "Checksum of that file; another one is not started.", target: stringAt{&s.SHA256, "64 hex digits", checkSHA256}},
		},
		blocks: []table{
			s.Limits.table(),
			repeated(&s.Rates, newRatePolicy, (*RatePolicy).table),
			repeated(&s.Breakers, newBreaker, (*Breaker).table),
			s.Retry.table(),
			s.Restart.table(),
			s.Health.table(),
			s.SLO.table(),
			{name: "config", open: true, doc: "What the plugin itself wants to know. `gaia plugin info` prints what it takes."},
		},
	}
}

// settle fills in what follows from other settings.
func (s *Subsystem) settle() {
	s.SHA256 = strings.ToLower(s.SHA256)
	s.Limits.settle()
	for i := range s.Rates {
		s.Rates[i].settle()
	}
}

// SettingsEqual reports whether s and other have the same settings, whether
// written or by default. The config{} blocks are not compared: that takes the
// messages that they are decoded into.
func (s *Subsystem) SettingsEqual(other *Subsystem) bool {
	a, b := *s, *other
	a.at, a.plugin, b.at, b.plugin = nil, pluginConfig{}, nil, pluginConfig{}
	return reflect.DeepEqual(a, b)
}

// maxName keeps names fit for labels of metrics and directories.
const maxName = 63

// checkName returns what is wrong with the name of a subsystem.
func checkName(name string) (summary, detail, hint string) {
	if isName(name) {
		return "", "", ""
	}
	guess := strings.ToLower(regexp.MustCompile(`[^A-Za-z0-9_]+`).ReplaceAllString(name, "_"))
	if !isName(guess) {
		guess = ""
	}
	return "Invalid name", fmt.Sprintf("A name is a lower-case letter, then lower-case letters, digits and underscores; at most %d in all.", maxName), guess
}

func isName(name string) bool {
	for i, r := range name {
		letter := 'a' <= r && r <= 'z'
		if !letter && (i == 0 || r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

func checkPlugin(name string) (summary, detail, hint string) {
	switch {
	case name == "" || name == "." || name == ".." || strings.ContainsRune(name, 0):
		return "Invalid plugin", `A plugin is the name of a file in plugin_dir, such as "gaia-api-client-pool".`, ""
	case strings.ContainsAny(name, `/\`):
		base := path.Base(strings.ReplaceAll(name, `\`, "/"))
		if summary, _, _ := checkPlugin(base); summary != "" {
			base = ""
		}
		return "Plugin with a path", "A plugin is the name of a file in plugin_dir, without slashes. Set plugin_dir in the host block to where the file is.", base
	}
	return "", "", ""
}

func checkSHA256(sum string) (summary, detail, hint string) {
	if isSHA256(sum) {
		return "", "", ""
	}
	guess, found := strings.CutPrefix(strings.ToLower(sum), "sha256:")
	if !found || !isSHA256(guess) {
		guess = ""
	}
	return "Invalid checksum", "A checksum is 64 hex digits, as sha256sum prints them.", guess
}

func isSHA256(sum string) bool {
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == sha256.Size
}

// subsystems decodes the subsystem blocks of the file.
func (d *decoder) subsystems(blocks hclsyntax.Blocks) []*Subsystem {
	var all []*Subsystem
	first := map[string]hcl.Range{}
	for _, block := range blocks {
		if block.Type == "subsystem" {
			all = append(all, d.subsystem(block, first))
		}
	}
	return all
}

// subsystem decodes one block. first tells where each name was seen first.
func (d *decoder) subsystem(block *hclsyntax.Block, first map[string]hcl.Range) *Subsystem {
	s := defaultSubsystem(d.label(block, "name", checkOwnName))
	if before, again := first[s.Name]; again && s.Name != "" {
		d.report(fault(block.LabelRanges[0], "Duplicate subsystem",
			fmt.Sprintf("There is a subsystem %q on line %d already. Give one of them another name.", s.Name, before.Start.Line)))
	} else if s.Name != "" {
		first[s.Name] = block.LabelRanges[0]
	}
	s.at = ranges{}
	d.decode(s.table(), block.Range(), block.Body, scope{at: s.at})
	s.settle()
	s.plugin = newPluginConfig(d.evaluator, block, s.at)
	return &s
}
