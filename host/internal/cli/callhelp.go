package cli

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gaia-go/gaia/host/internal/registry"
)

// printMethods lists what a subsystem can be called for.
func (c *command) printMethods(d *described, subsystem string) error {
	rows := [][]string{{"METHOD", "KIND", "WHAT IT DOES"}}
	for _, m := range d.Methods() {
		rows = append(rows, []string{
			subsystem + "." + d.CallName(m), m.Kind(), registry.Sentence(registry.Comment(m.Descriptor)),
		})
	}
	return table(c.Stdout, rows)
}

// printRequest shows how the request of m is written.
func (c *command) printRequest(m protoreflect.MethodDescriptor) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.%s\n", m.Parent().FullName(), signature(m))
	if text := registry.Comment(m); text != "" {
		fmt.Fprintf(&b, "%s\n", indented(text, "    "))
	}
	fields := requestFields(m.Input())
	if len(fields) == 0 {
		fmt.Fprintf(&b, "\n%s has no fields.\n", m.Input().FullName())
	} else {
		fmt.Fprintf(&b, "\nfields of %s:\n", m.Input().FullName())
	}
	for _, f := range fields {
		fmt.Fprintf(&b, "\n  %s", f.form)
		if f.sensitive {
			b.WriteString("  (sensitive)")
		}
		b.WriteString("\n")
		if f.comment != "" {
			fmt.Fprintf(&b, "%s\n", indented(f.comment, "      "))
		}
	}
	_, err := io.WriteString(c.Stdout, printable(b.String()))
	return err
}
