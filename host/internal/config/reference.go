package config

import (
	"fmt"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"
)

const referenceHead = `# Configuration

<!-- Printed from the tables in host/internal/config; a test compares it. Do not edit. -->

The host reads one file in [HCL](https://github.com/hashicorp/hcl): ` + "`config.hcl`" + `, or what ` + "`-config FILE`" + ` names.
` + "`gaia validate`" + ` prints every fault with file and line (a plugin that was never seen is started for a moment, to ask what it takes); ` + "`gaia fmt`" + ` lays the file out.
Every block and argument is optional unless it is marked as required. A block on one line holds at most one argument.

## Values

| kind | written as |
| --- | --- |
| text, path | ` + "`\"…\"`" + ` |
| number | ` + "`1000`" + ` |
| duration | ` + "`\"500ms\"`, `\"5s\"`, `\"1m30s\"`, `\"2h\"`" + `: a number with a unit, never a bare number |
| size | ` + "`\"64MiB\"`" + ` (KiB, MiB, GiB, TiB: 1024-based), ` + "`\"10MB\"`" + ` (KB, MB, GB, TB: 1000-based), ` + "`\"512B\"`" + ` |
| rate | ` + "`\"10/s\"`, `\"1000/min\"`, `\"1000/5m\"`" + `: a whole number per s, sec, m, min, h, hour, day or duration |
| percentage | ` + "`\"10%\"`, `\"99.9%\"`" + `: at most three decimals |
| from the environment | ` + "`env(\"NAME\")`, or `env(\"NAME\", \"default\")`" + ` for when it is not set |
| from a file | ` + "`file(\"path\")`" + `: its text without the final line break; relative to the folder of the config file, at most 1MiB |

There are no variables. In text, ` + "`${`" + ` that is meant literally is written ` + "`$${`" + `.
`

// Reference returns docs/configuration.md: the host's own blocks, printed from
// the tables that decode them.
func Reference() string {
	var out strings.Builder
	out.WriteString(referenceHead)
	h, c, s := defaultHost(), Client{}, defaultSubsystem("")
	writeTable(&out, h.table(), "##", "host { … }")
	writeTable(&out, c.table(), "##", `client "name" { … }`)
	writeTable(&out, s.table(), "##", `subsystem "name" { … }`)
	return out.String()
}

func writeTable(out *strings.Builder, t table, heading, title string) {
	fmt.Fprintf(out, "\n%s `%s`\n\n%s\n", heading, title, t.doc)
	if t.name == "subsystem" || t.name == "client" {
		fmt.Fprintf(out, "A name is a lower-case letter, then lower-case letters, digits and underscores, at most %d in all. It is unique.\n", maxName)
	}
	if len(t.arguments) > 0 {
		out.WriteString("\n| argument | value | default | meaning |\n| --- | --- | --- | --- |\n")
	}
	for _, a := range t.arguments {
		def := "–"
		if current := a.target.current(); current != "" {
			def = "`" + current + "`"
		}
		if a.required {
			def = "required"
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", a.name, a.target.form(), def, inCell(a.doc))
	}
	for _, b := range t.blocks {
		writeTable(out, b, heading+"#", b.form())
	}
}

// ConfigReference returns a Markdown table of the fields of md, a plugin's
// config message: how each is written, what bounds it, and its comment in the
// .proto. Messages within it follow as tables of their own, each once.
func ConfigReference(md protoreflect.MessageDescriptor) string { //nolint:revive // the config{} block is meant, not the package
	var out strings.Builder
	todo := []namedMessage{{"", md}}
	seen := map[protoreflect.FullName]bool{}
	for len(todo) > 0 {
		m := todo[0]
		todo = todo[1:]
		if seen[m.md.FullName()] {
			continue
		}
		seen[m.md.FullName()] = true
		todo = append(todo, writeMessage(&out, m)...)
	}
	return out.String()
}

// namedMessage is a message and how its block is written; "" for the root.
type namedMessage struct {
	block string
	md    protoreflect.MessageDescriptor
}

// writeMessage prints the table of one message and returns the messages of its
// blocks.
func writeMessage(out *strings.Builder, m namedMessage) []namedMessage {
	if m.block != "" {
		fmt.Fprintf(out, "\n`%s`\n\n", m.block)
	}
	fields := m.md.Fields()
	if fields.Len() == 0 {
		out.WriteString("Nothing to set.\n")
		return nil
	}
	out.WriteString("| name | written as | allowed | meaning |\n| --- | --- | --- | --- |\n")
	var blocks []namedMessage
	for i := range fields.Len() {
		fd := fields.Get(i)
		form := fieldForm(fd)
		if isBlock(fd) {
			inner := fd.Message()
			if fd.IsMap() {
				inner = fd.MapValue().Message()
			}
			blocks = append(blocks, namedMessage{form, inner})
		}
		fmt.Fprintf(out, "| `%s` | `%s` | %s | %s |\n", fd.Name(), form, inCell(constraints(fd)), inCell(comment(fd)))
	}
	return blocks
}

// fieldForm shows how a field is written in HCL.
func fieldForm(fd protoreflect.FieldDescriptor) string {
	switch {
	case isBlock(fd) && fd.IsMap():
		return fmt.Sprintf("%s \"%s\" { … }", fd.Name(), keyWord(fd.MapKey()))
	case isBlock(fd):
		return fmt.Sprintf("%s { … }", fd.Name())
	case fd.IsMap():
		return fmt.Sprintf("%s = { %s = %s }", fd.Name(), keyWord(fd.MapKey()), valueForm(fd.MapValue()))
	case fd.IsList():
		return fmt.Sprintf("%s = [%s]", fd.Name(), valueForm(fd))
	}
	return fmt.Sprintf("%s = %s", fd.Name(), valueForm(fd))
}

// keyWord stands for the key of a map.
func keyWord(fd protoreflect.FieldDescriptor) string {
	if fd.Kind() == protoreflect.StringKind {
		return "name"
	}
	return "number"
}

// valueForm shows one value of a field.
func valueForm(fd protoreflect.FieldDescriptor) string {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return `"text"`
	case protoreflect.BytesKind:
		return `"base64"`
	case protoreflect.BoolKind:
		return "true"
	case protoreflect.EnumKind:
		return fmt.Sprintf("%q", enumNames(fd.Enum())[0])
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return scalarForm(fd.Message())
	default:
		if fieldOptions(fd).GetUnit() == optionsv1.Unit_BYTES {
			return `"8MiB"`
		}
		return "number"
	}
}

