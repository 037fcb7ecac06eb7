package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// argument decodes the value of an argument into the field fd of msg.
func (d *messageDecoder) argument(msg protoreflect.Message, fd protoreflect.FieldDescriptor, attr *hclsyntax.Attribute, path string) {
	if d.src.faulty(attr.SrcRange) {
		d.failed[path] = true
		return
	}
	secret := fieldOptions(fd).GetSensitive() || d.within(attr.Expr.Range())
	v, diags := d.evaluate(attr.Name, attr.Expr, secret)
	if secret {
		d.hideValue(v.val)
		if !isReference(attr.Expr) {
			d.hide(attr.Expr.Range())
		}
	}
	d.diags = append(d.diags, diags...)
	if diags.HasErrors() {
		d.failed[path] = true
		return
	}
	if v.isNull() {
		return
	}
	before := len(d.diags)
	switch {
	case fd.IsMap():
		d.entries(msg.Mutable(fd).Map(), fd, v)
	case fd.IsList():
		d.items(msg.Mutable(fd).List(), fd, v)
	default:
		got, diag := scalar(fd, v, msg.NewField(fd))
		d.report(diag)
		if diag == nil {
			msg.Set(fd, got)
		}
	}
	if len(d.diags) > before {
		d.failed[path] = true
	}
}

// within reports whether rng is part of a block that is a secret as a whole.
func (d *messageDecoder) within(rng hcl.Range) bool {
	for _, h := range d.hidden {
		if h.ContainsOffset(rng.Start.Byte) {
			return true
		}
	}
	return false
}

// items decodes a list.
func (d *messageDecoder) items(list protoreflect.List, fd protoreflect.FieldDescriptor, v value) {
	items, diag := v.elements()
	d.report(diag)
	for _, item := range items {
		got, diag := scalar(fd, item, list.NewElement())
		d.report(diag)
		if diag == nil {
			list.Append(got)
		}
	}
}

// entries decodes an object into a map.
func (d *messageDecoder) entries(m protoreflect.Map, fd protoreflect.FieldDescriptor, v value) {
	entries, diag := v.entries()
	d.report(diag)
	for _, e := range entries {
		key, ok := mapKey(fd.MapKey(), e.key)
		if !ok {
			d.report(fault(e.at, "Invalid key", fmt.Sprintf("A key of %s is %s.", v.name, kindWords(fd.MapKey()))))
			continue
		}
		got, diag := scalar(fd.MapValue(), e.value, m.NewValue())
		d.report(diag)
		if diag == nil {
			m.Set(key, got)
		}
	}
}
