package config

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
)

// pluginConfig is the config{} block of a subsystem, which only the plugin's
// descriptor gives a meaning. The zero value is that of a subsystem which is
// from no file.
type pluginConfig struct {
	evaluator

	rng    hcl.Range        // of the whole subsystem block
	body   *hclsyntax.Body  // its body
	header hcl.Range        // its first line, to point at
	plugin hcl.Range        // the value of plugin, or the header
	block  *hclsyntax.Block // nil without a config{} block

	// secrets are those that DecodeConfig met last; nil before. The descriptor
	// is gone when the plugin's own diagnostics arrive.
	secrets *atomic.Pointer[secrets]
}

// secrets are what no diagnostic may show.
type secrets struct {
	ranges []hcl.Range
	values []string
}

// shortestSecret keeps the scrubbing of texts from replacing every "a".
const shortestSecret = 4

// scrub replaces secrets in text.
func (s *secrets) scrub(text string) string {
	for _, value := range s.values {
		if len(value) >= shortestSecret {
			text = strings.ReplaceAll(text, value, redacted)
		}
	}
	return text
}

// newPluginConfig remembers what a later decoding of the config{} block needs.
func newPluginConfig(e evaluator, block *hclsyntax.Block, at ranges) pluginConfig {
	p := pluginConfig{
		evaluator: e,
		rng:       block.Range(),
		body:      block.Body,
		header:    block.DefRange(),
		plugin:    block.DefRange(),
		secrets:   new(atomic.Pointer[secrets]),
	}
	if rng, ok := at["plugin"]; ok {
		p.plugin = rng
	}
	for _, inner := range block.Body.Blocks {
		if inner.Type == "config" && p.block == nil {
			p.block = inner
		}
	}
	return p
}

// start is where a fault of the config as a whole is.
func (p *pluginConfig) start() hcl.Range {
	if p.block == nil {
		return p.header
	}
	return p.block.DefRange()
}

// checkConfig decodes the config{} block for its diagnostics alone.
func (s *Subsystem) checkConfig(h Host, describe DescribeFunc) *Report {
	md, err := describe(h, s)
	if refused, ok := errors.AsType[*PluginError](err); ok {
		return newReport(s.plugin.src, hcl.Diagnostics{fault(s.plugin.plugin, refused.Summary, refused.Detail)})
	}
	if err != nil {
		return newReport(s.plugin.src, hcl.Diagnostics{warning(s.plugin.plugin, "Config not checked",
			fmt.Sprintf("What %q takes in its config block is not known: %v.", s.Plugin, err))})
	}
	_, report := s.DecodeConfig(md)
	return report
}

// DecodeConfig decodes the config{} block into a message of type md and checks
// it against the constraints (buf.validate) of md. Without a block the message
// is empty, but checked all the same. The message is nil when the report has
// errors, and when md is nil because the plugin takes no config; the report is
// never nil. Values are evaluated anew: env() and file() may have changed.
//
// Fields become arguments: text, numbers, true or false; enums by name in
// either case; bytes as base64; google.protobuf.Duration as "5s", fields whose
// unit is BYTES as "64MiB", gaia.options.v1.Rate as "10/s"; repeated fields as
// lists, maps as objects. Messages become blocks, repeated for a repeated
// field and labelled with the key for a map. It is safe for concurrent use.
func (s *Subsystem) DecodeConfig(md protoreflect.MessageDescriptor) (proto.Message, *Report) {
	p := &s.plugin
	if md == nil {
		if p.block == nil {
			return nil, &Report{}
		}
		return nil, newReport(p.src, hcl.Diagnostics{fault(p.block.TypeRange, "Plugin takes no config",
			fmt.Sprintf("%q has no settings. Remove the config block.", s.Plugin))}, valueRanges(p.block)...)
	}
	d := messageDecoder{decoder: decoder{evaluator: p.evaluator}, failed: map[string]bool{}}
	msg := d.root(md, p)
	seen := &secrets{ranges: d.hidden, values: d.values}
	if p.secrets != nil {
		p.secrets.Store(seen)
	}
	for _, diag := range d.diags {
		diag.Detail = seen.scrub(diag.Detail)
	}
	report := newReport(p.src, d.diags, d.hidden...)
	if report.HasErrors() {
		return nil, report
	}
	return msg, report
}

// PluginDiagnostics places the faults that a plugin found in its config, by
// the path of their field, at file and line. Secrets that the plugin quotes
// are taken out. It is safe for concurrent use.
func (s *Subsystem) PluginDiagnostics(ds []*pluginv1.Diagnostic) *Report {
	p := &s.plugin
	var seen *secrets
	if p.secrets != nil {
		seen = p.secrets.Load()
	}
	if seen == nil {
		seen = &secrets{ranges: valueRanges(p.block)} // each may be one
	}
	var diags hcl.Diagnostics
	for _, d := range ds {
		at := p.start()
		if p.block != nil {
			at, _ = locate(p.block, d.GetPath())
		}
		summary, detail := d.GetSummary(), d.GetDetail()
		if summary == "" {
			summary = "Config refused by the plugin"
		}
		if path := d.GetPath(); p.block == nil && path != "" {
			detail = strings.TrimSpace(fmt.Sprintf("At %s. %s", path, detail))
		}
		diags = append(diags, fault(at, seen.scrub(summary), seen.scrub(detail)))
	}
	return newReport(p.src, diags, seen.ranges...)
}

// valueRanges returns where the values of a block and its blocks are.
func valueRanges(block *hclsyntax.Block) []hcl.Range {
	if block == nil {
		return nil
	}
	var all []hcl.Range
	for _, attr := range block.Body.Attributes {
		all = append(all, attr.Expr.Range())
	}
	for _, inner := range block.Body.Blocks {
		all = append(all, valueRanges(inner)...)
	}
	return all
}