func scalarForm(md protoreflect.MessageDescriptor) string {
	switch md.FullName() {
	case durationMessage:
		return `"5s"`
	case rateMessage:
		return `"10/s"`
	case structMessage:
		return "{ … }"
	case listMessage:
		return "[ … ]"
	}
	return "value"
}

// constraints says what simple rules allow for a field: whether it is
// required, its bounds and its names. The others are in the plugin's .proto.
func constraints(fd protoreflect.FieldDescriptor) string {
	var parts []string
	rules, err := protovalidate.ResolveFieldRules(fd)
	if err == nil && rules.GetRequired() || fd.Cardinality() == protoreflect.Required {
		parts = append(parts, "required")
	}
	element := fd
	if fd.IsMap() {
		element = fd.MapValue()
	}
	var typed []string
	if err == nil && rules != nil {
		typed = typeConstraints(fd, rules.ProtoReflect())
	}
	if element.Kind() == protoreflect.EnumKind && len(typed) == 0 {
		typed = []string{"one of " + inWords(quoted(enumNames(element.Enum())))}
	}
	parts = append(parts, typed...)
	if fieldOptions(fd).GetSensitive() {
		parts = append(parts, "never printed")
	}
	return strings.Join(parts, ", ")
}

// typeConstraints reads the rules of a field's own type.
func typeConstraints(fd protoreflect.FieldDescriptor, rules protoreflect.Message) []string {
	oneof := rules.Descriptor().Oneofs().ByName("type")
	if oneof == nil || rules.WhichOneof(oneof) == nil {
		return nil
	}
	typed := rules.Get(rules.WhichOneof(oneof)).Message()
	var parts []string
	if !fd.IsMap() && !fd.IsList() {
		if text := bounds(fd, typed); text != "" {
			parts = append(parts, text)
		}
	}
	for _, rule := range []struct {
		name   protoreflect.Name
		format string
	}{
		{"min_len", "at least %v characters"}, {"max_len", "at most %v characters"},
		{"min_items", "at least %v items"}, {"max_items", "at most %v items"},
		{"min_pairs", "at least %v entries"}, {"max_pairs", "at most %v entries"},
	} {
		if field := typed.Descriptor().Fields().ByName(rule.name); field != nil && typed.Has(field) {
			parts = append(parts, fmt.Sprintf(rule.format, typed.Get(field)))
		}
	}
	return parts
}

// inCell makes text fit for a cell of a Markdown table.
func inCell(text string) string {
	if text == "" {
		return "–"
	}
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}
