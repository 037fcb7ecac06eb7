package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// messageDecoder turns a block into a message, led by the message's
// descriptor. Recursive messages are fine: the file says how deep they go.
type messageDecoder struct {
	decoder // its hidden ranges are the secrets

	values []string        // of the secrets
	failed map[string]bool // paths of fields that have no value because of a fault
}

// root decodes the whole config{} block, which may be absent, and checks the
// message against its constraints.
func (d *messageDecoder) root(md protoreflect.MessageDescriptor, p *pluginConfig) proto.Message {
	msg := dynamicpb.NewMessage(md)
	block := p.block
	if block == nil {
		block = &hclsyntax.Block{Type: "config", TypeRange: p.header, Body: &hclsyntax.Body{}}
	}
	if p.src != nil && p.src.broken(block.Range(), block.Body) {
		return msg
	}
	if p.src != nil && p.src.faulty(block.Range()) {
		d.failed[""] = true // what is missing may be on the line at fault
	}
	d.message(msg, block, "")
	d.validate(msg, p)
	return msg
}

// message decodes the body of a block into msg, which is at path.
func (d *messageDecoder) message(msg protoreflect.Message, block *hclsyntax.Block, path string) {
	fields := msg.Descriptor().Fields()
	for _, name := range slices.Sorted(maps.Keys(block.Body.Attributes)) {
		attr := block.Body.Attributes[name]
		fd := fields.ByName(protoreflect.Name(name))
		if fd == nil || isBlock(fd) {
			arguments, blocks := fieldNames(fields)
			d.hide(attr.Expr.Range()) // perhaps a secret under a misspelt name
			d.unknownArgument(block.Type, attr, arguments, blocks)
			continue
		}
		d.argument(msg, fd, attr, join(path, name))
	}
	counts := map[string]int{}
	for _, inner := range block.Body.Blocks {
		fd := fields.ByName(protoreflect.Name(inner.Type))
		if fd == nil || !isBlock(fd) {
			arguments, blocks := fieldNames(fields)
			d.unknownBlock(block.Type, inner, arguments, blocks)
			continue
		}
		d.block(msg, fd, inner, path, counts)
		counts[inner.Type]++
	}
	d.oneofs(msg.Descriptor(), block)
	for i := range fields.Len() {
		if fd := fields.Get(i); fd.Cardinality() == protoreflect.Required && !msg.Has(fd) && !d.failed[join(path, string(fd.Name()))] {
			d.missingArgument(block.Type, string(fd.Name()), comment(fd), block.DefRange())
		}
	}
}

// isBlock reports whether a field is written as a block; all others are
// arguments.
func isBlock(fd protoreflect.FieldDescriptor) bool {
	if fd.IsMap() {
		return isBlock(fd.MapValue())
	}
	return fd.Message() != nil && !isScalarMessage(fd.Message())
}

// isScalarMessage reports whether a message is written as a single value.
func isScalarMessage(md protoreflect.MessageDescriptor) bool {
	switch md.FullName() {
	case durationMessage, rateMessage, structMessage, valueMessage, listMessage:
		return true
	}
	return false
}

// join appends a field's name to a path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// fieldNames returns the names that are written as arguments and as blocks.
func fieldNames(fields protoreflect.FieldDescriptors) (arguments, blocks []string) {
	for i := range fields.Len() {
		fd := fields.Get(i)
		if isBlock(fd) {
			blocks = append(blocks, string(fd.Name()))
		} else {
			arguments = append(arguments, string(fd.Name()))
		}
	}
	return arguments, blocks
}

// block decodes one block of the field fd. counts says how many there were
// before it, by name.
func (d *messageDecoder) block(msg protoreflect.Message, fd protoreflect.FieldDescriptor, block *hclsyntax.Block, path string, counts map[string]int) {
	if fieldOptions(fd).GetSensitive() {
		d.hide(block.Body.SrcRange) // and so all values in it, see within
	}
	path = join(path, string(fd.Name()))
	if fd.IsMap() {
		d.labelled(msg.Mutable(fd).Map(), fd, block, path)
		return
	}
	if len(block.LabelRanges) > 0 {
		d.unexpectedName(block, block.Type+" { … }")
	}
	if fd.IsList() {
		list := msg.Mutable(fd).List()
		element := list.NewElement()
		d.message(element.Message(), block, fmt.Sprintf("%s[%d]", path, list.Len()))
		list.Append(element)
		return
	}
	if counts[block.Type] > 0 {
		d.hideBody(block)
		d.report(fault(block.DefRange(), "Duplicate block", fmt.Sprintf("There is a %s block already, and only one is taken. Write all of it there.", block.Type)))
		return
	}
	d.message(msg.Mutable(fd).Message(), block, path)
}

