package config

import (
	"fmt"

	"aead.dev/minisign"
	"github.com/hashicorp/hcl/v2"
)

// PluginError is what a DescribeFunc returns about a plugin that must not be
// executed: that is a fault of the config, where other errors are warnings.
type PluginError struct {
	Summary string // a few stable words
	Detail  string // what was expected, what was found, what to do
}

// Error is the detail: it says all.
func (e *PluginError) Error() string { return e.Detail }

// FaultWithoutPlace is a report of one fault that is in no config.
func FaultWithoutPlace(summary, detail string) *Report {
	return newReport(nil, hcl.Diagnostics{{Severity: hcl.DiagError, Summary: summary, Detail: detail}})
}

// keysAt is a list of minisign's public keys.
type keysAt struct{ p *[]string }

func (t keysAt) set(v value) *hcl.Diagnostic {
	items, diag := v.elements()
	if diag != nil {
		return diag
	}
	*t.p = nil
	for _, item := range items {
		text, diag := item.text()
		if diag != nil {
			return diag
		}
		if err := new(minisign.PublicKey).UnmarshalText([]byte(text)); err != nil {
			return item.fault("Invalid public key", fmt.Sprintf("A key is what gaia plugin keygen and minisign -G write into the file of the public key, such as file(\"minisign.pub\") or the line in it that begins with RW. %v.", err), "")
		}
		*t.p = append(*t.p, text)
	}
	if len(*t.p) == 0 {
		return v.fault("No public key", "An empty list would trust no plugin, or all of them. Leave the argument out to run plugins without a signature.", "")
	}
	return nil
}

func (t keysAt) form() string    { return "list of text" }
func (t keysAt) current() string { return "" }
