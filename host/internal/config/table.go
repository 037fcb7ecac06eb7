package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// table is all there is to know about a block of config.hcl: what it may hold,
// where that goes, within which bounds, and what the reference says about it.
// The values behind the pointers are the defaults until decode has run.
type table struct {
	name      string
	doc       string
	arguments []argument
	blocks    []table
	open      bool // holds what a plugin knows; its body is left alone here

	// check finds faults among the compared arguments. Optional; called when
	// none of them has a fault of its own.
	check    func(ranges) hcl.Diagnostics
	compared []string
}

// argument is one `name = value` of a block.
type argument struct {
	name     string
	doc      string // one sentence, without the form and the default
	required bool
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
// such as "restart.backoff", or of the block. Those with defaults are absent.
type ranges map[string]hcl.Range

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
func (d *decoder) decode(t table, rng hcl.Range, body *hclsyntax.Body, prefix string, at ranges) {
	if d.src.broken(rng, body) {
		return
	}
	sound := t.check != nil
	for _, name := range slices.Sorted(maps.Keys(body.Attributes)) {
		attr := body.Attributes[name]
		i := slices.IndexFunc(t.arguments, func(a argument) bool { return a.name == name })
		if i < 0 {
			d.unknownArgument(t.name, attr, t.argumentNames(), t.blockNames())
			continue
		}
		if !d.argument(t.arguments[i], attr, prefix, at) && slices.Contains(t.compared, name) {
			sound = false
		}
	}
	for _, block := range body.Blocks {
		i := slices.IndexFunc(t.blocks, func(b table) bool { return b.name == block.Type })
		if i < 0 {
			d.unknownBlock(t.name, block, t.argumentNames(), t.blockNames())
			continue
		}
		d.nested(t.blocks[i], block, prefix, at)
	}
	for _, a := range t.arguments {
		if a.required && body.Attributes[a.name] == nil && !d.src.gappy(rng, body) {
			d.missingArgument(t.name, a.name, a.doc, headerOf(rng, body))
		}
	}
	if sound {
		d.diags = append(d.diags, t.check(at)...)
	}
}

// argument stores one value and reports whether there was no fault in it.
func (d *decoder) argument(a argument, attr *hclsyntax.Attribute, prefix string, at ranges) bool {
	at[prefix+a.name] = attr.Expr.Range()
	if d.src.faulty(attr.SrcRange) {
		return false
	}
	before := len(d.diags)
	v, diags := d.evaluate(a.name, attr.Expr, false)
	d.diags = append(d.diags, diags...)
	switch {
	case diags.HasErrors():
	case !v.isNull():
		d.report(a.target.set(v))
	case a.required:
		d.missingArgument("", a.name, a.doc, attr.Expr.Range())
	}
	return len(d.diags) == before
}

// nested decodes a block within a block.
func (d *decoder) nested(t table, block *hclsyntax.Block, prefix string, at ranges) {
	path := prefix + t.name
	if first, again := at[path]; again {
		d.duplicateBlock(block, first)
		return
	}
	at[path] = block.DefRange()
	if len(block.LabelRanges) > 0 {
		d.hideBody(block)
		d.report(fault(block.LabelRanges[0], "Unexpected name", fmt.Sprintf("A %s block has no name: write %s { … }.", t.name, t.name)))
	}
	if !t.open {
		d.decode(t, block.Range(), block.Body, path+".", at)
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

func (t table) blockNames() []string {
	var names []string
	for _, b := range t.blocks {
		names = append(names, b.name)
	}
	return names
}

// unknownArgument refuses an argument of the block in, which holds the named
// arguments and blocks.
func (d *decoder) unknownArgument(in string, attr *hclsyntax.Attribute, arguments, blocks []string) {
	if slices.Contains(blocks, attr.Name) {
		d.report(fault(attr.NameRange, "Block expected", fmt.Sprintf("%s is a block: write %s { … } without the equals sign.", attr.Name, attr.Name)))
		return
	}
	detail := fmt.Sprintf("There is no argument %q %s.", attr.Name, inBlock(in))
	d.report(fault(attr.NameRange, "Unsupported argument", detail+suggestion(attr.Name, "Arguments", arguments, blocks)))
}

// unknownBlock refuses a block within the block in.
func (d *decoder) unknownBlock(in string, block *hclsyntax.Block, arguments, blocks []string) {
	d.hideBody(block)
	if slices.Contains(arguments, block.Type) {
		d.report(fault(block.TypeRange, "Argument expected", fmt.Sprintf("%s is an argument, not a block: write %s = value.", block.Type, block.Type)))
		return
	}
	detail := fmt.Sprintf("There is no block %q %s.", block.Type, inBlock(in))
	d.report(fault(block.TypeRange, "Unsupported block", detail+suggestion(block.Type, "Blocks", blocks, arguments)))
}

// hideBody keeps the argument of a block on one line out of diagnostics: what
// it means is not known, and it may be a secret.
func (d *decoder) hideBody(block *hclsyntax.Block) {
	if block.OpenBraceRange.Start.Line != block.CloseBraceRange.End.Line {
		return
	}
	at := block.OpenBraceRange
	at.Start, at.End = at.End, block.CloseBraceRange.Start
	d.hidden = append(d.hidden, at)
}

func (d *decoder) missingArgument(in, name, doc string, at hcl.Range) {
	where := ""
	if in != "" {
		where = " " + inBlock(in)
	}
	detail := fmt.Sprintf("%s is required%s. %s", name, where, strings.ReplaceAll(doc, "`", ""))
	d.report(fault(at, "Missing argument", strings.TrimSpace(detail)))
}

func (d *decoder) duplicateBlock(block *hclsyntax.Block, first hcl.Range) {
	d.hideBody(block)
	d.report(fault(block.DefRange(), "Duplicate block",
		fmt.Sprintf("There is a %s block on line %d already. Write all of it there.", block.Type, first.Start.Line)))
}

// inBlock says where a name was looked for.
func inBlock(name string) string {
	if name == "" {
		return "at the top of a config"
	}
	return "in " + name
}

// suggestion names what was probably meant or, without a guess, all there is
// of the kind. A name of the others may be meant, too.
func suggestion(given, kind string, names, others []string) string {
	if name, ok := nearest.Name(given, slices.Concat(names, others)); ok {
		return didYouMean(name)
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" %s here: %s.", kind, strings.Join(names, ", "))
}
