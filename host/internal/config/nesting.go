package config

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The grammar's parser and evaluator recurse, up to 8 KiB of stack for each
// bracket or operator, and Go ends a process whose stack grows past 1 GiB.
const (
	maxNesting   = 100
	maxOperators = 20_000
)

// tooNested returns a fault when reading the tokens could exhaust the stack.
func tooNested(tokens hclsyntax.Tokens) *hcl.Diagnostic {
	depth, operators := 0, 0
	for _, t := range tokens {
		switch t.Type {
		case hclsyntax.TokenOBrack:
			depth++
			operators++ // perhaps an index, which is one
		case hclsyntax.TokenOBrace, hclsyntax.TokenOParen, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc,
			hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenCQuote,
			hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			depth = max(depth-1, 0)
		case hclsyntax.TokenBang, hclsyntax.TokenMinus, hclsyntax.TokenPlus, hclsyntax.TokenStar, hclsyntax.TokenSlash,
			hclsyntax.TokenPercent, hclsyntax.TokenQuestion, hclsyntax.TokenAnd, hclsyntax.TokenOr, hclsyntax.TokenEqualOp,
			hclsyntax.TokenNotEqual, hclsyntax.TokenLessThan, hclsyntax.TokenLessThanEq, hclsyntax.TokenGreaterThan,
			hclsyntax.TokenGreaterThanEq:
			operators++
		default:
		}
		if depth > maxNesting || operators > maxOperators {
			return fault(t.Range, "Nested too deeply",
				fmt.Sprintf("Brackets nest at most %d deep, and a file has at most %d operators and lists. Write it flatter.",
					maxNesting, maxOperators))
		}
	}
	return nil
}
