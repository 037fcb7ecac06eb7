package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// step is one part of a field path such as `profile["github"].base_url` or
// `rule[2].host`.
type step struct {
	name string
	key  string // of a map, or the digits of an index; "" for neither
	in   bool   // whether there is a key
}

// parsePath reads a field path as far as it is one.
func parsePath(path string) []step {
	var steps []step
	for path != "" {
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		s := step{name: path[:end]}
		path = path[end:]
		if strings.HasPrefix(path, "[") {
			key, rest, ok := parseKey(path[1:])
			if !ok {
				return steps
			}
			s.key, s.in, path = key, true, rest
		}
		if s.name == "" {
			return steps
		}
		steps = append(steps, s)
		path = strings.TrimPrefix(path, ".")
	}
	return steps
}

// parseKey reads what follows a bracket up to the closing one.
func parseKey(text string) (key, rest string, ok bool) {
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		key, err = strconv.Unquote(quoted)
		rest, ok = strings.CutPrefix(text[len(quoted):], "]")
		return key, rest, ok && err == nil
	}
	return strings.Cut(text, "]")
}

// locate returns where the field at path is written in the block. When it is
// not, it returns the block or value nearest to it and false.
func locate(block *hclsyntax.Block, path string) (hcl.Range, bool) {
	steps := parsePath(path)
	for i, s := range steps {
		if attr := block.Body.Attributes[s.name]; attr != nil {
			at, found := locateItem(attr.Expr, s)
			return at, found && i == len(steps)-1
		}
		inner := findBlock(block.Body.Blocks, s)
		if inner == nil {
			return block.DefRange(), false
		}
		block = inner
	}
	return block.DefRange(), true
}

// findBlock returns the block that s names: by its label or, where none has
// that label, by its place among those of its name. It is nil without one.
func findBlock(blocks hclsyntax.Blocks, s step) *hclsyntax.Block {
	var named hclsyntax.Blocks
	for _, block := range blocks {
		if block.Type != s.name {
			continue
		}
		if s.in && slices.Contains(block.Labels, s.key) {
			return block
		}
		named = append(named, block)
	}
	index := 0
	if s.in {
		var err error
		if index, err = strconv.Atoi(s.key); err != nil {
			return nil
		}
	}
	if index < 0 || index >= len(named) {
		return nil
	}
	return named[index]
}

// locateItem returns where the item that s names is in the value of an
// argument, or the whole value and false.
func locateItem(expr hclsyntax.Expression, s step) (hcl.Range, bool) {
	if !s.in {
		return expr.Range(), true
	}
	switch expr := expr.(type) {
	case *hclsyntax.TupleConsExpr:
		if i, err := strconv.Atoi(s.key); err == nil && 0 <= i && i < len(expr.Exprs) {
			return expr.Exprs[i].Range(), true
		}
	case *hclsyntax.ObjectConsExpr:
		if item := findItem(expr, s.key); item != nil {
			return item.ValueExpr.Range(), true
		}
	}
	return expr.Range(), false
}
