package config

import (
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// table is all there is to know about a block of config.hcl: what it may hold,
// where that goes, within which bounds, and what the reference says about it.
// The values behind the pointers are the defaults until decode has run.
type table struct {
	name      string
	doc       string
	arguments []argument
	blocks    []table
	checks    []check
	open      bool // holds what a plugin knows; its body is left alone here
	secrets   bool // may hold a secret under a misspelt name

	// each returns the table of one more block of this kind, given its label;
	// nil for a block that is given once at most. See repeated.
	each       func(label string) table
	label      string // what the label is, such as "name"; "" for blocks without one
	checkLabel func(string) (summary, detail, hint string)
	by         string // the argument that tells blocks without a label apart
}

// check finds a fault between arguments of a block. It is left out when one of
// them has a fault of its own.
type check struct {
	of   []string // the names of the arguments
	find func(scope) *hcl.Diagnostic
}

// argument is one `name = value` of a block.
type argument struct {
	name     string
	doc      string // one sentence, without the form and the default
	required bool
	secret   bool // its value is never quoted
	target   target
}

// target is where the value of an argument goes.
type target interface {
	// set reads v and stores it, or says what is wrong with it.
	set(v value) *hcl.Diagnostic
	// form says what may be written, for the reference.
	form() string
	// current returns the value as it would be written; "" for none.
	current() string
}

// ranges tells where values stand in the file, by the path of the argument,
// such as `restart.backoff` or `rate["domain"].limit`, or of the block. Those
// with defaults are absent.
type ranges map[string]hcl.Range

// scope is the part of the ranges that belongs to one block.
type scope struct {
	at   ranges
	path string // of the block
}

// has reports whether the block sets an argument.
func (s scope) has(name string) bool {
	_, ok := s.at[join(s.path, name)]
	return ok
}

// place returns where the value of the first of the named arguments is that
// the block sets; where the block is when it sets none of them.
func (s scope) place(names ...string) hcl.Range {
	for _, name := range names {
		if at, ok := s.at[join(s.path, name)]; ok {
			return at
		}
	}
	return s.at[s.path]
}

// decoder fills tables from the blocks of one file.
type decoder struct {
	evaluator

	diags  hcl.Diagnostics
	hidden []hcl.Range
}

func (d *decoder) report(diag *hcl.Diagnostic) {
	if diag != nil {
		d.diags = append(d.diags, diag)
	}
}

// decode fills t from the block at rng. Everything wrong with it is reported;
// what is absent keeps its default.
func (d *decoder) decode(t table, rng hcl.Range, body *hclsyntax.Body, in scope) {
	if d.src.broken(rng, body) {
		return
	}
	wrong := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		attr := body.Attributes[name]
		i := slices.IndexFunc(t.arguments, func(a argument) bool { return a.name == name })
		if i < 0 {
			if b := t.block(name); b != nil {
				d.blockExpected(attr, b.form())
			} else {
				if t.secrets {
					d.hidden = append(d.hidden, attr.Expr.Range())
				}
				d.unknownArgument(t.name, attr, t.argumentNames(), t.blockNames())
			}
			continue
		}
		wrong[name] = !d.argument(t.arguments[i], attr, in)
	}
	for _, block := range body.Blocks {
		b := t.block(block.Type)
		switch {
		case b == nil:
			d.unknownBlock(t.name, block, t.argumentNames(), t.blockNames())
		case b.each != nil:
			d.oneOfSeveral(*b, block, in)
		default:
			d.nested(*b, block, in)
		}
	}
	if d.src.gappy(rng, body) {
		return // what seems to be missing may be on the line at fault
	}
	for _, a := range t.arguments {
		if a.required && body.Attributes[a.name] == nil {
			d.missingArgument(t.name, a.name, a.doc, headerOf(rng, body))
		}
	}
	for _, c := range t.checks {
		if !slices.ContainsFunc(c.of, func(name string) bool { return wrong[name] }) {
			d.report(c.find(in))
		}
	}
}

// argument stores one value and reports whether there was no fault in it.
func (d *decoder) argument(a argument, attr *hclsyntax.Attribute, in scope) bool {
	path := join(in.path, a.name)
	in.at[path] = attr.Expr.Range()
	if d.src.faulty(attr.SrcRange) {
		return false
	}
	before := len(d.diags)
	v, diags := d.evaluate(a.name, attr.Expr, a.secret)
	if a.secret && !isReference(attr.Expr) {
		d.hidden = append(d.hidden, attr.Expr.Range())
	}
	d.diags = append(d.diags, diags...)
	switch {
	case diags.HasErrors():
	case !v.isNull():
		d.report(a.target.set(v))
	default:
		delete(in.at, path)
		if a.required {
			d.missingArgument("", a.name, a.doc, attr.Expr.Range())
		}
	}
	return len(d.diags) == before
}

// nested decodes a block within a block.
func (d *decoder) nested(t table, block *hclsyntax.Block, in scope) {
	path := join(in.path, t.name)
	if first, again := in.at[path]; again {
		d.duplicateBlock(block, first)
		return
	}
	in.at[path] = block.DefRange()
	if len(block.LabelRanges) > 0 {
		d.unexpectedName(block, t.form())
	}
	if !t.open {
		d.decode(t, block.Range(), block.Body, scope{in.at, path})
	}
}

// headerOf returns the line of a block's name and labels, for what the block
// lacks.
func headerOf(rng hcl.Range, body *hclsyntax.Body) hcl.Range {
	header := rng
	if open := body.SrcRange.Start; open.Byte > rng.Start.Byte && open.Line == rng.Start.Line {
		header.End = open
	}
	return header
}

func (t table) argumentNames() []string {
	var names []string
	for _, a := range t.arguments {
		names = append(names, a.name)
	}
	return names
}

// block returns the table of the blocks of that name; nil when there are none.
func (t table) block(name string) *table {
	i := slices.IndexFunc(t.blocks, func(b table) bool { return b.name == name })
	if i < 0 {
		return nil
	}
	return &t.blocks[i]
}

// form shows how the block is written.
func (t table) form() string {
	if t.label != "" {
		return fmt.Sprintf("%s %q { … }", t.name, t.label)
	}
	return t.name + " { … }"
}

func (t table) blockNames() []string {
	var names []string
	for _, b := range t.blocks {
		names = append(names, b.name)
	}
	return names
}