// labelled decodes one entry of a map of messages; the label is its key.
func (d *messageDecoder) labelled(m protoreflect.Map, fd protoreflect.FieldDescriptor, block *hclsyntax.Block, path string) {
	if len(block.Labels) != 1 {
		d.hideBody(block)
		d.failed[path] = true
		d.report(fault(block.DefRange(), "Missing name", fmt.Sprintf("A %s block has one name: write %s \"name\" { … }.", block.Type, block.Type)))
		return
	}
	label := block.Labels[0]
	key, ok := mapKey(fd.MapKey(), label)
	if !ok {
		d.report(fault(block.LabelRanges[0], "Invalid name", fmt.Sprintf("The name of a %s block is %s.", block.Type, kindWords(fd.MapKey()))))
		return
	}
	if m.Has(key) {
		d.hideBody(block)
		d.report(fault(block.DefRange(), "Duplicate block", fmt.Sprintf("There is a %s block %q already. Give one of them another name.", block.Type, label)))
		return
	}
	entry := m.NewValue()
	d.message(entry.Message(), block, path+"["+keyText(key)+"]")
	m.Set(key, entry)
}

// mapKey reads text as the key of a map.
func mapKey(fd protoreflect.FieldDescriptor, text string) (protoreflect.MapKey, bool) {
	switch fd.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text).MapKey(), true
	case protoreflect.BoolKind:
		b := text == "true"
		return protoreflect.ValueOfBool(b).MapKey(), b || text == "false"
	default:
		n, diag := value{val: cty.StringVal(text), expr: &hclsyntax.LiteralValueExpr{}}.integer(integerBounds(fd.Kind()))
		if diag != nil {
			return protoreflect.MapKey{}, false
		}
		return integerValue(fd.Kind(), n).MapKey(), true
	}
}

// keyText writes a key as field paths do.
func keyText(key protoreflect.MapKey) string {
	if text, ok := key.Interface().(string); ok {
		return strconv.Quote(text)
	}
	return key.String()
}

// hide keeps what may be a secret out of diagnostics.
func (d *messageDecoder) hide(at hcl.Range) { d.hidden = append(d.hidden, at) }

// hideValue keeps the texts and numbers of a secret out of diagnostics, where
// a constraint or the plugin may quote them. val may be the nil value.
func (d *messageDecoder) hideValue(val cty.Value) {
	if val == cty.NilVal {
		return
	}
	_ = cty.Walk(val, func(_ cty.Path, v cty.Value) (bool, error) {
		if text := (value{val: v}).raw(); v.Type() != cty.Bool && text != "" {
			d.values = append(d.values, text)
		}
		return true, nil
	})
}

// oneofs refuses a second member of a oneof.
func (d *messageDecoder) oneofs(md protoreflect.MessageDescriptor, block *hclsyntax.Block) {
	for i := range md.Oneofs().Len() {
		od := md.Oneofs().Get(i)
		if od.IsSynthetic() {
			continue
		}
		var names []string
		var set []hcl.Range
		for j := range od.Fields().Len() {
			name := string(od.Fields().Get(j).Name())
			names = append(names, name)
			if attr := block.Body.Attributes[name]; attr != nil {
				set = append(set, attr.NameRange)
			}
			if inner := findBlock(block.Body.Blocks, step{name: name}); inner != nil {
				set = append(set, inner.TypeRange)
			}
		}
		if len(set) < 2 {
			continue
		}
		slices.SortFunc(set, func(a, b hcl.Range) int { return a.Start.Byte - b.Start.Byte })
		for _, at := range set[1:] {
			d.report(fault(at, "Conflicting arguments", fmt.Sprintf("At most one of %s is set. Keep one of them.", inWords(names))))
		}
	}
}
