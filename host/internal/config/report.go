package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Report is what is wrong with a config: diagnostics in the order of the file,
// each once, with the text that they are about. A nil Report is an empty one.
// It is not safe for use while Add runs.
type Report struct {
	entries []entry
	hidden  []hcl.Range // of secrets: never quoted
}

// entry is a diagnostic and the file it is about.
type entry struct {
	*hcl.Diagnostic
	source *source // nil when there is no file to quote
}

// Diagnostic is one fault as programs read it. Lines and columns count from
// 1, columns in characters as a reader sees them; all are 0 for a fault without
// a position, such as a missing file. The end is the first position after.
type Diagnostic struct {
	Severity  string `json:"severity"` // "error" or "warning"
	Summary   string `json:"summary"`
	Detail    string `json:"detail"`
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
	Subsystem string `json:"subsystem"` // "" outside of subsystem blocks
}

// fault returns an error with a position. The summary is a few stable words;
// the detail says what is allowed and what to write instead.
func fault(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: summary, Detail: detail, Subject: &at}
}

// warning returns a fault that does not stop a config from being used.
func warning(at hcl.Range, summary, detail string) *hcl.Diagnostic {
	d := fault(at, summary, detail)
	d.Severity = hcl.DiagWarning
	return d
}

// newReport returns the report of diags, which are about src. Without a src
// they have no position.
func newReport(src *source, diags hcl.Diagnostics, hidden ...hcl.Range) *Report {
	r := &Report{hidden: slices.Clone(hidden)}
	if src != nil {
		r.hidden = append(r.hidden, src.hidden...)
	}
	for _, d := range diags {
		if src == nil {
			d.Subject = nil
		}
		r.entries = append(r.entries, entry{d, src})
	}
	r.settle()
	return r
}

// Add takes over the diagnostics of other, which may be nil.
func (r *Report) Add(other *Report) {
	if other == nil {
		return
	}
	r.entries = append(r.entries, other.entries...)
	r.hidden = append(r.hidden, other.hidden...)
	r.settle()
}

// settle sorts the entries as the file goes and drops the repeated ones.
func (r *Report) settle() {
	slices.SortStableFunc(r.entries, func(a, b entry) int {
		p, q := a.at(), b.at()
		return cmp.Or(cmp.Compare(p.Filename, q.Filename),
			cmp.Compare(p.Start.Byte, q.Start.Byte), cmp.Compare(p.End.Byte, q.End.Byte))
	})
	seen := map[hcl.Diagnostic]bool{}
	r.entries = slices.DeleteFunc(r.entries, func(e entry) bool {
		key := hcl.Diagnostic{Severity: e.Severity, Summary: e.Summary, Detail: e.Detail + "\x00" + fmt.Sprint(e.at())}
		again := seen[key]
		seen[key] = true
		return again
	})
}

// at returns where e is; the zero range when it has no position.
func (e entry) at() hcl.Range {
	if e.Subject == nil {
		return hcl.Range{}
	}
	return *e.Subject
}

// HasErrors reports whether anything but warnings is in r.
func (r *Report) HasErrors() bool {
	return r != nil && slices.ContainsFunc(r.entries, func(e entry) bool { return e.Severity == hcl.DiagError })
}

// Len returns the number of diagnostics, warnings included.
func (r *Report) Len() int {
	if r == nil {
		return 0
	}
	return len(r.entries)
}

// Err returns nil without errors, else one line for a status: the first error
// with its file and line, and how many more there are.
func (r *Report) Err() error {
	if !r.HasErrors() {
		return nil
	}
	line, more := "", 0
	for _, e := range r.entries {
		switch {
		case e.Severity != hcl.DiagError:
			continue
		case line != "":
			more++
		case e.Subject == nil:
			line = printable(e.Summary) + ": " + printable(e.Detail)
		default:
			line = fmt.Sprintf("%s:%d: %s: %s", e.Subject.Filename, e.Subject.Start.Line, printable(e.Summary), printable(e.Detail))
		}
	}
	if more > 0 {
		line += fmt.Sprintf(", and %d more", more)
	}
	return errors.New(strings.ReplaceAll(line, "\n", " "))
}

// JSON returns the diagnostics as a slice of [Diagnostic], never nil.
func (r *Report) JSON() any {
	list := make([]Diagnostic, 0, r.Len())
	if r == nil {
		return list
	}
	for _, e := range r.entries {
		d := Diagnostic{Severity: "error", Summary: e.Summary, Detail: e.Detail}
		if e.Severity == hcl.DiagWarning {
			d.Severity = "warning"
		}
		if at := e.Subject; at != nil {
			d.File, d.Line, d.Column = at.Filename, at.Start.Line, at.Start.Column
			d.EndLine, d.EndColumn = at.End.Line, at.End.Column
			if e.source != nil {
				_, d.Subsystem = e.source.block(*at)
			}
		}
		list = append(list, d)
	}
	return list
}

// MarshalJSON writes what JSON returns.
func (r *Report) MarshalJSON() ([]byte, error) { return json.Marshal(r.JSON()) }
