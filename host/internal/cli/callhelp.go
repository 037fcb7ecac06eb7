package cli

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// printMethods lists what a subsystem can be called for.
func (c *command) printMethods(d *described, subsystem string) error {
	rows := [][]string{{"METHOD", "KIND", "WHAT IT DOES"}}
	for _, m := range d.Methods() {
		rows = append(rows, []string{
			subsystem + "." + d.callName(m.Descriptor), kind(m.Descriptor), sentence(comment(m.Descriptor)),
		})
	}
	return table(c.Stdout, rows)
}

// sentence returns the first sentence of a comment.
func sentence(comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	if first, _, ok := strings.Cut(text, ". "); ok {
		return first + "."
	}
	return text
}

// printRequest shows how the request of m is written.
func (c *command) printRequest(m protoreflect.MethodDescriptor) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.%s\n", m.Parent().FullName(), signature(m))
	if text := comment(m); text != "" {
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
