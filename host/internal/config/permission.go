package config

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Permission is one pattern of an allow list.
type Permission struct {
	// Subsystem is the name of one, HostClient for the host's own methods, or ""
	// for all subsystems.
	Subsystem string
	// Method is the last part of a method's name, such as "ReadFile".
	Method string
	// Prefix says that Method is only the beginning of the name; an empty one
	// stands for all methods.
	Prefix bool

	rng hcl.Range
}

// Allows reports whether the permission is for a method of a subsystem, given
// the last part of the method's name.
func (p Permission) Allows(subsystem, method string) bool {
	if p.Subsystem != subsystem && (p.Subsystem != "" || subsystem == HostClient) {
		return false
	}
	if p.Prefix {
		return strings.HasPrefix(method, p.Method)
	}
	return p.Method == method
}

// String is the permission as it is written.
func (p Permission) String() string {
	text := p.Method
	if p.Prefix {
		text += "*"
	}
	if p.Subsystem != "" {
		text = p.Subsystem + "." + text
	}
	return text
}

const permissionForm = `What may be called is written "subsystem.Method", "subsystem.*", "subsystem.Read*", or "*" for everything of all subsystems.`

// permission reads v as one pattern.
func (v value) permission() (Permission, *hcl.Diagnostic) {
	text, diag := v.text()
	if diag != nil {
		return Permission{}, diag
	}
	if text == "*" {
		return Permission{Prefix: true, rng: v.expr.Range()}, nil
	}
	subsystem, method, found := strings.Cut(text, ".")
	name, isPrefix := strings.CutSuffix(method, "*")
	switch {
	case !found && isName(text):
		return Permission{}, v.fault("Invalid permission", permissionForm, text+".*")
	case !isName(subsystem) || !isMethod(name, isPrefix):
		hint := ""
		if i := strings.LastIndexAny(method, "./"); isName(subsystem) && i >= 0 && isMethod(method[i+1:], false) {
			hint = subsystem + "." + method[i+1:]
		}
		return Permission{}, v.fault("Invalid permission", permissionForm, hint)
	}
	return Permission{Subsystem: subsystem, Method: name, Prefix: isPrefix, rng: v.expr.Range()}, nil
}

// isMethod reports whether name may be that of a method, or its beginning.
func isMethod(name string, isPrefix bool) bool {
	for i, r := range name {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != "" || isPrefix
}

// listAt is a list; its items are read later, so that each fault of them is
// reported.
type listAt struct {
	p    *[]value
	kind string
}

func (t listAt) set(v value) (diag *hcl.Diagnostic) {
	*t.p, diag = v.elements()
	return diag
}

func (t listAt) form() string    { return t.kind }
func (t listAt) current() string { return "" }
