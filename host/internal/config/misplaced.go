package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/gaia-go/gaia/host/internal/nearest"
)

// unknownArgument refuses an argument of the block in, which holds the named
// arguments and blocks.
func (d *decoder) unknownArgument(in string, attr *hclsyntax.Attribute, arguments, blocks []string) {
	if slices.Contains(blocks, attr.Name) {
		d.blockExpected(attr, attr.Name+" { … }")
		return
	}
	detail := fmt.Sprintf("There is no argument %q %s.", attr.Name, inBlock(in))
	d.report(fault(attr.NameRange, "Unsupported argument", detail+suggestion(attr.Name, "Arguments", arguments, blocks)))
}

// blockExpected refuses an argument that is written as a block in this form.
func (d *decoder) blockExpected(attr *hclsyntax.Attribute, form string) {
	d.report(fault(attr.NameRange, "Block expected", fmt.Sprintf("%s is a block: write %s without the equals sign.", attr.Name, form)))
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

// unexpectedName refuses the label of a block that takes none and is written
// in this form. What the block holds may be meant for another kind of block.
func (d *decoder) unexpectedName(block *hclsyntax.Block, form string) {
	d.hideBody(block)
	d.report(fault(block.LabelRanges[0], "Unexpected name", fmt.Sprintf("A %s block has no name: write %s.", block.Type, form)))
}
