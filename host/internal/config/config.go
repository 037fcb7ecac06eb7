// Package config turns config.hcl into a Config value, or into diagnostics
// that tell the operator what to write instead.
package config

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Config is a whole config.hcl with every default filled in. After Load nobody
// writes it, so that it is safe for concurrent use.
type Config struct {
	Path       string // of the file, absolute
	Host       Host
	TLS        *tls.Config // of Host.GRPC, from the files of Host.TLS; nil without it
	Subsystems []Subsystem // sorted by name
	Clients    []Client    // sorted by name
}

// DescribeFunc returns the message type of a subsystem's config{} block; nil
// when the plugin takes none. The host says where plugins and data are.
type DescribeFunc func(h Host, s *Subsystem) (protoreflect.MessageDescriptor, error)

// Load reads, decodes and checks the config at path. It never stops at the
// first fault. The Config is nil when the report has errors; the report is
// never nil. Diagnostics call the file path, as it was given.
//
// With describe, which may be nil, the config{} blocks of the plugins are
// checked as well. It is called once for each subsystem, one after the other,
// with all but the config{} block decoded; its error becomes a warning.
func Load(path string, describe DescribeFunc) (*Config, *Report) {
	text, err := readBounded(path)
	if err != nil {
		return nil, newReport(nil, hcl.Diagnostics{unreadable(path, err)})
	}
	return load(newSource(path, text), describe)
}

func unreadable(path string, err error) *hcl.Diagnostic {
	d := &hcl.Diagnostic{Severity: hcl.DiagError, Summary: "Config not readable"}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Summary = "Config not found"
		d.Detail = fmt.Sprintf("There is no file %s. Name another one with -config FILE.", path)
	case errors.Is(err, errTooLarge):
		d.Summary = "Config too large"
		d.Detail = fmt.Sprintf("%s is larger than %v, the most that is read.", path, Bytes(maxFile))
	default:
		d.Detail = fmt.Sprintf("%s cannot be read: %s.", path, reason(err))
	}
	return d
}

// LoadHost reads no more than the host block of the config at path. It reports
// false when there is a fault in it or the file cannot be read, or when the file
// has faults of syntax and no such block. What the other blocks say may be as wrong
// as it will.
func LoadHost(path string) (Host, bool) {
	text, err := readBounded(path)
	if err != nil {
		return Host{}, false
	}
	src := newSource(path, text)
	d := decoder{evaluator: newEvaluator(src)}
	h, _ := d.host()
	return h, !d.diags.HasErrors() && (len(src.faults) == 0 || src.hasWhole("host"))
}

func load(src *source, describe DescribeFunc) (*Config, *Report) {
	d := decoder{evaluator: newEvaluator(src)}
	d.diags = slices.Concat(src.faults, src.twice)
	d.top()
	c := Config{Path: src.path}
	var hostAt ranges
	c.Host, hostAt = d.host()
	c.TLS = d.tls(&c.Host, hostAt)
	subsystems, clients := d.subsystems(src.body.Blocks), d.clients(src.body.Blocks)
	report := newReport(src, d.diags, d.hidden...)
	for _, s := range subsystems {
		if describe != nil && s.Plugin != "" && !src.broken(s.plugin.rng, s.plugin.body) {
			report.Add(s.checkConfig(c.Host, describe))
		}
		c.Subsystems = append(c.Subsystems, *s)
	}
	for _, client := range clients {
		c.Clients = append(c.Clients, *client)
	}
	if report.HasErrors() {
		return nil, report
	}
	slices.SortFunc(c.Subsystems, func(a, b Subsystem) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Clients, func(a, b Client) int { return cmp.Compare(a.Name, b.Name) })
	return &c, report
}

// top refuses what is no block that a file may have, unless a syntax
// fault may have moved it there.
func (d *decoder) top() {
	if d.src.broken(hcl.Range{End: hcl.Pos{Byte: len(d.src.text)}}, d.src.body) {
		return
	}
	known := []string{"host", "client", "subsystem"}
	for _, attr := range d.src.body.Attributes {
		d.unknownArgument("", attr, nil, known)
	}
	for _, block := range d.src.body.Blocks {
		if !slices.Contains(known, block.Type) {
			d.unknownBlock("", block, nil, known)
		}
	}
}

// host decodes the host block, of which there is at most one, and tells where
// its values stand.
func (d *decoder) host() (Host, ranges) {
	h, at := defaultHost(), ranges{}
	for _, block := range d.src.body.Blocks {
		if block.Type == "host" {
			d.nested(h.table(), block, scope{at: at})
		}
	}
	d.diags = append(d.diags, h.resolve(d.src, at)...)
	return h, at
}
