package config

import (
	"bytes"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// configText returns the texts and values on a line, if it is in a config{} or
// client block. What they mean is known only once the file is read without faults, and
// one of them may be a secret.
func configText(tokens hclsyntax.Tokens, line int) []hcl.Range {
	var hidden []hcl.Range
	var blocks []string // the enclosing braces; "" for an object's
	first, assigned := "", false
	for _, t := range tokens {
		secret := false
		switch t.Type {
		case hclsyntax.TokenIdent:
			if first == "" {
				first = string(t.Bytes)
			}
			secret = assigned
		case hclsyntax.TokenEqual:
			assigned = true
		case hclsyntax.TokenOBrace:
			if assigned {
				first = ""
			}
			blocks = append(blocks, first)
		case hclsyntax.TokenCBrace:
			blocks = blocks[:max(len(blocks)-1, 0)]
		case hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit, hclsyntax.TokenComment:
			secret = true
		default:
			secret = assigned
		}
		if secret && t.Range.Start.Line == line && (slices.Contains(blocks, "config") || len(blocks) > 0 && blocks[0] == "client") {
			if n := len(hidden); n > 0 && assigned && hidden[n-1].End.Line == t.Range.Start.Line {
				hidden[n-1].End = t.Range.End
			} else {
				hidden = append(hidden, t.Range)
			}
		}
		if bytes.HasSuffix(t.Bytes, []byte("\n")) {
			first, assigned = "", false
		}
	}
	return hidden
}
