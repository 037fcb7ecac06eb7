package config

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// repeated returns the table of a block that may be given several times. Each
// adds a value to all; fresh returns one with its defaults, given the label.
// One block is decoded before the next is added, so that tables may point into
// all.
func repeated[T any](all *[]T, fresh func(label string) T, tableOf func(*T) table) table {
	sample := fresh("") // its defaults are those in the reference
	t := tableOf(&sample)
	t.each = func(label string) table {
		*all = append(*all, fresh(label))
		return tableOf(&(*all)[len(*all)-1])
	}
	return t
}

// oneOfSeveral decodes a block of a kind that may be given several times. Its
// path ends in what tells it from the others.
func (d *decoder) oneOfSeveral(t table, block *hclsyntax.Block, in scope) {
	id, where, known := d.identity(t, block)
	path := join(in.path, t.name)
	if id != "" {
		path += "[" + strconv.Quote(id) + "]"
	}
	first, again := in.at[path]
	if known && again {
		d.report(fault(where, "Duplicate "+t.name, duplicateDetail(t, id, first)))
	}
	at := in.at
	if !known || again {
		at = ranges{} // it is judged all the same, but no path leads to it
	}
	at[path] = block.DefRange()
	d.decode(t.each(id), block.Range(), block.Body, scope{at, path})
}

// identity returns what tells a block from the others of its kind, its label
// or an argument, and where that is written. known is false when a fault keeps
// it from being read.
func (d *decoder) identity(t table, block *hclsyntax.Block) (id string, where hcl.Range, known bool) {
	if t.label != "" {
		id = d.label(block, t.label, t.checkLabel)
		if id == "" {
			return "", block.DefRange(), false
		}
		return id, block.LabelRanges[0], true
	}
	attr := block.Body.Attributes[t.by]
	switch {
	case len(block.LabelRanges) > 0:
		d.unexpectedName(block, fmt.Sprintf("%s { %s = %q }", t.name, t.by, block.Labels[0]))
		return "", block.DefRange(), false
	case d.src.gappy(block.Range(), block.Body):
		return "", block.DefRange(), false
	case attr == nil:
		return "", block.DefRange(), true
	}
	v, diags := d.evaluate(t.by, attr.Expr, false) // whose faults decode reports
	if diags.HasErrors() || v.isNull() {
		return "", block.DefRange(), !diags.HasErrors()
	}
	id, diag := v.text()
	return id, attr.Expr.Range(), diag == nil && id != ""
}

func duplicateDetail(t table, id string, first hcl.Range) string {
	which, another := fmt.Sprintf("%s %q", t.name, id), "give one of them another "+t.label
	switch {
	case t.label != "":
	case id != "":
		which, another = fmt.Sprintf("%s with the %s %q", t.name, t.by, id), "give one of them another "+t.by
	default:
		which, another = fmt.Sprintf("%s without a %s", t.name, t.by), "give one of them a "+t.by
	}
	return fmt.Sprintf("Another %s is on line %d. Keep one of them, or %s.", which, first.Start.Line, another)
}

// label returns the label of a block; "" when it has none that could be used.
// what says what the label is, for sentences.
func (d *decoder) label(block *hclsyntax.Block, what string, check func(string) (summary, detail, hint string)) string {
	form := fmt.Sprintf("Each %s has one %s: write %s %q { … }.", block.Type, what, block.Type, what)
	if len(block.Labels) == 0 {
		d.report(fault(block.TypeRange, "Missing name", form))
		return ""
	}
	if len(block.Labels) > 1 {
		d.report(fault(block.LabelRanges[1], "Unexpected name", form))
	}
	label := block.Labels[0]
	if summary, detail, hint := check(label); summary != "" {
		if hint != "" {
			detail += didYouMean(hint)
		}
		d.report(fault(block.LabelRanges[0], summary, detail))
	}
	return label
}
